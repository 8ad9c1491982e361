// What a graph says, as numbers and words: the answers of its parts merged into lines,
// what the legend reads, what the prose tells, and which time lies at which pixel. All
// of it is a function of what is put in; drawing and pointing are other files.

import type { Line, Loss, Previous, Series } from '../api';
import { bytes, count, exact, percent, span, traffic, withUnit } from '../format';
import { info, measureOf, views, type Measure, type Metric } from '../keys';
import { colour, type Palette } from '../palette';
import { dayText, rangeText, timeText, type Fixed, type Zone } from '../range';
import { units } from '../units.svelte';
import type { Drawn, Earlier } from './chart';
import { align, type Kind, type Part } from './parts';
import { points, slotAt, sum, type Slots } from './slots';

/** Answered is a part of the graph with its answer, and the address that was asked for it. */
export interface Answered {
  part: Part & { address: string };
  answer: Series;
}

/** Held are answers that are drawn together; there is at least one. */
export interface Held {
  kind: Kind;
  parts: Answered[];
}

/** Entry is what is drawn under one name and colour: upward, downward or both. */
export interface Entry {
  id: string;
  label: string;
  up: Line | null;
  down: Line | null;
  colour: string;
}

/** Merged are the answers of all parts, put into the slots of one. */
export interface Merged {
  kind: Kind;
  /** answer is the first part's: its slots are the graph's. */
  answer: Series;
  /** key is what the answer is split by, which may be of the question before. */
  key: string;
  entries: Entry[];
  /** up and down are the answers above and below the axis; down is there for in and out only. */
  up: Series | null;
  down: Series | null;
  /** wholeUp and wholeDown are what a share is a share of: all of its own side, or all flows for a saved view. */
  wholeUp: Line;
  wholeDown: Line;
}

/** Paint is where the colours of the entries come from. */
export interface Paint {
  palette: Palette;
  /** of gives the colours of values of a key. */
  of: (key: string, labels: string[]) => Map<string, string>;
}

/** Look is how the numbers are shown. */
export interface Look {
  metric: Metric;
  unit: 'rate' | 'sum';
  /** percents draws each line as its share of the slot. */
  percents: boolean;
}

const other = 'other';

/** merge puts the answers of all parts together. The entries are ranked by a measure. */
export function merge(held: Held, measure: Measure, paint: Paint): Merged {
  const { kind, parts } = held;
  const answer = parts[0]!.answer;
  const up = parts.find((p) => !p.part.below)?.answer ?? null;
  const down = kind === 'mirror' ? (parts.find((p) => p.part.below)?.answer ?? null) : null;
  const wholeUp = up?.total ?? answer.total;
  const wholeDown = down ? align(down.total, down, answer) : wholeUp;
  const key = kind === 'views' ? views : answer.key;
  const entries = kind === 'views' ? ofViews(parts, answer, paint) : key ? ofGroups(key, answer, up, down, measure, paint) : [ofAll(answer, up, down, paint)];
  return { kind, answer, key, entries, up, down, wholeUp, wholeDown };
}

// A line for each saved view; the whole, which has no number, is none of them.
function ofViews(parts: Answered[], answer: Series, paint: Paint): Entry[] {
  return parts
    .filter((p) => p.part.id !== '')
    .map(({ part, answer: a }): Entry => {
      const line = align(a.total, a, answer);
      return { id: 'v:' + part.id, label: part.name, up: part.below ? null : line, down: part.below ? line : null, colour: part.colour || colour(paint.palette, Math.max(0, Number(part.id) - 1) || 0) };
    });
}

function ofAll(answer: Series, up: Series | null, down: Series | null, paint: Paint): Entry {
  return { id: 'total', label: 'all flows', up: up && up.total, down: down && align(down.total, down, answer), colour: paint.palette.series[0]! };
}

// A line for each group of the key, and one for the rest.
function ofGroups(key: string, answer: Series, up: Series | null, down: Series | null, measure: Measure, paint: Paint): Entry[] {
  const put = (l: Line | null | undefined): Line | null => (l && down ? align(l, down, answer) : null);
  const listed = [...(up?.lines ?? []), ...(down?.lines ?? [])];
  let labels = [...new Set(listed.map((l) => l.label))];
  if (down) {
    // Either side has its own largest: together they are ranked by both.
    const both = new Map(labels.map((label) => [label, listed.reduce((n, l) => n + (l.label === label ? sum(l[measure]) : 0), 0)]));
    labels = labels.sort((a, b) => both.get(b)! - both.get(a)!);
  }
  const by = paint.of(key, labels);
  const all = labels.map(
    (label): Entry => ({
      id: 's:' + label,
      label,
      up: up?.lines.find((l) => l.label === label) ?? null,
      down: put(down?.lines.find((l) => l.label === label)),
      colour: by.get(label)!,
    }),
  );
  if (up?.other || down?.other) all.push({ id: other, label: other, up: up?.other ?? null, down: put(down?.other), colour: paint.palette.other });
  return all;
}

