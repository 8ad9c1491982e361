// The view is the URL: whoever gets the link sees the same page, and back and
// forward work. Only what differs from the page's first look is written. Paths and
// names are a promise: what was written once is read for ever.

import { metrics, tabOf, type Metric } from './keys';
import { asking, home, pageAt, pageNamed, type Name } from './pages';
import { valid, type Range } from './range';

/** flowSorts are what the list of flows can be sorted by, in the API's words. */
export const flowSorts = ['flow_start', 'flow_end', 'packets', 'bytes', 'duration'] as const;
export type FlowSort = (typeof flowSorts)[number];

export interface View extends Range {
  name: Name;
  /** live is whether a range that ends now follows the clock. */
  live: boolean;
  filter: string;
  exporter: string;
  metric: Metric;
  /** unit tells whether flows and packets are drawn per second or per slot. */
  unit: 'rate' | 'sum';
  /** scaled is whether packets and bytes are multiplied by the sampling rate. */
  scaled: boolean;
  /** stack is the key the graph is split by; empty draws the total, "views" a line for each saved view. */
  stack: string;
  top: number;
  style: 'stacked' | 'lines' | 'percent';
  scale: 'lin' | 'log';
  /** mirror draws what comes in above the axis and what goes out below: by the networks inside, by their border, or by an ifIndex. */
  mirror: string;
  /** inside are the networks that mirror means; empty for the usual ones. */
  inside: string;
  /** over is how many periods before are laid over the graph, period how long one is. */
  over: number;
  period: '1d' | '1w';
  /** tab is what stands under the graph when that is not the table by key. */
  tab: '' | 'flows' | 'sankey' | 'heatmap' | 'summary';
  /** key, by and limit are the question of the table. */
  key: string;
  by: string;
  limit: number;
  /** having is a condition on the sums of the table's groups. */
  having: string;
  /** sort and order are those of the list of flows. */
  sort: FlowSort;
  order: 'desc' | 'asc';
  /** pin is the slot of the graph that the table answers alone. */
  pin: Range | null;
  /** of is the exporter whose page is shown, by its number; 0 for none. */
  of: number;
  /** sql is the text of the SQL page, when it came from a link. */
  sql: string;
}

export const first: View = {
  name: asking,
  from: '-6h',
  to: 'now',
  live: true,
  filter: '',
  exporter: '',
  metric: 'flows',
  unit: 'rate',
  scaled: false,
  stack: 'protocol',
  top: 8,
  style: 'stacked',
  scale: 'lin',
  mirror: '',
  inside: '',
  over: 0,
  period: '1w',
  tab: '',
  key: 'src-addr',
  by: 'flows',
  limit: 10,
  having: '',
  sort: 'flow_start',
  order: 'desc',
  pin: null,
  of: 0,
  sql: '',
};

export const tops = [4, 8, 12, 20];
export const limits = [10, 20, 50, 100, 200, 500];
export const mostOver = 8;

/** stackNone is how the URL says that the graph is not split. */
const stackNone = 'none';

/** preferred is what a page without a question begins with, where somebody prefers something: see preferences. */
export const preferred = { from: '', limit: 0 };

/** firstFrom gives where a page's range begins when its URL does not say: the overview is of a day. */
const firstFrom = (n: Name): string => pageNamed(n).from ?? first.from;

