// The view is the URL: whoever gets the link sees the same page, and back and
// forward work. Only what differs from the first page is written.

import { measures, metrics, type Measure, type Metric } from './keys';
import { valid, type Range } from './range';

export interface View extends Range {
  /** live is whether a range that ends now follows the clock. */
  live: boolean;
  metric: Metric;
  /** unit tells whether flows and packets are drawn per second or per slot. */
  unit: 'rate' | 'sum';
  /** stack is the key the graph is split by; empty draws the total. */
  stack: string;
  top: number;
  style: 'stacked' | 'lines';
  /** key, by and limit are the question of the table. */
  key: string;
  by: Measure;
  limit: number;
  exporter: string;
  /** pin is the slot of the graph that the table answers alone. */
  pin: Range | null;
}

export const first: View = {
  from: '-6h',
  to: 'now',
  live: true,
  metric: 'flows',
  unit: 'rate',
  stack: 'protocol',
  top: 8,
  style: 'stacked',
  key: 'src-addr',
  by: 'flows',
  limit: 10,
  exporter: '',
  pin: null,
};

export const tops = [4, 8, 12, 20];
export const limits = [10, 20, 50, 100];

/** stackNone is how the URL says that the graph is not split. */
const stackNone = 'none';

/** read gives the view of a URL's query; what it does not understand is the first page's. */
export function read(search: string, now = Date.now()): View {
  const q = new URLSearchParams(search);
  const text = (name: string, otherwise: string): string => q.get(name)?.trim() || otherwise;
  const oneOf = <T extends string>(name: string, all: readonly T[], otherwise: T): T => {
    const v = q.get(name) as T | null;
    return v !== null && all.includes(v) ? v : otherwise;
  };
  const number = (name: string, most: number, otherwise: number): number => {
    const v = Number(q.get(name) ?? '');
    return Number.isInteger(v) && v >= 1 && v <= most ? v : otherwise;
  };
  let range: Range = { from: text('from', first.from), to: text('to', first.to) };
  if (!valid(range, now)) range = { from: first.from, to: first.to };
  const [a, b] = (q.get('pin') ?? '').split('/');
  const pin = a && b && valid({ from: a, to: b }, now) ? { from: a, to: b } : null;
  const stack = text('stack', first.stack);
  return {
    ...range,
    live: q.get('live') !== 'off',
    metric: oneOf('metric', metrics, first.metric),
    unit: oneOf('unit', ['rate', 'sum'], first.unit),
    stack: stack === stackNone ? '' : stack,
    top: number('top', 50, first.top),
    style: oneOf('style', ['stacked', 'lines'], first.style),
    key: text('key', first.key),
    by: oneOf('by', measures, first.by),
    limit: number('limit', 1000, first.limit),
    exporter: text('exporter', ''),
    pin,
  };
}

/** write gives the URL's query of a view, "" for the first page. */
export function write(v: View): string {
  const q: [string, string][] = [];
  const put = (name: keyof View, value = String(v[name])): void => {
    if (v[name] !== first[name]) q.push([name, value]);
  };
  if (v.from !== first.from || v.to !== first.to) q.push(['from', v.from], ['to', v.to]);
  put('live', 'off');
  put('exporter');
  put('metric');
  put('unit');
  put('stack', v.stack || stackNone);
  put('top');
  put('style');
  put('key');
  put('by');
  put('limit');
  if (v.pin) q.push(['pin', `${v.pin.from}/${v.pin.to}`]);
  // Colons, commas and slashes may stand in a query as they are, and a person can read them.
  const code = (s: string): string => encodeURIComponent(s).replace(/%(3A|2C|2F)/gi, decodeURIComponent);
  return q.length ? '?' + q.map(([k, x]) => `${k}=${code(x)}`).join('&') : '';
}