/** Values are what is drawn of an entry on either side of the axis. */
export interface Values {
  up: number[] | null;
  down: number[] | null;
}

/** valuesOf gives what is drawn of each entry, by its id. */
export function valuesOf(m: Merged, times: Slots, look: Look): Map<string, Values> {
  const drawn = (line: Line, whole: Line): number[] => {
    const p = points(line, times, look.metric, look.unit);
    if (!look.percents) return p;
    const all = points(whole, times, look.metric, look.unit);
    return p.map((n, i) => (all[i] ? (n / all[i]!) * 100 : 0));
  };
  return new Map(m.entries.map((e) => [e.id, { up: e.up && drawn(e.up, m.wholeUp), down: e.down && drawn(e.down, m.wholeDown) }]));
}

/** seriesOf gives the lines and areas of the entries that are shown. */
export const seriesOf = (shown: Entry[], values: Map<string, Values>): Drawn[] =>
  shown.flatMap((e) => {
    const { up, down } = values.get(e.id)!;
    return [...(up ? [{ id: e.id, colour: e.colour, values: up }] : []), ...(down ? [{ id: e.id + ' below', colour: e.colour, values: down, below: true }] : [])];
  });

/** Period is an earlier period, laid over the graph. */
export interface Period {
  previous: Previous;
  /** age is 0 for the youngest. */
  age: number;
  below: boolean;
  line: Line;
}

/** periodsOf gives the earlier periods that are drawn: none over shares, and none over saved views. */
export function periodsOf(m: Merged, percents: boolean): Period[] {
  if (percents || m.kind === 'views') return [];
  const { up, down, answer } = m;
  return [
    ...(up?.previous ?? []).map((previous, age) => ({ previous, age, below: false, line: previous.total })),
    ...(down?.previous ?? []).map((previous, age) => ({ previous, age, below: true, line: align(previous.total, down!, answer) })),
  ];
}

/** stored says how much of an earlier period lies where flows are stored. */
export function stored(answer: Pick<Series, 'from' | 'to' | 'stored'>, previous: Previous): 'all' | 'part' | 'none' {
  if (!answer.stored) return 'all';
  const first = Date.parse(answer.stored.from) + previous.offset_seconds * 1000;
  return first >= Date.parse(answer.to) ? 'none' : first > Date.parse(answer.from) ? 'part' : 'all';
}

/** earlierOf gives what is drawn of the earlier periods; of one that nothing is stored of, nothing. */
export const earlierOf = (periods: Period[], answer: Series, times: Slots, look: Look): Earlier[] =>
  periods.filter((p) => stored(answer, p.previous) !== 'none').map((p) => ({ values: points(p.line, times, look.metric, look.unit), age: p.age, below: p.below }));

/** Picture is all that is drawn by the canvas. */
export interface Picture {
  series: Drawn[];
  earlier: Earlier[];
  stacked: boolean;
  /** log draws on powers of ten. */
  log: boolean;
  percents: boolean;
  /** lit are the ids of the series that stand out, none when all do. */
  lit: string[];
}

/** LegendRow is a row of the legend. */
export interface LegendRow {
  id: string;
  label: string;
  kind: 'entry' | 'total' | 'earlier';
  colour: string;
  /** mark says on which side of the axis it is drawn, where that is not told by a column. */
  mark?: string;
  cells: { text: string; title: string }[];
  share: string;
  /** faint is how faintly an earlier period is drawn. */
  faint?: number;
  title?: string;
}

/** unitText names the unit of the graph's axis. */
export const unitText = (look: Look): string =>
  look.percents ? `share of ${measureOf(look.metric)}` : look.metric === 'bits' ? units.name : look.unit === 'rate' ? `${look.metric}/s` : look.metric;

/** headsOf names the legend's columns; reading is the slot that is read, "" for the whole range. */
export function headsOf(m: Merged | null, look: Look, reading: string): string[] {
  const columns = m?.kind === 'mirror' ? ['in', 'out'] : [reading ? unitText(look) : measureOf(look.metric), 'share'];
  return [reading || 'range', ...columns];
}

