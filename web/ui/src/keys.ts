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
  /** tab keys have a place of their own above the table. */
  tab?: boolean;
  /** mono values are addresses. */
  mono?: boolean;
}

export const keys: KeyInfo[] = [
  { key: 'src-addr', label: 'Source', heads: ['source address'], tab: true, mono: true },
  { key: 'dst-addr', label: 'Destination', heads: ['destination address'], tab: true, mono: true },
  { key: 'addr', label: 'Any address', heads: ['address, either side'], eitherSide: true, tab: true, mono: true },
  { key: 'src-addr,dst-addr', label: 'Conversations', heads: ['source address', 'destination address'], tab: true, mono: true },
  { key: 'dst-port', label: 'Destination port', heads: ['destination port'], tab: true },
  { key: 'protocol', label: 'Protocol', heads: ['protocol'], tab: true },
  { key: 'exporter', label: 'Exporter', heads: ['exporter'], tab: true },
  { key: 'src-port', label: 'Source port', heads: ['source port'] },
  { key: 'port', label: 'Any port', heads: ['port, either side'], eitherSide: true },
  { key: 'in-if', label: 'Input interface', heads: ['input interface'] },
  { key: 'out-if', label: 'Output interface', heads: ['output interface'] },
  { key: 'interface', label: 'Any interface', heads: ['interface, either side'], eitherSide: true },
  { key: 'src-as', label: 'Source AS', heads: ['source AS'] },
  { key: 'dst-as', label: 'Destination AS', heads: ['destination AS'] },
  { key: 'next-hop', label: 'Next hop', heads: ['next hop'], mono: true },
  { key: 'tos', label: 'Type of service', heads: ['type of service'] },
  { key: 'tcp-flags', label: 'TCP flags', heads: ['TCP flags'] },
  { key: 'vlan', label: 'VLAN', heads: ['VLAN'] },
];

/** tabs have a place of their own above the table, others stand in its menu. */
export const tabs = keys.filter((k) => k.tab);
export const others = keys.filter((k) => !k.tab);

/** stacks are the keys a graph can be stacked by: not those that count a flow twice, whose stack would be too high. */
export const stacks = keys.filter((k) => !k.eitherSide);

/** info describes a key, also one that this page does not list (a URL may ask it). */
export function info(key: string): KeyInfo {
  const known = keys.find((k) => k.key === key);
  if (known) return known;
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

export const metrics: Metric[] = ['flows', 'packets', 'bits'];
export const measures: Measure[] = ['flows', 'packets', 'bytes'];

/** measureOf is what the API counts for a metric. */
export const measureOf = (m: Metric): Measure => (m === 'bits' ? 'bytes' : m);
