// Series colours: Okabe and Ito's hues, each moved until it stands at 3:1 or
// better on the ground of its theme (palette.test.ts holds that). Red is left
// out: it belongs to loss and errors.

export interface Palette {
  ground: string;
  ink: string;
  soft: string;
  line: string;
  accent: string;
  series: string[];
  other: string;
}

export const light: Palette = {
  ground: '#ffffff',
  ink: '#1b1f24',
  soft: '#5d6670',
  line: '#e2e5e9',
  accent: '#1f5fbf',
  series: ['#0072b2', '#d07c00', '#009a70', '#b4538f', '#3a97cf', '#7c6a00', '#5e4bb0', '#b24a00'],
  other: '#8a929b',
};

export const dark: Palette = {
  ground: '#14171a',
  ink: '#e6e9ec',
  soft: '#9aa4ae',
  line: '#2a2f35',
  accent: '#7db2ff',
  series: ['#3f9bdb', '#e69f00', '#12a67c', '#cc79a7', '#7cc8f2', '#e3d84a', '#9a8be0', '#dd7a3a'],
  other: '#7c858e',
};

/** places is how many colours there are: each of the palette's, and twice moved towards the ink. */
export const places = 24;
const tints = [0, 0.34, 0.62];

// What has a colour of its own: whoever reads graphs all day knows tcp by it.
const protocols = ['tcp', 'udp', 'icmp', 'ipv6-icmp', 'esp', 'gre', 'sctp', 'igmp', 'ah', 'ospf', 'ipv6', 'ipv4', 'pim', 'vrrp', 'l2tp', 'none'];
const services = ['443', '53', '80', '22', '123', '25', '5432', '3389', '445', '993', '587', '8443', '8080', '161', '5060', 'none'];

function ownOf(key: string): string[] {
  if (key === 'protocol') return protocols;
  return /^((src|dst)-)?port$/.test(key) ? services : [];
}

// FNV-1a: the same label has the same colour on every page and every day.
function hash(label: string): number {
  let h = 0x811c9dc5;
  for (const c of label) h = Math.imul(h ^ c.codePointAt(0)!, 0x01000193);
  return (h ^ (h >>> 15)) >>> 0;
}

/**
 * Places gives each label of a key a place among the colours that does not depend on its
 * rank: protocols, services and exporters have one of their own, any other value one that
 * follows from its name. Of two that would have the same one, the one that was there
 * before keeps it.
 */
export class Places {
  #taken = new Map<string, Map<string, number>>();

  /** of gives the places of labels that are drawn together; number is who has one by a number. */
  of(key: string, labels: string[], number?: (label: string) => number | undefined): Map<string, number> {
    const before = this.#taken.get(key) ?? new Map<string, number>();
    const own = ownOf(key);
    const next = new Map<string, number>();
    const used = new Set<number>();
    const give = (l: string, place: number): void => {
      next.set(l, place);
      used.add(place);
      before.set(l, place);
    };
    // Of labels the order is their own, and not that of their rank.
    const sorted = [...new Set(labels)].sort();
    for (const l of sorted) {
      const place = number?.(l) ?? own.indexOf(l);
      if (place >= 0 && !used.has(place % places)) give(l, place % places);
    }
    for (const l of sorted) {
      const had = before.get(l);
      if (!next.has(l) && had !== undefined && !used.has(had)) give(l, had);
    }
    for (const l of sorted) {
      if (next.has(l)) continue;
      // Where some have their own, the others leave these alone.
      const [first, many] = own.length ? [own.length, places - own.length] : [0, 8];
      const begin = hash(l) % many;
      const wanted = Array.from({ length: places }, (_, i) => (i < many ? first + ((begin + i) % many) : (first + i) % places));
      give(l, wanted.find((place) => !used.has(place)) ?? wanted[0]!);
    }
    this.#taken.set(key, before);
    return next;
  }
}

const channels = (hex: string): number[] => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));

/** colour gives the palette's colour of a place; beyond the last they begin again. */
export function colour(p: Palette, place: number): string {
  const base = p.series[place % p.series.length]!;
  const tint = tints[Math.floor(place / p.series.length) % tints.length]!;
  if (tint === 0) return base;
  const ink = channels(p.ink);
  return '#' + channels(base).map((c, i) => Math.round(c + (ink[i]! - c) * tint).toString(16).padStart(2, '0')).join('');
}
