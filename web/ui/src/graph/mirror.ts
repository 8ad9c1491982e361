// What comes in and what goes out. A flow says no such thing: it is one direction
// between two addresses, seen where it entered one interface and left another. In and
// out are said of something: of an interface, or of the networks that are one's own.

import { join } from '../filtertext';

/** usual are the networks that nobody else has: RFC 1918, and unique local addresses (RFC 4193). */
export const usual = '10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 fc00::/7';

export interface Sides {
  /** above and below are filters: what is drawn upward, what downward. */
  above: string;
  below: string;
  /** says is what in and out mean here. */
  says: string;
}

/** sides gives what the two halves of a mirrored graph ask, null for a graph that is not. */
export function sides(mirror: string, inside: string): Sides | null {
  if (/^\d+$/.test(mirror)) return { above: `in if ${mirror}`, below: `out if ${mirror}`, says: `In came by interface ${mirror}, out left by it.` };
  if (mirror !== 'net' && mirror !== 'border') return null;
  const { list } = networks(inside || usual);
  const of = list.length === 1 ? list[0]! : `in [${list.join(' ')}]`;
  const [to, from] = [`dst net ${of}`, `src net ${of}`];
  if (mirror === 'net') return { above: to, below: from, says: 'In went to the networks inside, out came from them; what stayed inside is both.' };
  return { above: `${to} and not ${from}`, below: `${from} and not ${to}`, says: 'In crossed the border inward, out outward; what stayed inside is neither.' };
}

/** narrowed is a filter and one side of a graph. */
export const narrowed = (filter: string, side: string): string => join([filter, side]);

/** networks reads a list of networks. What cannot be one is the error. */
export function networks(text: string): { list: string[]; error: string } {
  const list = text.split(/[\s,]+/).filter(Boolean);
  const wrong = list.find((n) => !isNetwork(n));
  return { list, error: wrong ? `${wrong} is not a network such as 10.0.0.0/8 or 2001:db8::/32` : list.length > 100 ? 'More than a hundred networks' : '' };
}

function isNetwork(text: string): boolean {
  const [addr = '', length, more] = text.split('/');
  if (more !== undefined) return false;
  const v6 = addr.includes(':');
  if (length !== undefined && !(/^\d{1,3}$/.test(length) && Number(length) <= (v6 ? 128 : 32))) return false;
  if (!v6) return /^\d{1,3}(\.\d{1,3}){3}$/.test(addr) && addr.split('.').every((n) => Number(n) <= 255);
  if (!/^[\da-f:.]+$/i.test(addr)) return false;
  try {
    return new URL(`http://[${addr}]/`).hostname !== '';
  } catch {
    return false;
  }
}
