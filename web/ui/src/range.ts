// Ranges are half-open, [from, to). An end is written as the URL and the API
// have it: RFC 3339, or relative to now ("now", "-6h"). What a person types is
// read in the person's zone and turned into one of the two.

/** Zone is whose clock is shown: the viewer's, or UTC. */
export type Zone = 'local' | 'utc';

export interface Range {
  from: string;
  to: string;
}

/** Fixed is a range in milliseconds since the epoch. */
export interface Fixed {
  from: number;
  to: number;
}

export const presets = [
  { from: '-15m', label: 'last 15 min' },
  { from: '-1h', label: 'last 1 h' },
  { from: '-6h', label: 'last 6 h' },
  { from: '-24h', label: 'last 24 h' },
  { from: '-7d', label: 'last 7 d' },
  { from: '-30d', label: 'last 30 d' },
] as const;

const second = 1000;
const unitMs: Record<string, number> = {
  s: second,
  m: 60 * second,
  h: 3600 * second,
  d: 86400 * second,
  w: 7 * 86400 * second,
};

const relative = /^-(\d+)\s*(s|m|min|h|d|w)$/;
const rfc3339 = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/i;
const day = /^(\d{4})-(\d\d?)-(\d\d?)$/;
const moment = /^(\d{4})-(\d\d?)-(\d\d?)[T ]\s*(\d\d?):(\d\d)(?::(\d\d))?$/;
const dayClock = /^(today|yesterday)[ t]\s*(\d\d?):(\d\d)(?::(\d\d))?$/;
const clock = /^(\d\d?):(\d\d)(?::(\d\d))?$/;

/** resolve gives the instant that a URL's end of a range means, or NaN. */
export function resolve(end: string, now: number): number {
  if (end === 'now') return now;
  const m = relative.exec(end);
  if (m) return now - Number(m[1]) * unitMs[m[2] === 'min' ? 'm' : m[2]!]!;
  return rfc3339.test(end) ? Date.parse(end) : NaN;
}

export function resolveRange(r: Range, now: number): Fixed {
  return { from: resolve(r.from, now), to: resolve(r.to, now) };
}

/** valid says whether a range from a URL can be asked. */
export function valid(r: Range, now: number): boolean {
  const f = resolveRange(r, now);
  return f.to > f.from;
}

/** iso writes an instant as the URL has it: RFC 3339 in UTC, without milliseconds where there are none. */
export function iso(ms: number): string {
  return new Date(ms).toISOString().replace('.000Z', 'Z');
}

/** fixed writes a range of instants as the URL has it. */
export const fixed = (f: Fixed): Range => ({ from: iso(f.from), to: iso(f.to) });

/** live says whether a range ends where time goes on. */
export const endsNow = (r: Range): boolean => r.to === 'now';

function at(zone: Zone, y: number, mo: number, d: number, h = 0, mi = 0, s = 0): number {
  const fields = [y, mo - 1, d, h, mi, s] as const;
  const ms = zone === 'utc' ? Date.UTC(...fields) : new Date(...fields).getTime();
  // 2026-02-31 and 25:61 silently become another time: refuse them.
  const p = parts(ms, zone);
  const same = p.y === y && p.mo === mo && p.d === d && p.h === h && p.mi === mi && p.s === s;
  // An hour that summer time skips is the only honest mismatch.
  return same || (zone === 'local' && p.y === y && p.mo === mo && p.d === d && h < 24 && mi < 60 && s < 60) ? ms : NaN;
}

function parts(ms: number, zone: Zone) {
  const t = new Date(ms);
  return zone === 'utc'
    ? { y: t.getUTCFullYear(), mo: t.getUTCMonth() + 1, d: t.getUTCDate(), h: t.getUTCHours(), mi: t.getUTCMinutes(), s: t.getUTCSeconds(), ms: t.getUTCMilliseconds() }
    : { y: t.getFullYear(), mo: t.getMonth() + 1, d: t.getDate(), h: t.getHours(), mi: t.getMinutes(), s: t.getSeconds(), ms: t.getMilliseconds() };
}

/** midnight gives the start of the day that holds an instant, moved by whole days. */
function midnight(ms: number, zone: Zone, days = 0): number {
  const p = parts(ms, zone);
  return zone === 'utc' ? Date.UTC(p.y, p.mo - 1, p.d + days) : new Date(p.y, p.mo - 1, p.d + days).getTime();
}

/** Typed is what a typed range means, or why it means nothing. */
export type Typed = { range: Range; error?: undefined } | { range?: undefined; error: string };

/**
 * typed reads the two fields of the range form. An empty second field means
 * "now", or the end of the day when the first names a day.
 */
