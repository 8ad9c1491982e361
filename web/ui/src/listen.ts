// Where exporters have to send to, as far as this page can know: by the word of who
// started the server or the collector, else by what the collector says of itself.

import type { Collector } from './api';

export interface Target {
  host: string;
  port: string;
  /** others are further addresses at which the same is reached. */
  others: string[];
  /** why says why the host may not be the one, "" when it is known: local for what this machine alone
   *  reaches, container for an address inside of one, unknown for one that nobody has said. */
  why: '' | 'local' | 'container' | 'unknown';
  /** away is when the last collector was heard of, "" when one runs or none ever did. */
  away: string;
}

const loopback = /^(localhost|127(\.\d+){3}|::1)$/;
const any = /^(|0\.0\.0\.0|::|\*)$/;
/** unknown stands for an address that has to be put in. */
export const unknown = 'COLLECTOR';

/** split takes ":9995", "[::]:9995", "192.0.2.1:9995" or "flows.example.net:9995" apart. */
export function split(text: string): { host: string; port: string } {
  const m = /^(?:udp:\/\/)?(?:\[([^\]]*)\]|([^:]*)):(\d+)$/.exec(text.trim());
  return { host: (m?.[1] ?? m?.[2] ?? '').trim(), port: m?.[3] ?? '9995' };
}

/** target is where to send to, as seen from a page that was reached at a host. */
export function target(collector: Partial<Collector> | undefined, pageHost: string): Target {
  const page = pageHost.replace(/^\[|\]$/g, '');
  const own = loopback.test(page) ? '' : page;
  // Each is told once a minute: one that was not told for longer has stopped a moment ago,
  // and is no place to send to while there is another.
  const at = (l: { reported_at: string }): number => Date.parse(l.reported_at);
  const newest = Math.max(...(collector?.listening ?? []).map(at));
  const heard = (collector?.listening ?? []).filter((l) => l.running && l.protocol === 'udp');
  const fresh = heard.filter((l) => !(newest - at(l) > 75_000));
  const running = fresh.length ? fresh : heard;
  const gone = (collector?.listening ?? []).find((l) => !l.running);
  const away = running.length === 0 && gone ? gone.reported_at : '';
  const told = split(collector?.listen ?? '');
  if (collector?.told && !any.test(told.host)) return { ...told, others: [], why: loopback.test(told.host) ? 'local' : '', away };

  const l = running[0];
  const said = l?.announced ? split(l.announced) : null;
  if (said) return { ...said, others: [], why: '', away };
  const port = collector?.told ? told.port : l ? String(l.port) : told.port;
  if (!l) return { host: own || unknown, port, others: [], why: own ? '' : 'unknown', away };
  const all = [...new Set(running.filter((x) => String(x.port) === port).flatMap((x) => x.reachable))];
  // Whoever reached the page by one of the collector's addresses reaches that one.
  const reached = all.filter((a) => !loopback.test(a));
  // What is bound to one address is reached there and nowhere else, wherever it runs.
  if (l.container && any.test(split(l.address).host)) return { host: own || unknown, port, others: [], why: own ? 'container' : 'unknown', away };
  const host = reached.includes(own) ? own : (reached[0] ?? '');
  if (host) return { host, port, others: reached.filter((a) => a !== host), why: '', away };
  return all.length ? { host: all[0]!, port, others: [], why: 'local', away } : { host: own || unknown, port, others: [], why: own ? '' : 'unknown', away };
}

/** endpoint writes host and port for a command line, IPv6 in brackets. */
export const endpoint = (t: Pick<Target, 'host' | 'port'>): string => (t.host.includes(':') ? `[${t.host}]` : t.host) + ':' + t.port;
