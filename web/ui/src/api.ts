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
}

export interface TopRow extends Sums {
  values: Values;
  label: string;
  share: number;
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
}

export interface Exporters {
  exporters: Exporter[];
  collector?: { listen: string } | null;
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
export async function get<T>(address: string, signal: AbortSignal): Promise<T> {
  let res: Response;
  try {
    res = await fetch(address, { signal, headers: { accept: 'application/json' } });
  } catch (err) {
    if (signal.aborted) throw err;
    throw new Problem('The server does not answer.', 'Is flowtally web still running? The page asks again by itself while it is live.', 0);
  }
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