export function typed(from: string, to: string, now: number, zone: Zone): Typed {
  const a = typedEnd(from.trim().toLowerCase(), now, zone);
  if (!a) return { error: from.trim() ? `“${from.trim()}” is not a time that can be read here.` : 'From when?' };
  let b: End | undefined;
  if (to.trim() === '') {
    b = a.until !== undefined && a.until < now ? { text: iso(a.until) } : { text: 'now' };
  } else {
    b = typedEnd(to.trim().toLowerCase(), now, zone, true);
    if (!b) return { error: `“${to.trim()}” is not a time that can be read here.` };
  }
  const range = { from: a.text, to: b.text };
  const f = resolveRange(range, now);
  if (!(f.to > f.from)) return { error: 'The range ends before it starts: swap the two, or correct one.' };
  return { range };
}

interface End {
  text: string;
  until?: number; // end of the day that the text names
}

function typedEnd(s: string, now: number, zone: Zone, end = false): End | undefined {
  if (s === 'now') return { text: 'now' };
  const r = relative.exec(s);
  if (r) return { text: `-${Number(r[1])}${r[2] === 'min' ? 'm' : r[2]}` };
  if (rfc3339.test(s)) return { text: iso(Date.parse(s)) };
  const days: Record<string, number> = { today: 0, yesterday: -1 };
  const named = days[s];
  let start = named === undefined ? NaN : midnight(now, zone, named);
  const d = day.exec(s);
  if (d) start = at(zone, Number(d[1]), Number(d[2]), Number(d[3]));
  if (!Number.isNaN(start)) {
    const until = midnight(start, zone, 1);
    // As the end of a range, a day is meant to be inside.
    if (end) return until > now ? { text: 'now' } : { text: iso(until) };
    return { text: iso(start), until };
  }
  const m = moment.exec(s);
  if (m) start = at(zone, Number(m[1]), Number(m[2]), Number(m[3]), Number(m[4]), Number(m[5]), Number(m[6] ?? 0));
  const n = dayClock.exec(s);
  if (n) {
    const p = parts(midnight(now, zone, days[n[1]!]), zone);
    start = at(zone, p.y, p.mo, p.d, Number(n[2]), Number(n[3]), Number(n[4] ?? 0));
  }
  const c = clock.exec(s);
  if (c) {
    const p = parts(now, zone);
    start = at(zone, p.y, p.mo, p.d, Number(c[1]), Number(c[2]), Number(c[3] ?? 0));
  }
  return Number.isNaN(start) ? undefined : { text: iso(start) };
}

/** duration writes milliseconds as a relative end, in the largest unit that fits exactly. */
function back(ms: number): string {
  const s = Math.round(ms / second);
  for (const [u, size] of [['d', 86400], ['h', 3600], ['m', 60]] as const) {
    if (s % size === 0) return `-${s / size}${u}`;
  }
  return `-${s}s`;
}

/** lastOf gives the range of the same length that ends now. */
export function lastOf(f: Fixed): Range {
  const s = Math.max(second, Math.round((f.to - f.from) / second) * second);
  return { from: back(s), to: 'now' };
}

/**
 * step moves a range by a part of its length; it never goes past now, where it becomes
 * live. What is two minutes long or longer begins and ends on whole minutes, and moves by
 * whole minutes: there and back is where it was.
 */
export function step(r: Range, by: number, now: number): Range {
  const f = resolveRange(r, now);
  const unit = f.to - f.from >= 120 * second ? 60 * second : second;
  const length = Math.max(unit, Math.round((f.to - f.from) / unit) * unit);
  const far = Math.sign(by) * Math.max(unit, Math.round(Math.abs(by * length) / unit) * unit);
  const to = Math.floor(f.to / unit) * unit + far;
  if (to > now - unit) return lastOf({ from: now - length, to: now });
  return fixed({ from: to - length, to });
}

/** slotOf gives how many seconds the slots of a graph have: as few as it can show, and whole minutes where roll-ups can answer. */
export function slotOf(f: Fixed): number {
  const seconds = (f.to - f.from) / 1000;
  const ladder = [1, 5, 10, 60, 300, 900, 3600, 10_800, 21_600, 86_400, 604_800].filter((s) => s >= 60 || seconds < 1800);
  return ladder.find((s) => seconds / s <= 400) ?? Math.ceil(seconds / 400 / 604_800) * 604_800;
}

/** zoneOfBrowser names the zone of the clock on the wall as the API takes it, "" when that is UTC or has no name. */
export function zoneOfBrowser(): string {
  const name = Intl.DateTimeFormat().resolvedOptions().timeZone ?? '';
  return /^[A-Za-z][\w+-]*(\/[\w+-]+)*$/.test(name) && !/^(Etc\/)?(UTC|UCT|GMT|Zulu|Universal|Greenwich|Unknown)$/.test(name) ? name : '';
}

