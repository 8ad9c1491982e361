import type { Exporter } from '../api';
import { ago, count } from '../format';

export interface Health {
  /** gone is one that has sent nothing for a month, or never: a name that is left. */
  kind: 'healthy' | 'silent' | 'losing' | 'waiting' | 'gone';
  text: string;
}

const month = 30 * 86_400;

/** health says how an exporter fares: in the server's judgement, else by when it was last heard. */
export function health(e: Exporter, now: number): Health {
  const age = e.last_seen ? (now - Date.parse(e.last_seen)) / 1000 : Infinity;
  const kind = e.health ?? (age === Infinity ? 'waiting' : age > 60 ? 'silent' : 'healthy');
  switch (kind) {
    case 'losing':
      return { kind, text: e.lost_last_hour ? `losing: ${count(e.lost_last_hour)} in an hour` : 'losing' };
    case 'silent':
      if (age > month) return { kind: 'gone', text: Number.isFinite(age) ? `not heard of for ${ago(age)}` : 'never heard of' };
      return { kind, text: Number.isFinite(age) ? `silent for ${ago(age)}` : 'silent' };
    case 'waiting':
      return { kind, text: 'waiting for the first records' };
    default:
      return { kind, text: 'healthy' };
  }
}
