// The filter is text, and stays text: what is clicked together here is what a
// person could have typed. This file takes a text apart where its outermost
// "and" are, and puts parts together; what the words are and mean only the server knows.

import { vocabulary, type FieldKind } from './vocabulary.svelte';

/** conjuncts splits a filter at its outermost "and". A text that is no such list is one part. */
export function conjuncts(text: string): string[] {
  const parts: string[] = [];
  let depth = 0;
  let from = 0;
  for (const t of tokens(text)) {
    if ('([{'.includes(t.text)) depth++;
    else if (')]}'.includes(t.text)) depth--;
    else if (depth === 0) {
      const word = t.text.toLowerCase();
      if (word === 'or' || word === '||') return whole(text);
      if (word === 'and' || word === '&&') {
        parts.push(text.slice(from, t.at).trim());
        from = t.at + t.text.length;
      }
    }
  }
  parts.push(text.slice(from).trim());
  return parts.every(Boolean) ? parts : whole(text);
}

const whole = (text: string): string[] => (text.trim() ? [text.trim()] : []);

interface Token {
  text: string;
  at: number;
}

// tokens gives quoted texts whole, brackets alone, and other words.
function tokens(text: string): Token[] {
  const found: Token[] = [];
  const token = /"(?:\\.|[^"\\])*"?|'(?:\\.|[^'\\])*'?|#[^\n]*|[()[\]{}]|&&|\|\||[^\s()[\]{}"'#&|]+|./g;
  for (const m of text.matchAll(token)) if (!/^\s|^#/.test(m[0])) found.push({ text: m[0], at: m.index });
  return found;
}

const isDisjunction = (part: string): boolean => {
  let depth = 0;
  for (const t of tokens(part)) {
    if (t.text === '(') depth++;
    else if (t.text === ')') depth--;
    else if (depth === 0 && /^(or|\|\|)$/i.test(t.text)) return true;
  }
  return false;
};

/** plain drops a comment at the end: what is put behind it would be a part of it. */
const plain = (text: string): string => {
  const list = /(?:"[^"]*"|'[^']*'|[^#"'])*/.exec(text);
  return (list?.[0] ?? text).trim();
};

/** join puts parts together so that all of them must hold. */
export const join = (parts: string[]): string => {
  const some = parts.map(plain).filter(Boolean);
  return some.map((p) => (some.length > 1 && isDisjunction(p) ? `(${p})` : p)).join(' and ');
};

/** add narrows a filter by one more condition, and drops its opposite. */
export function add(text: string, part: string): string {
  const opposite = invert(part);
  const rest = conjuncts(text).filter((p) => p !== part && p !== opposite);
  return join([...rest, part]);
}

/** invert denies a part, or takes its denial away. */
export function invert(part: string): string {
  // "not a or b" denies a alone: it is a disjunction as a whole.
  if (isDisjunction(part) || conjuncts(part).length > 1) return `not (${part})`;
  const m = /^(?:not\s+|!\s*)(.*)$/is.exec(part);
  return m ? unwrap(m[1]!.trim()) : `not ${part}`;
}

function unwrap(part: string): string {
  if (!part.startsWith('(') || !part.endsWith(')')) return part;
  let depth = 0;
  const list = tokens(part);
  for (const [i, t] of list.entries()) {
    if (t.text === '(') depth++;
    if (t.text === ')' && --depth === 0 && i < list.length - 1) return part;
  }
  return part.slice(1, -1).trim();
}

/** swap exchanges the directions of the filter: source and destination, in and out. */
export function swap(text: string): string {
  const list = tokens(text);
  let made = '';
  let from = 0;
  for (const [i, t] of list.entries()) {
    const other = vocabulary.opposite(t.text.toLowerCase());
    // "port in [22 23]" is no direction.
    if (!other || list[i + 1]?.text === '[') continue;
    made += text.slice(from, t.at) + other;
    from = t.at + t.text.length;
  }
  return made + text.slice(from);
}

/** swapKey exchanges the directions in a key. */
export const swapKey = (key: string): string =>
  key
    .split(',')
    .map((part) => {
      const [name = '', ...lengths] = part.split('/');
      return [vocabulary.key(name)?.opposite || name, ...lengths].join('/');
    })
    .join(',');

/** quote writes a text as the filter reads it back. */
export const quote = (s: string): string => (/^[\w.:-]+$/.test(s) ? s : s.includes('"') && !s.includes("'") ? `'${s}'` : `"${s.replaceAll('"', '')}"`);

// Of these a filter can say that a flow has none: by there being no number of it.
const numbers: FieldKind[] = ['port', 'protocol', 'interface', 'as', 'number'];

/**
 * term says in the filter's words that a column has a value; "" where there are no words for it. The number of an
 * interface is its exporter's own: with the exporter it is that one interface.
 */
export function term(column: string, value: string | number | null | undefined, exporter = ''): string {
  if (exporter && vocabulary.kind(column) === 'interface') {
    const one = term(column, value);
    return one && join([term('exporter', exporter), one]);
  }
  const w = vocabulary.word(column);
  if (!w) return '';
  // Of either side: on one of them, not on both.
  const sides = vocabulary.sides(column).map((c) => vocabulary.word(c)?.word);
  if ((value === null || value === undefined || value === '') && numbers.includes(w.kind) && sides.length === 2) return `not (${sides.map((s) => `${s} >= 0`).join(' and ')})`;
  if (value === null || value === undefined || value === '') return numbers.includes(w.kind) ? `not ${w.word} >= 0` : '';
  // These and no others: without the sign, flags that are set besides do not matter.
  if (w.kind === 'flags') return `${w.word} =${value}`;
  // A network has a slash, which in other names has to be quoted.
  const network = /^[\da-f.:]+\/\d+$/i.test(String(value));
  return `${w.word} ${typeof value === 'number' || network ? value : quote(String(value))}`;
}
