import type { Exporter } from '../api';
import { ago } from '../format';

/** Kind is the word for how an exporter fares: the server's, and gone for one that has sent nothing for a month. */
export type Kind = Exporter['health'] | 'gone';

export interface Health {
  kind: Kind;
  text: string;
}

/** grave are the kinds, those first that somebody should look at. */
export const grave: Kind[] = ['waiting', 'clock', 'times', 'unreadable', 'losing', 'silent', 'numbers', 'shared', 'restarts', 'healthy', 'gone'];

/** kindText says a kind where many of one are counted. */
export const kindText: Record<Kind, string> = {
  waiting: 'waiting',
  clock: 'clock off',
  times: 'odd times',
  unreadable: 'unreadable',
  losing: 'losing',
  silent: 'silent',
  numbers: 'odd numbers',
  shared: 'shared address',
  restarts: 'restarting',
  healthy: 'healthy',
  gone: 'gone',
};

const month = 30 * 86_400;

/** health says how an exporter fares, in the server's judgement: what its checks find. */
export function health(e: Exporter, now: number): Health {
  const age = e.last_seen ? (now - Date.parse(e.last_seen)) / 1000 : Infinity;
  if (age > month) return { kind: 'gone', text: Number.isFinite(age) ? `not heard of for ${ago(age)}` : 'never heard of' };
  const kind = e.health ?? (age > 300 ? 'silent' : 'healthy');
  return { kind, text: e.health_text ?? (kind === 'silent' ? `silent for ${ago(age)}` : kind) };
}

/** counted says how many of a list fare how, the gravest first. */
export function counted(list: Exporter[], now: number): { kind: Kind; n: number }[] {
  const of = new Map<Kind, number>();
  for (const e of list) {
    const { kind } = health(e, now);
    of.set(kind, (of.get(kind) ?? 0) + 1);
  }
  return grave.filter((k) => of.has(k)).map((kind) => ({ kind, n: of.get(kind)! }));
}

/** gravest sorts exporters by what somebody should look at first. */
export const gravest = (a: Exporter, b: Exporter, now: number): number => grave.indexOf(health(a, now).kind) - grave.indexOf(health(b, now).kind);
