// What this page believes of the API is what the server's description says: every
// field of api.ts is held against web/openapi.json, by name, kind and presence.

import ts from 'typescript';
import { expect, test } from 'vitest';
import document from '../../openapi.json?raw';
import source from './api.ts?raw';

interface Schema {
  type?: string | string[];
  $ref?: string;
  anyOf?: Schema[];
  properties?: Record<string, Schema>;
  required?: string[];
}
const schemas = (JSON.parse(document) as { components: { schemas: Record<string, Schema> } }).components.schemas;

/** names are the interfaces here whose schema is called otherwise there. */
const names: Record<string, string> = {
  Answer: 'Top',
  Exporter: 'ExporterRow',
  Exporters: 'ExportersAnswer',
  Loss: 'Ledger',
  Interface: 'InterfaceRow',
  SavedView: 'View',
  FilterCheck: 'FilterCheckAnswer',
  Completions: 'FilterCompleteAnswer',
  SQLResult: 'SQLAnswer',
};
/** own are interfaces that are no answer of the server by themselves. */
const own = new Set(['Line', 'FlowRow', 'Peer', 'ProblemJSON']);

const file = ts.createSourceFile('api.ts', source, ts.ScriptTarget.ES2022, true);
const interfaces = file.statements.filter(ts.isInterfaceDeclaration).filter((i) => !own.has(i.name.text));

/** kinds gives the JSON types that a schema allows. */
function kinds(s: Schema): string[] {
  if (s.$ref) return ['object'];
  if (s.anyOf) return s.anyOf.flatMap(kinds);
  return [s.type ?? []].flat().map((t) => (t === 'integer' ? 'number' : t));
}

/** kind gives the JSON type of a type here, as far as it can be told from its text. */
function kind(type: string): string | undefined {
  const t = type.replace(/\| null/g, '').trim();
  if (t.endsWith('[]')) return 'array';
  if (/^(string|number|boolean)$/.test(t)) return t;
  if (/^'/.test(t)) return 'string';
  return t.startsWith('{') || /^[A-Z]\w+$/.test(t) ? 'object' : undefined;
}

for (const i of interfaces) {
  const name = i.name.text;
  const schema = schemas[names[name] ?? name];
  test(`${name} is what the server says`, () => {
    expect(schema, `${name} has no schema`).toBeDefined();
    for (const m of i.members) {
      if (!ts.isPropertySignature(m) || !m.type) continue;
      const field = m.name.getText(file);
      const type = m.type.getText(file);
      const there = schema!.properties?.[field];
      expect(there, `${name}.${field}`).toBeDefined();
      if (!m.questionToken) expect(schema!.required, `${name}.${field} is always there`).toContain(field);
      const k = kind(type);
      const allowed = kinds(there!);
      if (k && allowed.length) expect(allowed, `${name}.${field}: ${type}`).toContain(k);
      // What may be null there must be allowed to be null here.
      if (allowed.includes('null') && !m.questionToken) expect(type, `${name}.${field} may be null`).toContain('null');
    }
  });
}