/** rowsOf gives the legend: sums of the range, or what the slot with the index read says; -1 reads the range. */
export function rowsOf(m: Merged, values: Map<string, Values>, periods: Period[], times: Slots, look: Look, read: number): LegendRow[] {
  const mirrored = m.kind === 'mirror';
  const say = (line: Line | null, whole: Line, drawn?: number[] | null): Said => (read < 0 ? sayRange(line, whole, look) : saySlot(line, whole, drawn, times, look, read));
  const cells = (up: Line | null, down: Line | null, drawn?: Values): Pick<LegendRow, 'cells' | 'share'> => {
    const a = say(up, m.wholeUp, drawn?.up);
    const b = say(down, m.wholeDown, drawn?.down);
    const titled = (c: Said): Said => (c.text !== absent.text && mirrored ? { ...c, title: `${c.title}, ${percent(c.share)}` } : c);
    if (mirrored) return { cells: [titled(a), titled(b)], share: '' };
    const one = up ? a : b;
    return { cells: [one], share: percent(one.share) };
  };
  const rows: LegendRow[] = m.entries.map((e) => ({ id: e.id, label: e.label, kind: 'entry', colour: e.colour, mark: m.kind === 'views' && e.down ? 'below' : undefined, ...cells(e.up, e.down, values.get(e.id)) }));
  // Saved views may overlap and leave out: what they are parts of is not their sum.
  if (m.key) rows.push({ id: 'total', label: totalLabel(m), kind: 'total', colour: '', ...cells(m.wholeUp, mirrored ? m.wholeDown : null), share: '' });
  for (const { previous, age, line } of periods.filter((p) => !p.below)) {
    const below = periods.find((p) => p.below && p.age === age)?.line ?? null;
    // What is not stored is not nothing.
    const has = stored(m.answer, previous);
    const mark = previous.cut ? ', cut' : has === 'none' ? ', not stored' : has === 'part' ? ', in part' : '';
    const sums = has === 'none' ? { cells: (mirrored ? ['', ''] : ['']).map(() => ({ ...absent, title: 'No flow of then is stored' })), share: '' } : cells(line, below);
    rows.push({ id: 'p' + age, label: before(previous.offset_seconds) + mark, kind: 'earlier', colour: '', faint: Math.max(0.25, 0.8 - age * 0.085), title: previous.cut?.reason, ...sums, share: '' });
  }
  return rows;
}

const totalLabel = (m: Merged): string => (m.kind === 'views' ? 'all flows' : 'total');

/** before says how long ago a period was, in weeks where they are whole. */
export const before = (seconds: number): string => (seconds % 604800 === 0 ? `${seconds / 604800} w before` : `${span(seconds)} before`);

interface Said {
  text: string;
  title: string;
  share: number;
}

const absent: Said = { text: '–', title: 'Not among the largest of this side: what there is of it is in other', share: 0 };

function sayRange(line: Line | null, whole: Line, look: Look): Said {
  if (!line) return absent;
  const measure = measureOf(look.metric);
  const s = sum(line[measure]);
  const all = sum(whole[measure]);
  return { text: measure === 'bytes' ? bytes(s) : count(s), title: `${exact(s)} ${measure}`, share: all ? s / all : 0 };
}

function saySlot(line: Line | null, whole: Line, drawn: number[] | null | undefined, times: Slots, look: Look, read: number): Said {
  if (!line) return absent;
  const measure = measureOf(look.metric);
  const raw = line[measure][read] ?? 0;
  const all = whole[measure][read] ?? 0;
  // What is drawn as a share is read as what it is.
  const p = (look.percents || !drawn ? points(line, times, look.metric, look.unit) : drawn)[read] ?? 0;
  const text = look.metric === 'bits' ? traffic(p) : look.unit === 'rate' ? count(p) + '/s' : count(p);
  return { text, title: `${exact(raw)} ${measure}`, share: all ? raw / all : 0 };
}

/** Column is a column of the table behind the graph: sums as they were answered, and as they are drawn. */
export interface Column {
  label: string;
  raw: number[];
  drawn: number[];
}

/** columnsOf gives the table behind the graph. */
export function columnsOf(m: Merged, times: Slots, look: Look): Column[] {
  const measure = measureOf(look.metric);
  const mirrored = m.kind === 'mirror';
  const of = (label: string, line: Line | null): Column[] => (line ? [{ label, raw: line[measure], drawn: points(line, times, look.metric, look.unit) }] : []);
  const all: Pick<Entry, 'label' | 'up' | 'down'>[] = [...m.entries, ...(m.key ? [{ label: totalLabel(m), up: m.wholeUp, down: mirrored ? m.wholeDown : null }] : [])];
  return all.flatMap((e) => (mirrored ? [...of(e.label + ' in', e.up), ...of(e.label + ' out', e.down)] : of(e.label, e.up ?? e.down)));
}

/** Asking is what the graph's title tells of its question. */
export interface Asking {
  metric: Metric;
  unit: 'rate' | 'sum';
  stack: string;
  scaled: boolean;
  /** inOut is whether in and out are drawn apart. */
  inOut: boolean;
}

