// The HTTP API as this page uses it. Its types are made from the API's own
// description (npm run types), so that the page cannot take for there what is not.

import type { components, paths } from '../generated/openapi';

type Schemas = components['schemas'];

export type Sums = Schemas['Sums'];
export type Top = Schemas['Top'];
export type TopRow = Schemas['TopRow'];
export type Series = Schemas['Series'];
/** Line is one of a graph's; those of the total and of the rest are no group's. */
export type Line = Schemas['SumLine'] & Partial<Pick<Schemas['Line'], 'values'>>;
/** Previous is an earlier period, laid over. */
export type Previous = Schemas['Previous'];
export type Values = TopRow['values'];
export type Exporters = Schemas['ExportersAnswer'];
export type Exporter = Schemas['ExporterRow'];
export type Interface = Schemas['InterfaceRow'];
export type Diagnosis = Schemas['Diagnosis'];
export type Loss = Schemas['Ledger'];
export type Flows = Schemas['Flows'];
export type FlowRow = Flows['rows'][number];
export type Events = Schemas['Events'];
export type EventRow = Events['rows'][number];
/** Share tells, slot by slot, which host took part in most flows, and in which part of all. */
export type Share = Schemas['Share'];
export type Highlight = Schemas['Highlight'];
export type Summary = Schemas['Summary'];
export type HeatMap = Schemas['HeatMap'];
export type Address = Schemas['Address'];
export type Peer = TopRow;
export type SavedView = Schemas['View'];
export type FilterCheck = Schemas['FilterCheckAnswer'];
export type Completions = Schemas['FilterCompleteAnswer'];
export type SQLResult = Schemas['SQLAnswer'];
export type Hunt = Schemas['Hunt'];
export type SchemaTable = Schemas['SchemaTable'];
export type Me = Schemas['Me'];
/** Token is one of one's own tokens for scripts; MadeToken is a new one, with its secret. */
export type Token = Schemas['TokenRow'];
export type MadeToken = Schemas['MadeToken'];

/** Answer is what every answer about flows says about itself. */
export type Answer = Pick<Top, keyof Top & keyof Series & keyof Flows & keyof Share & keyof Summary & keyof HeatMap & keyof Address>;

/** Problem is an answer that is none: what happened, and what to do about it. */
export class Problem extends Error {
  constructor(
    readonly title: string,
    readonly detail: string,
    readonly status: number,
  ) {
    super(`${title} ${detail}`.trim());
  }
}

/** Filled is a path of the description with anything in place of its parameters. */
type Filled<P> = P extends `${infer A}{${string}}${infer B}` ? `${A}${string}${Filled<B>}` : P;
/** Path is one the API has. */
export type Path = keyof paths extends infer P ? (P extends `/api/v1/${infer Rest}` ? Filled<Rest> : never) : never;

/** url joins a path of the API and its parameters, leaving out empty ones. */
export function url(path: Path, params: Record<string, string | number | boolean | undefined>): string {
  const q = new URLSearchParams();
  for (const [k, v] of Object.entries(params)) {
    if (v !== undefined && v !== '' && v !== false) q.set(k, String(v));
  }
  const s = q.toString();
  return `/api/v1/${path}${s ? '?' + s : ''}`;
}

type ProblemJSON = Partial<Schemas['ErrorModel']>;

/** get asks the API; it throws a Problem with the server's own sentence, or an AbortError. */
export const get = <T>(address: string, signal: AbortSignal): Promise<T> => ask<T>(address, { signal });

/** send changes something, or asks what is too long for a URL. */
export const send = <T>(method: 'POST' | 'PUT' | 'DELETE', address: string, body?: unknown, signal = new AbortController().signal): Promise<T> =>
  ask<T>(address, { method, signal, ...(body === undefined ? {} : { body: JSON.stringify(body) }) });

/** loggedOut is told when the server wants to know who asks. */
export const loggedOut = { tell: (): void => {} };

async function ask<T>(address: string, init: RequestInit & { signal: AbortSignal }): Promise<T> {
  const { signal } = init;
  let res: Response;
  try {
    res = await fetch(address, { ...init, headers: { accept: 'application/json', ...(init.body ? { 'content-type': 'application/json' } : {}) } });
  } catch (err) {
    if (signal.aborted) throw err;
    throw new Problem('The server does not answer.', 'Is flowtally web still running? The page asks again by itself while it is live.', 0);
  }
  if (res.status === 204) return null as T;
  if (res.status === 401) loggedOut.tell();
  if (res.ok) {
    try {
      return (await res.json()) as T;
    } catch (err) {
      if (signal.aborted) throw err;
      throw new Problem('The answer was cut off.', 'The connection broke while the answer came in. Ask again.', res.status);
    }
  }
  const text = await res.text().catch(() => '');
  let p: ProblemJSON = {};
  try {
    p = JSON.parse(text) as ProblemJSON;
  } catch {
    p = { detail: text.trim().slice(0, 300) };
  }
  const reasons = (p.errors ?? []).map((e) => e.message ?? '').filter(Boolean);
  const detail = [p.detail ?? '', ...reasons.filter((r) => r !== p.detail)].filter(Boolean).join(': ');
  // The server's sentence says more than the name of a status.
  const [sentence = '', ...more] = detail.split(/(?<=[.!?])\s+(?=[A-Z])/);
  throw new Problem(sentence || `The server answered with status ${res.status}${p.title ? ', ' + p.title : ''}`, more.join(' '), res.status);
}
