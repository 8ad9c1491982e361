// How numbers, shares and times are written: never more than four significant
// digits, decimal prefixes, a thin space before the unit. The exact value
// belongs into a title or a download.

import { units } from './units.svelte';

const thin = '\u202f';
const prefixes = ['', 'k', 'M', 'G', 'T', 'P', 'E'];

/** scaled splits a value into three significant digits and a decimal prefix. */
function scaled(value: number): [string, string] {
  let v = Math.abs(value);
  let p = 0;
  while (v >= 999.5 && p < prefixes.length - 1) {
    v /= 1000;
    p++;
  }
  const sign = value < 0 ? '−' : '';
  return [sign + digits(v, p > 0), prefixes[p]!];
}

function digits(v: number, always: boolean): string {
  if (v === 0) return '0';
  if (!always && Number.isInteger(v)) return String(v);
  if (v >= 99.95) return v.toFixed(0);
  if (v >= 9.995) return v.toFixed(1);
  if (v >= 0.0095) return v.toFixed(2);
  return v.toPrecision(1).includes('e') ? '<0.001' : v.toPrecision(1);
}

/** count writes a number of flows or packets: 950, 48.2 k, 1.20 M. */
export function count(value: number): string {
  const [d, p] = scaled(value);
  return p ? d + thin + p : d;
}

/** withUnit writes a value with its unit, the prefix before the unit: 7.10 MB, 12.0 kbit/s. */
export function withUnit(value: number, unit: string): string {
  const [d, p] = scaled(value);
  return d + thin + p + unit;
}

/** bytes writes a number of bytes with decimal prefixes: 950 B, 7.10 MB. */
export const bytes = (value: number): string => withUnit(value, 'B');

/** traffic writes a rate that is in the unit people prefer already: 1.20 Mbit/s, 150 kB/s. */
export const traffic = (perSecond: number): string => withUnit(perSecond, units.name);

/** bits writes a bit rate in the unit people prefer. */
export const bits = (perSecond: number): string => traffic((perSecond / 8) * units.per);

/** tick is count without trailing zeros, for axis labels. */
export function tick(value: number): string {
  const [d, p] = scaled(value);
  const short = d.includes('.') ? d.replace(/\.?0+$/, '') : d;
  return p ? short + thin + p : short;
}

/** exact writes every digit, in groups of three. */
export function exact(value: number): string {
  const s = Number.isInteger(value) ? String(Math.abs(value)) : Math.abs(value).toFixed(3);
  const [whole = '', part] = s.split('.');
  const grouped = whole.replace(/\B(?=(\d{3})+$)/g, thin);
  return (value < 0 ? '−' : '') + grouped + (part ? '.' + part : '');
}

/** percent writes a share of one with one decimal: 41.3 %. */
export function percent(share: number): string {
  if (share > 0 && share < 0.0005) return '<0.1' + thin + '%';
  if (share < 1 && share >= 0.9995) return '>99.9' + thin + '%';
  return (share * 100).toFixed(1) + thin + '%';
}

/** span writes a length of time in the largest unit that says it exactly, or in two units. */
export function span(seconds: number): string {
  const units: [number, string][] = [
    [86400, 'd'],
    [3600, 'h'],
    [60, 'min'],
    [1, 's'],
  ];
  const s = Math.round(seconds);
  if (s < 1) return Math.round(seconds * 1000) + thin + 'ms';
  for (const [i, [size, name]] of units.entries()) {
    if (s < size) continue;
    const rest = s % size;
    const next = units[i + 1];
    const head = Math.floor(s / size) + thin + name;
    if (!next) return head;
    const more = Math.floor(rest / next[0]);
    return more ? `${head} ${more}${thin}${next[1]}` : head;
  }
  return '0' + thin + 's';
}

/** ago writes an age in its largest unit only, for things that change every second. */
export function ago(seconds: number): string {
  const s = Math.max(0, seconds);
  if (s < 90) return Math.round(s) + thin + 's';
  if (s < 90 * 60) return Math.round(s / 60) + thin + 'min';
  if (s < 36 * 3600) return Math.round(s / 3600) + thin + 'h';
  return Math.round(s / 86400) + thin + 'd';
}

/** took writes how long an answer took. */
export function took(ms: number): string {
  return ms < 1000 ? Math.round(ms) + thin + 'ms' : (ms / 1000).toFixed(1) + thin + 's';
}

/** unmarked is a sentence without the marks of Markdown for code and stress. */
export const unmarked = (s: string): string => s.replace(/`([^`]+)`/g, '$1').replace(/(\*{1,2})(?=\S)([^*]+?)(?<=\S)\1/g, '$2');
