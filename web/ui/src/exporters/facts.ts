// How an exporter's facts are written, wherever they stand.

import type { Exporter } from '../api';
import { ago, exact, span } from '../format';

/** sayers are the words for who said the rate that counts. */
const sayers: Record<string, string> = { announced: ' announced', configured: ' as people say', told: ' as the collector was told' };

/** sampling says at which rate an exporter samples, and how that is known. */
export const sampling = (e: Exporter): string =>
  e.sampling_rate ? `1:${exact(e.sampling_rate)}${sayers[e.sampling_state] ?? ''}${e.sampling_provisional && e.sampling_state === 'announced' ? ' before it started again' : ''}` : e.sampling_state === 'unknown' || !e.sampling_state ? 'unknown' : '1:1';

/** offset says by how much an exporter's clock is ahead. */
export const offset = (ms: number | null): string => (ms === null ? '–' : `${ms < 0 ? '−' : '+'}${Math.abs(ms) < 60_000 ? `${(Math.abs(ms) / 1000).toFixed(1)} s` : span(Math.round(Math.abs(ms) / 60_000) * 60)}`);

/** since says how long ago an exporter was last heard of. */
export const since = (e: Exporter, now: number): string => (e.last_seen ? `${ago(Math.max(0, (now - Date.parse(e.last_seen)) / 1000))} ago` : 'never');

/** versionText names an export protocol. */
export const versionText = (v: number): string => (v === 10 ? 'IPFIX' : v ? `v${v}` : '–');
