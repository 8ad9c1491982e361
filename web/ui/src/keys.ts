// What flows can be grouped by, in the words of the API and of the page.

export interface KeyInfo {
  /** key is the API's name; a pair joins two with a comma. */
  key: string;
  /** label names it in a menu. */
  label: string;
  /** heads names the table's columns, one for each part. */
  heads: string[];
  /** eitherSide keys count a flow for each of its two ends. */
  eitherSide?: boolean;
  /** mono values are addresses. */
  mono?: boolean;
}

export const keys: KeyInfo[] = [
  { key: 'src-addr', label: 'Source', heads: ['source address'], mono: true },
  { key: 'dst-addr', label: 'Destination', heads: ['destination address'], mono: true },
  { key: 'addr', label: 'Any address', heads: ['address, either side'], eitherSide: true, mono: true },
  { key: 'src-addr,dst-addr', label: 'Address pairs', heads: ['source address', 'destination address'], mono: true },
  { key: 'src-addr,dst-port', label: 'Source and port', heads: ['source address', 'destination port'], mono: true },
  { key: 'dst-addr,dst-port', label: 'Destination and port', heads: ['destination address', 'destination port'], mono: true },
  { key: 'dst-port', label: 'Destination port', heads: ['destination port'] },
  { key: 'protocol', label: 'Protocol', heads: ['protocol'] },
  { key: 'exporter', label: 'Exporter', heads: ['exporter'] },
  { key: 'src-port', label: 'Source port', heads: ['source port'] },
  { key: 'port', label: 'Any port', heads: ['port, either side'], eitherSide: true },
  { key: 'in-if', label: 'Input interface', heads: ['input interface'] },
  { key: 'out-if', label: 'Output interface', heads: ['output interface'] },
  { key: 'interface', label: 'Any interface', heads: ['interface, either side'], eitherSide: true },
  { key: 'src-as', label: 'Source AS', heads: ['source AS'] },
  { key: 'dst-as', label: 'Destination AS', heads: ['destination AS'] },
  { key: 'src-as,dst-as', label: 'AS pairs', heads: ['source AS', 'destination AS'] },
  { key: 'next-hop', label: 'Next hop', heads: ['next hop'], mono: true },
  { key: 'tos', label: 'Type of service', heads: ['type of service'] },
  { key: 'tcp-flags', label: 'TCP flags', heads: ['TCP flags'] },
  { key: 'vlan', label: 'VLAN', heads: ['VLAN'] },
];

/** Tab is one of the answers under the graph. The first five are one table, by different keys. */
export interface Tab {
  id: string;
  label: string;
  /** keys are what the tab's table can be counted by; none for the tabs that are no such table. */
  keys: string[];
}

export const tabs: Tab[] = [
  { id: 'talkers', label: 'Top talkers', keys: ['src-addr', 'dst-addr', 'addr'] },
  { id: 'conversations', label: 'Conversations', keys: ['src-addr,dst-addr', 'src-addr,dst-port', 'dst-addr,dst-port'] },
  { id: 'ports', label: 'Ports', keys: ['dst-port', 'src-port', 'port'] },
  { id: 'interfaces', label: 'Interfaces', keys: ['in-if', 'out-if', 'interface'] },
  { id: 'as', label: 'AS', keys: ['src-as', 'dst-as', 'src-as,dst-as'] },
  { id: 'flows', label: 'Flows', keys: [] },
  { id: 'sankey', label: 'Sankey', keys: [] },
  { id: 'heatmap', label: 'Heat map', keys: [] },
  { id: 'summary', label: 'Protocols', keys: [] },
];

/** bare is a key without the lengths of networks: src-addr of src-addr/24. */
export const bare = (key: string): string => key.replace(/\/[\d/]+/g, '');

/** lengths gives the lengths of the networks that a key's addresses are grouped by, "24/48" or "". */
export const lengths = (key: string): string => /\/([\d/]+)/.exec(key)?.[1] ?? '';

/** hasNetworks says whether a part of a key is an address. */
export const hasNetworks = (key: string): boolean => bare(key).split(',').some(isAddress);
const isAddress = (part: string): boolean => /^(src-addr|dst-addr|addr|next-hop)$/.test(part);

/** byNetwork groups the addresses of a key by networks of these lengths; "" by address. */
export const byNetwork = (key: string, of: string): string =>
  bare(key)
    .split(',')
    .map((p) => (of && isAddress(p) ? `${p}/${of}` : p))
    .join(',');

/** others are keys without a tab: they stand in the table's menu. */
export const others = keys.filter((k) => !tabs.some((t) => t.keys.includes(k.key)));

/** tabOf names the tab that a key belongs to, the first for keys without one. */
export const tabOf = (key: string): Tab => tabs.find((t) => t.keys.includes(bare(key))) ?? tabs[0]!;

/** stacks are the keys a graph can be stacked by: not those that count a flow twice, whose stack would be too high. */
export const stacks = keys.filter((k) => !k.eitherSide);

/** views is how the graph is split by the saved views: a line each, and no key of the API's. */
export const views = 'views';

/** info describes a key, also one that this page does not list (a URL may ask it). */
export function info(key: string): KeyInfo {
  const known = keys.find((k) => k.key === bare(key));
  const of = lengths(key);
  if (known && !of) return known;
  if (known) return { ...known, key, label: `${known.label}, by network /${of.replace('/', ' and /')}`, heads: known.heads.map((h) => h.replace('address', 'network').replace('next hop', 'network of the next hop')) };
  const parts = key.split(',').map((k) => keys.find((x) => x.key === k) ?? { heads: [k], mono: false, eitherSide: false });
  return {
    key,
    label: key,
    heads: parts.map((p) => p.heads[0]!),
    mono: parts.some((p) => p.mono),
    eitherSide: parts.some((p) => p.eitherSide),
  };
}

/** column is the SQL name of one part of a key. */
export const column = (part: string): string => part.replaceAll('-', '_');

export type Metric = 'flows' | 'packets' | 'bits';
export type Measure = 'flows' | 'packets' | 'bytes';
/** Order is what a table can be ranked by: a sum, or a rate of the group while it was seen. */
export type Order = Measure | 'pps' | 'bps' | 'bpp';

export const metrics: Metric[] = ['flows', 'packets', 'bits'];
export const measures: Measure[] = ['flows', 'packets', 'bytes'];
export const orders: Order[] = ['flows', 'packets', 'bytes', 'pps', 'bps', 'bpp'];

/** measureOf is what the API counts for a metric. */
export const measureOf = (m: Metric): Measure => (m === 'bits' ? 'bytes' : m);