/** read gives the view of a URL; what it does not understand is the first page's. */
export function read(search: string, path = '/explore', now = Date.now()): View {
  const q = new URLSearchParams(search);
  const text = (name: string, otherwise: string): string => q.get(name)?.trim() || otherwise;
  const oneOf = <T extends string>(name: string, all: readonly T[], otherwise: T): T => {
    const v = q.get(name) as T | null;
    return v !== null && all.includes(v) ? v : otherwise;
  };
  const number = (name: string, most: number, otherwise: number, least = 1): number => {
    const v = q.get(name) ? Number(q.get(name)) : NaN;
    return Number.isInteger(v) && v >= least && v <= most ? v : otherwise;
  };
  // The bare address is the overview; with a question it is Explore, as in the first release.
  const name = pageAt(path)?.name ?? (q.size ? asking : home);
  // An address that says something means the same to everybody.
  const bare = q.size === 0;
  const begin = (bare && preferred.from) || firstFrom(name);
  let range: Range = { from: text('from', begin), to: text('to', first.to) };
  if (!valid(range, now)) range = { from: begin, to: first.to };
  const [a, b] = (q.get('pin') ?? '').split('/');
  const pin = a && b && valid({ from: a, to: b }, now) ? { from: a, to: b } : null;
  const stack = text('stack', first.stack);
  return {
    ...range,
    name,
    live: q.get('live') !== 'off',
    filter: text('filter', ''),
    exporter: text('exporter', ''),
    metric: oneOf('metric', metrics, first.metric),
    unit: oneOf('unit', ['rate', 'sum'], first.unit),
    scaled: q.get('scaled') === 'true',
    stack: stack === stackNone ? '' : stack,
    top: number('top', 50, first.top),
    style: oneOf('style', ['stacked', 'lines', 'percent'], first.style),
    scale: oneOf('scale', ['lin', 'log'], first.scale),
    mirror: /^(net|border|\d{1,10})$/.exec(text('mirror', ''))?.[0] ?? '',
    inside: text('inside', ''),
    over: number('over', mostOver, first.over, 0),
    period: oneOf('period', ['1d', '1w'], first.period),
    tab: oneOf('tab', ['flows', 'sankey', 'heatmap', 'summary'], '') as View['tab'],
    key: text('key', first.key),
    by: text('by', first.by),
    limit: number('limit', 1000, (bare && preferred.limit) || first.limit),
    having: text('having', ''),
    sort: oneOf('sort', flowSorts, first.sort),
    order: oneOf('order', ['desc', 'asc'], first.order),
    pin,
    of: number('of', 2 ** 31, 0),
    sql: q.get('sql') ?? '',
  };
}

/** write gives the URL's query of a view, "" for a page's first look. */
export function write(v: View): string {
  const q: [string, string][] = [];
  const put = (name: keyof View, value = String(v[name])): void => {
    if (v[name] !== first[name]) q.push([name, value]);
  };
  if (v.from !== firstFrom(v.name) || v.to !== first.to) q.push(['from', v.from], ['to', v.to]);
  put('live', 'off');
  put('filter');
  put('exporter');
  put('metric');
  put('unit');
  put('scaled');
  put('stack', v.stack || stackNone);
  put('top');
  put('style');
  put('scale');
  put('mirror');
  put('inside');
  put('over');
  put('period');
  put('tab');
  put('key');
  put('by');
  put('limit');
  put('having');
  put('sort');
  put('order');
  if (v.pin) q.push(['pin', `${v.pin.from}/${v.pin.to}`]);
  for (const own of pageNamed(v.name).parameters) put(own);
  // A bare address would mean what is preferred here.
  if (q.length === 0 && ((preferred.from && preferred.from !== v.from) || (preferred.limit && preferred.limit !== v.limit))) q.push(['from', v.from], ['to', v.to]);
  // Colons, commas and slashes may stand in a query as they are, and a person can read them.
  const code = (s: string): string => encodeURIComponent(s).replace(/%(3A|2C|2F)/gi, decodeURIComponent).replace(/%20/g, '+');
  return q.length ? '?' + q.map(([k, x]) => `${k}=${code(x)}`).join('&') : '';
}

/** address gives the path and query of a view. */
export function address(v: View): string {
  const search = write(v);
  return (v.name === home && !search ? '/' : '/' + v.name) + search;
}

/** tabId names the tab that a view shows. */
export const tabId = (v: View): string => v.tab || tabOf(v.key).id;
