// The HTTP API as this page uses it. Times are RFC 3339, names are snake_case.

export interface Sums {
  flows: number;
  packets: number;
  bytes: number;
}

export type Values = Record<string, string | number | null>;

/** Answer is what every answer says about itself. */
export interface Answer {
  from: string;
  to: string;
  source: string;
  resolution: string;
  exact: boolean;
  took_ms: number;
  sql: string;
  command: string;
  filter?: string;
  sampling?: 'none' | 'known' | 'unknown' | 'mixed';
  /** cut says that retention has removed a part of the range. */
  cut?: { from: string; reason: string } | null;
  /** remainder is what roll-ups know of their smallest values only as a sum. */
  remainder?: { share: number; error: number } | null;
}

export interface TopRow extends Sums {
  values: Values;
  label: string;
  share: number;
  duration_ms?: number | null;
  pps?: number | null;
  bps?: number | null;
  bpp?: number | null;
  first_seen?: string | null;
  last_seen?: string | null;
}

export interface Top extends Answer {
  key: string;
  by: string;
  limit: number;
  rows: TopRow[];
  other: (Sums & { groups: number }) | null;
  total: Sums;
}

export interface Line {
  values?: Values;
  label: string;
  flows: number[];
  packets: number[];
  bytes: number[];
}

export interface Series extends Answer {
  step_seconds: number;
  key: string;
  by: string;
  starts: string[];
  lines: Line[];
  other: Line | null;
  total: Line;
  previous?: Previous[] | null;
}

/** Previous is an earlier period, laid over. */
export interface Previous {
  offset_seconds: number;
  total: Line;
  lines?: Line[] | null;
  cut?: Answer['cut'];
}

export interface Exporter {
  id: number;
  name: string;
  label: string;
  addr: string;
  observation_domain: number;
  version: number;
  first_seen: string | null;
  last_seen: string | null;
  datagrams: number;
  records: number;
  packets: number;
  bytes: number;
  sampling_rate: number | null;
  clock_offset_ms: number | null;
  color?: string;
  note?: string;
  silent?: boolean;
  templates?: number | null;
  sampling_state?: 'announced' | 'configured' | 'unknown';
  sampling_rate_set?: number | null;
  health?: 'healthy' | 'silent' | 'losing' | 'waiting';
  lost_last_hour?: number | null;
}

export interface Exporters {
  exporters: Exporter[];
  collector?: { listen: string } | null;
}

export interface FlowRow extends Values {
  flow_start: string;
  flow_end: string;
}

export interface Flows extends Answer {
  rows: FlowRow[];
  next: string | null;
  summary?: (Sums & { avg_bps: number; avg_pps: number; avg_bpp: number; first: string | null; last: string | null }) | null;
}

export interface Highlight {
  addr: string;
  from: string;
  to: string;
  share: number;
  flows: number;
}

/** Share tells, slot by slot, which host took part in most flows, and in which part of all. */
export interface Share extends Answer {
  step_seconds?: number;
  starts: string[];
  share: number[];
  host: (string | null)[];
  host_flows: number[];
  flows: number[];
  highlights: Highlight[] | null;
}

export interface SummaryRow extends Sums {
  class: string;
  flows_per_s: number;
  pps: number;
  bps: number;
}

export interface Summary extends Answer {
  rows: SummaryRow[];
}

export interface HeatMap extends Answer {
  days: string[];
  hours: number[];
  cells: (number | null)[][];
}

export interface Peer extends Sums {
  label: string;
  values?: Values;
  addr?: string;
  port?: number;
}

export interface Address extends Partial<Answer> {
  addr: string;
  names: string[] | null;
  private: boolean;
  first_seen: string | null;
  last_seen: string | null;
  in: Sums;
  out: Sums;
  peers: Peer[] | null;
  ports: Peer[] | null;
}

export interface Loss {
  stages: { name: string; unit: string; count: number | null; exact?: boolean; losses: { cause: string; unit: string; count: number; text: string; advice?: string }[] | null }[];
  minutes: { minute: string; exporter_id: number; stage: string; cause: string; unit: string; count: number }[] | null;
}

export interface Diagnosis {
  headline?: string;
  checks: { name: string; ok: boolean | null; text: string; advice: string }[];
  counters?: Record<string, number | string | null> | null;
}

export interface Interface {
  exporter_id: number;
  exporter: string;
  if_index: number;
  name: string;
  description?: string;
  speed?: number | null;
  in_bytes?: number | null;
  out_bytes?: number | null;
}

export interface SavedView {
  id: number;
  name: string;
  url: string;
  filter: string;
  color: string;
  sign: '+' | '-' | '';
  pinned: boolean;
}

export interface FilterCheck {
  ok: boolean;
  canonical: string;
  terms: number;
  error: { offset: number; end: number; message: string; suggest: string[] | null } | null;
}

export interface Completions {
  from: number;
  to: number;
  options: { text: string; kind?: string; detail?: string }[] | null;
}

export interface SQLResult {
  columns: { name: string; type: string }[];
  rows: unknown[][] | null;
  truncated: boolean;
  took_ms: number;
}

export interface Hunt {
  name: string;
  question: string;
  sql: string;
}

export interface SchemaTable {
  table: string;
  columns: { name: string; type: string; comment: string }[] | null;
}

export interface Me {
  user: string | null;
  role: 'viewer' | 'editor';
  login: 'none' | 'password' | 'proxy';
}

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

/** url joins a path of the API and its parameters, leaving out empty ones. */
export function url(path: string, params: Record<string, string | number | boolean | undefined>): string {
  const q = new URLSearchParams();
  for (const [k, v] of Object.entries(params)) {
    if (v !== undefined && v !== '' && v !== false) q.set(k, String(v));
  }
  const s = q.toString();
  return `/api/v1/${path}${s ? '?' + s : ''}`;
}

interface ProblemJSON {
  title?: string;
  detail?: string;
  errors?: { message?: string; location?: string }[];
}

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