/** momentText writes an instant: the time, and the day when that is not today. */
export const momentText = (ms: number, zone: Zone, now: number, seconds: 'auto' | 'always' | 'never' = 'auto'): string =>
  (dayText(ms, zone) === dayText(now, zone) ? '' : shortDay(ms, zone, now) + ' ') + timeText(ms, zone, seconds);

/** instantOf gives the instant at which a clock of the zone shows an hour of a day; where summer time skips it, the next there is. */
export function instantOf(day: string, hour: number, zone: Zone): number {
  const [y, mo, d] = day.split('-').map(Number) as [number, number, number];
  return zone === 'utc' ? Date.UTC(y, mo - 1, d, hour) : new Date(y, mo - 1, d, hour).getTime();
}

export const shortest = 10 * second;
export const longest = 3660 * 86400 * second;

/** zoom changes a range's length by a factor around its middle, or back from now when it ends there. */
export function zoom(r: Range, factor: number, now: number): Range {
  const f = resolveRange(r, now);
  const length = Math.min(longest, Math.max(shortest, Math.round(((f.to - f.from) * factor) / second) * second));
  if (endsNow(r)) return lastOf({ from: now - length, to: now });
  const middle = (f.from + f.to) / 2;
  const next = { from: middle - length / 2, to: middle + length / 2 };
  if (next.to >= now) return lastOf({ from: now - length, to: now });
  return fixed(roundOut(next));
}

function roundOut(f: Fixed): Fixed {
  return { from: Math.floor(f.from / second) * second, to: Math.ceil(f.to / second) * second };
}

/** brushed gives the range between two instants of a graph, to the second. */
export function brushed(a: number, b: number): Range {
  return fixed(roundOut({ from: Math.min(a, b), to: Math.max(a, b) }));
}

const two = (n: number): string => String(n).padStart(2, '0');

/** dayText writes 2026-11-21. */
export function dayText(ms: number, zone: Zone): string {
  const p = parts(ms, zone);
  return `${p.y}-${two(p.mo)}-${two(p.d)}`;
}

/** timeText writes 10:30, with seconds where there are some or where they are asked for. */
export function timeText(ms: number, zone: Zone, seconds: 'auto' | 'always' | 'never' = 'auto'): string {
  const p = parts(ms, zone);
  const s = seconds === 'always' || (seconds === 'auto' && p.s !== 0) ? ':' + two(p.s) : '';
  return `${two(p.h)}:${two(p.mi)}${s}`;
}

const months = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

/** shortDay writes a day of this year as 21 Nov, any other as 2024-11-21. */
function shortDay(ms: number, zone: Zone, now: number): string {
  const p = parts(ms, zone);
  return p.y === parts(now, zone).y ? `${p.d} ${months[p.mo - 1]}` : dayText(ms, zone);
}

/** rangeText writes a range as shortly as can be: the day once, and not at all when it is today. */
export function rangeText(f: Fixed, zone: Zone, now: number): string {
  const seconds = f.to - f.from < 600 * second ? 'auto' : 'never';
  const [d1, d2, d0] = [f.from, f.to, now].map((t) => dayText(t, zone));
  const [t1, t2] = [timeText(f.from, zone, seconds), timeText(f.to, zone, seconds)];
  const day = (ms: number): string => shortDay(ms, zone, now) + ' ';
  if (d1 === d2) return (d1 === d0 ? '' : day(f.from)) + `${t1} – ${t2}`;
  // Midnight is the end of the day before.
  if (f.to - f.from <= 86400 * second && t2 === '00:00') return `${day(f.from)}${t1} – 24:00`;
  return `${day(f.from)}${t1} – ${day(f.to)}${t2}`;
}

/** fieldText writes an end of a range as a person would type it. */
export function fieldText(end: string, zone: Zone): string {
  if (!rfc3339.test(end)) return end;
  const ms = Date.parse(end);
  return `${dayText(ms, zone)} ${timeText(ms, zone)}`;
}

/** zoneName names a zone by its distance from UTC at an instant: UTC+1, UTC−3:30. */
export function zoneName(zone: Zone, ms: number): string {
  if (zone === 'utc') return 'UTC';
  const minutes = -new Date(ms).getTimezoneOffset();
  if (minutes === 0) return 'UTC';
  const [h, m] = [Math.floor(Math.abs(minutes) / 60), Math.abs(minutes) % 60];
  return `UTC${minutes < 0 ? '−' : '+'}${h}${m ? ':' + two(m) : ''}`;
}
