// How an exporter's facts are written, wherever they stand.

import type { Exporter } from '../api';
import { ago, exact } from '../format';

/** sayers are the words for who said the rate that counts. */
const sayers: Record<string, string> = { announced: ' announced', configured: ' as people say', told: ' as the collector was told' };

/** sampling says at which rate an exporter samples, and how that is known. */
export const sampling = (e: Exporter): string =>
  e.sampling_rate ? `1:${exact(e.sampling_rate)}${sayers[e.sampling_state] ?? ''}${e.sampling_provisional && e.sampling_state === 'announced' ? ' before it started again' : ''}` : e.sampling_state === 'unknown' || !e.sampling_state ? 'unknown' : '1:1';

/** namers are the words for whose name an exporter has. */
export const namers: Record<string, string> = { people: 'people', listener: 'the listener it came in on', announced: 'itself, in options', dns: 'reverse DNS', address: 'its address alone' };

/** whose says of an exporter without a name of people's whose name it has; "" for the others. */
export const whose = (e: Exporter): string => ({ listener: 'by its listener', announced: 'by itself', dns: 'by DNS' })[e.named_by as string] ?? '';

/** beside is what stands beside an exporter's label: of its address and domain what the label does not say. */
export const beside = (e: Exporter): { addr: string; domain: string } => ({
  addr: e.label.includes(e.addr) ? '' : e.addr,
  domain: e.observation_domain && !e.label.endsWith(`domain ${e.observation_domain}`) ? `domain ${e.observation_domain}` : '',
});

/** words are what people say of an exporter, as the API keeps them. */
export const words = (e: Exporter) => ({
  name: e.name,
  color: e.color ?? '',
  note: e.note ?? '',
  ...(e.sampling_rate_set ? { sampling_rate: e.sampling_rate_set, sampling_mode: e.sampling_mode, ...(e.sampling_from ? { sampling_from: e.sampling_from } : {}) } : {}),
});

/** offset says by how much an exporter's clock is ahead. */
export const offset = (ms: number | null): string => (ms === null ? '–' : `${ms < 0 ? '−' : '+'}${(Math.abs(ms) / 1000).toFixed(1)} s`);

/** since says how long ago an exporter was last heard of. */
export const since = (e: Exporter, now: number): string => (e.last_seen ? `${ago(Math.max(0, (now - Date.parse(e.last_seen)) / 1000))} ago` : 'never');

/** versionText names an export protocol. */
export const versionText = (v: number): string => (v === 10 ? 'IPFIX' : v ? `v${v}` : '–');