/** titleOf says what the graph shows; step is the length of a slot in seconds, 0 before one is known. */
export function titleOf(asking: Asking, step: number): string {
  const { metric, unit, stack } = asking;
  const what = metric === 'bits' ? `${units.bytes ? 'Bytes' : 'Bits'} per second` : `${metric === 'flows' ? 'Flows' : 'Packets'} ${unit === 'rate' ? 'per second' : `per slot of ${step ? span(step) : ''}`}`;
  const by = stack === views ? ', by saved view' : stack ? `, by ${info(stack).label.toLowerCase()}` : '';
  return what + by + (asking.inOut ? ', in and out' : '') + (asking.scaled && metric !== 'flows' ? ', scaled' : '');
}

/** summaryOf says in words, for who cannot see it, what the graph shows. */
export function summaryOf(title: string, range: Fixed, columns: Column[], measure: Measure, zone: Zone): string {
  const at = (t: number): string => `${dayText(t, zone)} ${timeText(t, zone)}`;
  const sums = columns.map((c) => `${c.label} ${withUnit(sum(c.raw), measure === 'bytes' ? 'B' : '')}`).join(', ');
  return `${title}, ${at(range.from)} to ${at(range.to)}: ${sums}. The numbers are in the table after the graph.`;
}

/** explanationsOf gives for each part what was asked, with the range that the answer is of. */
export const explanationsOf = (held: Held): { name: string; answer: Series; json: string }[] =>
  held.parts.map(({ part, answer }) => {
    const u = new URL(part.address, 'http://localhost');
    u.searchParams.set('from', answer.from);
    u.searchParams.set('to', answer.to);
    return { name: part.name || (held.kind === 'views' ? 'all flows' : ''), answer, json: u.pathname + u.search };
  });

/** Frame says which time lies at which pixel of a graph. */
export interface Frame extends Fixed {
  width: number;
  margin: { left: number; right: number; top: number; bottom: number };
  /** x gives the pixel of an instant, ms the instant at a pixel, held within the range. */
  x: (ms: number) => number;
  ms: (px: number) => number;
}

/** frameOf gives the frame of a graph that is so many pixels wide and shows a range. */
export function frameOf(width: number, { from, to }: Fixed, margin = { left: width < 500 ? 44 : 52, right: 18, top: 22, bottom: 24 }): Frame {
  const inner = Math.max(1, width - margin.left - margin.right);
  const x = (ms: number): number => margin.left + ((ms - from) / (to - from)) * inner;
  const ms = (px: number): number => from + (Math.min(inner, Math.max(0, px - margin.left)) / inner) * (to - from);
  return { from, to, width, margin, x, ms };
}

/** smallMargin is that of the small graphs. */
export const smallMargin = { left: 48, right: 10, top: 20, bottom: 22 };

/** Tick marks a pixel at which something was lost, and says what. */
export interface Tick {
  px: number;
  what: string[];
}

/** ticksOf puts the minutes in which something was lost beside the graph. */
export function ticksOf(minutes: NonNullable<Loss['minutes']>, frame: Frame, zone: Zone): Tick[] {
  const places = new Map<number, string[]>();
  for (const m of minutes) {
    if (m.count <= 0 || m.drawn === false) continue; // a stranger's junk lowers nobody's graph
    const minute = Date.parse(m.minute);
    const px = Math.round(frame.x(minute + 30_000));
    if (px < frame.margin.left || px > frame.width - frame.margin.right) continue;
    places.set(px, [...(places.get(px) ?? []), `${timeText(minute, zone)} ${m.exporter || 'the collector'}: ${m.brief}`]);
  }
  return [...places].slice(0, mostTicks).map(([px, what]) => ({ px, what }));
}

const mostTicks = 300;

/** wholeSlots widens a piece of the range to whole slots: half of one would be a guess. */
export function wholeSlots(times: Slots, a: number, b: number, to: number): Fixed {
  const [lo, hi] = [Math.min(a, b), Math.max(a, b)];
  return { from: times.starts[slotAt(times, lo)] ?? lo, to: times.ends[slotAt(times, Math.min(hi, to - 1))] ?? hi };
}

/** slotRead is the slot that the legend reads: the one pointed at, else the pinned one; -1 for the range. */
export function slotRead(times: Slots, at: number, pinned: Fixed | null): number {
  if (at >= 0 || !pinned) return at;
  // A pin may be longer than a slot, as that of a highlight is: then the legend is of the range.
  const slot = slotAt(times, pinned.from);
  return slot >= 0 && times.ends[slot]! >= pinned.to ? slot : -1;
}

/** slotText says when a slot was, "" for none. */
export const slotText = (times: Slots, slot: number, zone: Zone, now: number): string => (slot >= 0 && slot < times.starts.length ? rangeText({ from: times.starts[slot]!, to: times.ends[slot]! }, zone, now) : '');
