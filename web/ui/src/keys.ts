// What the page calls the keys, and where it offers them. Which keys there are, and what
// they mean, the server says: see vocabulary.svelte.ts.

import { vocabulary } from './vocabulary.svelte';

export interface KeyInfo {
  /** key is the API's name; a pair joins two with a comma. */
  key: string;
  /** label names it in a menu. */
  label: string;
  /** heads names the table's columns, one for each part. */
  heads: string[];
  /** eitherSide keys count a flow for each of its two ends. */
  eitherSide: boolean;
  /** mono values are addresses. */
  mono: boolean;
}

// In the order of the menus: what a key is called there, and as the head of a column.
// A pair of keys has the heads of its parts.
const labels: Record<string, { label: string; head?: string }> = {
  'src-addr': { label: 'Source', head: 'source address' },
  'dst-addr': { label: 'Destination', head: 'destination address' },
  addr: { label: 'Any address', head: 'address, either side' },
  'src-addr,dst-addr': { label: 'Address pairs' },
  'src-addr,dst-port': { label: 'Source and port' },
  'dst-addr,dst-port': { label: 'Destination and port' },
  'dst-port': { label: 'Destination port', head: 'destination port' },
  protocol: { label: 'Protocol', head: 'protocol' },
  exporter: { label: 'Exporter', head: 'exporter' },
  'src-port': { label: 'Source port', head: 'source port' },
  port: { label: 'Any port', head: 'port, either side' },
  'in-if': { label: 'Input interface', head: 'input interface' },
  'out-if': { label: 'Output interface', head: 'output interface' },
  interface: { label: 'Any interface', head: 'interface, either side' },
  'src-as': { label: 'Source AS', head: 'source AS' },
  'dst-as': { label: 'Destination AS', head: 'destination AS' },
  'src-as,dst-as': { label: 'AS pairs' },
  'next-hop': { label: 'Next hop', head: 'next hop' },
  tos: { label: 'Type of service', head: 'type of service' },
  'tcp-flags': { label: 'TCP flags', head: 'TCP flags' },
  vlan: { label: 'VLAN', head: 'VLAN' },
};

/** Tab is one of the answers under the graph. The first six are one table, by different keys. */
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
  { id: 'protocols', label: 'Protocols', keys: ['protocol'] },
  { id: 'interfaces', label: 'Interfaces', keys: ['in-if', 'out-if', 'interface'] },
  { id: 'as', label: 'AS', keys: ['src-as', 'dst-as', 'src-as,dst-as'] },
  { id: 'flows', label: 'Flows', keys: [] },
  { id: 'sankey', label: 'Sankey', keys: [] },
  { id: 'heatmap', label: 'Heat map', keys: [] },
  { id: 'summary', label: 'Summary', keys: [] },
];

/** bare is a key without the lengths of networks: src-addr of src-addr/24. */
export const bare = (key: string): string => key.replace(/\/[\d/]+/g, '');

/** lengths gives the lengths of the networks that a key's addresses are grouped by, "24/48" or "". */
export const lengths = (key: string): string => /\/([\d/]+)/.exec(key)?.[1] ?? '';

/** hasNetworks says whether a part of a key is an address. */
export const hasNetworks = (key: string): boolean => bare(key).split(',').some(isAddress);
const isAddress = (part: string): boolean => vocabulary.key(part)?.kind === 'addr';

/** byNetwork groups the addresses of a key by networks of these lengths; "" by address. */
export const byNetwork = (key: string, of: string): string =>
  bare(key)
    .split(',')
    .map((p) => (of && isAddress(p) ? `${p}/${of}` : p))
    .join(',');

/** offered says whether the server has all parts of a key; until it has said so, what has a label is believed to be there. */
export const offered = (key: string): boolean => vocabulary.said === null || bare(key).split(',').every((p) => vocabulary.key(p) !== null);

/** menu gives the keys that a menu offers: those with a label, then what the server has besides. */
export const menu = (): KeyInfo[] => [
  ...Object.keys(labels).filter(offered),
  ...(vocabulary.said?.keys ?? []).map((k) => k.name).filter((k) => !labels[k]),
].map(info);

/** others are keys without a tab: they stand in the table's menu. */
export const others = (): KeyInfo[] => menu().filter((k) => !tabs.some((t) => t.keys.includes(k.key)));

/** stacks are the keys a graph can be stacked by: not those that count a flow twice, whose stack would be too high. */
export const stacks = (): KeyInfo[] => menu().filter((k) => !k.eitherSide);

/** tabOf names the tab that a key belongs to, the first for keys without one. */
export const tabOf = (key: string): Tab => tabs.find((t) => t.keys.includes(bare(key))) ?? tabs[0]!;

/** views is how the graph is split by the saved views: a line each, and no key of the API's. */
export const views = 'views';

/** info describes a key, also one that this page does not list (a URL may ask it). */
export function info(key: string): KeyInfo {
  const parts = bare(key).split(',');
  const of = lengths(key);
  const known = labels[bare(key)];
  const heads = parts.map((p) => labels[p]?.head ?? (vocabulary.key(p) ? spelled(p) : p));
  const label = known?.label ?? (vocabulary.key(key) ? sentence(spelled(key)) : key);
  return {
    key,
    label: known && of ? `${label}, by network /${of.replace('/', ' and /')}` : label,
    heads: of ? heads.map((h) => h.replace('address', 'network').replace('next hop', 'network of the next hop')) : heads,
    mono: parts.some((p) => ['addr', 'mac'].includes(vocabulary.key(p)?.kind ?? '')),
    eitherSide: parts.some((p) => (vocabulary.key(p)?.sides.length ?? 0) > 0),
  };
}

const spelled = (name: string): string => name.replaceAll('-', ' ');
const sentence = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);

/** column is the SQL name of one part of a key, whose networks are no part of it. */
export const column = (part: string): string => vocabulary.key(bare(part))?.column ?? bare(part).replaceAll('-', '_');

export type Metric = 'flows' | 'packets' | 'bits';
/** Measure is a sum that every answer has. */
export type Measure = 'flows' | 'packets' | 'bytes';

export const metrics: Metric[] = ['flows', 'packets', 'bits'];
export const measures: Measure[] = ['flows', 'packets', 'bytes'];

/** measureOf is what the API counts for a metric. */
export const measureOf = (m: Metric): Measure => (m === 'bits' ? 'bytes' : m);

/** measured is the sum that a table's order stands for, for the share and the graph beside it. */
export const measured = (by: string): Measure => vocabulary.measure(by)?.of ?? measures.find((m) => m === by) ?? 'bytes';
