import { expect, test } from 'vitest';
import type { Line, Previous, Series } from '../api';
import { colour, light, Places } from '../palette';
import { before, columnsOf, earlierOf, explanationsOf, frameOf, headsOf, merge, periodsOf, rowsOf, seriesOf, slotRead, stored, summaryOf, ticksOf, titleOf, unitText, valuesOf, wholeSlots, type Answered, type Held, type Look, type Paint } from './graph-model';
import type { Kind, Part } from './parts';
import { slots } from './slots';

// plain writes the narrow blanks of numbers and units as blanks.
const plain = <T>(x: T): T => JSON.parse(JSON.stringify(x).replaceAll('\u202f', ' ')) as T;

// Three slots of a minute from noon on, unless a test says otherwise.
const minute = (n: number): string => `2026-11-21T12:0${n}:00Z`;
const line = (label: string, flows: number[], packets = flows.map((n) => n * 2), bytes = flows.map((n) => n * 100)): Line => ({ label, flows, packets, bytes });
const series = (x: Partial<Series>, first = 0): Series =>
  ({ from: minute(first), to: minute(first + 3), key: '', step_seconds: 60, starts: [0, 1, 2].map((i) => minute(first + i)), lines: [], other: null, total: line('total', [60, 120, 60]), previous: null, ...x }) as Series;
const part = (x: Partial<Part>): Answered['part'] => ({ id: '', name: '', filter: '', exporter: '', below: false, colour: '', address: '/api/v1/series?from=-3m&by=flows', ...x });
const held = (kind: Kind, ...parts: [Partial<Part>, Series][]): Held => ({ kind, parts: parts.map(([p, answer]) => ({ part: part(p), answer })) });
const paint = (): Paint => {
  const places = new Places();
  return { palette: light, of: (key, labels) => new Map([...places.of(key, labels, (l) => (l === 'core' ? 0 : undefined))].map(([l, place]) => [l, l === 'edge-1' ? '#abcdef' : colour(light, place)])) };
};
const perSlot: Look = { metric: 'flows', unit: 'sum', percents: false };
const merged = (h: Held, measure: 'flows' | 'bytes' = 'flows') => merge(h, measure, paint());

const protocols = series({ key: 'protocol', lines: [line('tcp', [40, 80, 40]), line('udp', [15, 30, 15])] as Series['lines'], other: line('other', [5, 10, 5]) as Series['other'] });

test('a graph that is split by nothing is one line, and has no total below it', () => {
  const m = merged(held('one', [{}, series({})]));
  expect(m.entries.map((e) => [e.id, e.label, e.colour])).toEqual([['total', 'all flows', light.series[0]]]);
  expect(rowsOf(m, valuesOf(m, slots(m.answer), perSlot), [], slots(m.answer), perSlot, -1).map((r) => r.kind)).toEqual(['entry']);
});

test('groups are lines in the order of their rank, then the rest in grey', () => {
  const m = merged(held('one', [{}, protocols]));
  expect(m.entries.map((e) => e.label)).toEqual(['tcp', 'udp', 'other']);
  expect(m.entries.map((e) => e.colour)).toEqual([light.series[0], light.series[1], light.other]);
  expect(m.entries.every((e) => e.up && !e.down)).toBe(true);
});

test('an exporter has the colour that it was given', () => {
  const m = merged(held('one', [{}, series({ key: 'exporter', lines: [line('core', [1, 1, 1]), line('edge-1', [1, 1, 1])] as Series['lines'] })]));
  expect(m.entries.map((e) => e.colour)).toEqual([light.series[0], '#abcdef']);
});

test('in and out are ranked together, each in the slots of the first', () => {
  // Out begins a slot later: the slot it lacks is nothing, the one too many is left out.
  const out = series({ key: 'protocol', lines: [line('udp', [100, 200, 300]), line('icmp', [1, 1, 1])] as Series['lines'], total: line('total', [101, 201, 301]) }, 1);
  const m = merged(held('mirror', [{ name: 'in' }, protocols], [{ name: 'out', below: true }, out]));
  expect(m.entries.map((e) => e.label)).toEqual(['udp', 'tcp', 'icmp', 'other']);
  const udp = m.entries[0]!;
  expect([udp.up?.flows, udp.down?.flows]).toEqual([
    [15, 30, 15],
    [0, 100, 200],
  ]);
  expect(m.entries.find((e) => e.label === 'tcp')?.down).toBeNull();
  expect(m.entries.find((e) => e.label === 'icmp')?.up).toBeNull();
  expect(m.wholeDown.flows).toEqual([0, 101, 201]);
  expect(columnsOf(m, slots(m.answer), perSlot).map((c) => c.label)).toEqual(['udp in', 'udp out', 'tcp in', 'icmp out', 'other in', 'total in', 'total out']);
});

test('saved views are lines beside the whole, each on its side; one that failed is not there', () => {
  const m = merged(held('views', [{}, series({})], [{ id: '1', name: 'DNS', colour: '#009a70' }, series({ total: line('total', [6, 12, 6]) })], [{ id: '2', name: 'mail', below: true }, series({ total: line('total', [3, 3, 3]) })]));
  expect(m.entries.map((e) => [e.label, e.up !== null, e.down !== null, e.colour])).toEqual([
    ['DNS', true, false, '#009a70'],
    ['mail', false, true, light.series[1]],
  ]);
  const rows = rowsOf(m, valuesOf(m, slots(m.answer), perSlot), [], slots(m.answer), perSlot, -1);
  expect(plain(rows.map((r) => [r.label, r.mark ?? '', r.share]))).toEqual([
    ['DNS', '', '10.0 %'],
    ['mail', 'below', '3.8 %'],
    ['all flows', '', ''],
  ]);
});

test('what is drawn is a rate, a sum or a share of the slot; a share of nothing is nothing', () => {
  const answer = series({ key: 'protocol', lines: [line('tcp', [40, 0, 40])] as Series['lines'], total: line('total', [80, 0, 40]) });
  const m = merged(held('one', [{}, answer]));
  const times = slots(answer);
  const drawn = (look: Partial<Look>): number[] | null => valuesOf(m, times, { ...perSlot, ...look }).get('s:tcp')!.up;
  expect(drawn({})).toEqual([40, 0, 40]);
  expect(drawn({ unit: 'rate' })).toEqual([40 / 60, 0, 40 / 60]);
  expect(drawn({ percents: true })).toEqual([50, 0, 100]);
  expect(seriesOf(m.entries, valuesOf(m, times, perSlot))).toEqual([{ id: 's:tcp', colour: light.series[0], values: [40, 0, 40] }]);
});

test('earlier periods lie over the graph in its slots, but not over shares', () => {
  const previous = (days: number, flows: number[]): Previous => ({ offset_seconds: days * 86_400, total: line('total', flows), lines: [], cut: null }) as unknown as Previous;
  const up = series({ key: 'protocol', previous: [previous(7, [1, 2, 3]), previous(14, [4, 5, 6])] });
  const down = series({ key: 'protocol', previous: [previous(7, [7, 8, 9])] }, 1);
  const m = merged(held('mirror', [{}, up], [{ below: true }, down]));
  const periods = periodsOf(m, false);
  expect(periods.map((p) => [p.age, p.below, p.line.flows])).toEqual([
    [0, false, [1, 2, 3]],
    [1, false, [4, 5, 6]],
    [0, true, [0, 7, 8]],
  ]);
  expect(periodsOf(m, true)).toEqual([]);
  const rows = rowsOf(m, new Map(), periods, slots(up), perSlot, -1).filter((r) => r.kind === 'earlier');
  expect(rows.map((r) => [r.label, r.cells.map((c) => c.text)])).toEqual([
    ['1 w before', ['6', '15']],
    ['2 w before', ['15', '–']],
  ]);
  expect(plain([before(86_400), before(1_209_600)])).toEqual(['1 d before', '2 w before']);
});

test('of an earlier period that nothing is stored of, nothing is drawn and said', () => {
  const previous = (seconds: number): Previous => ({ offset_seconds: seconds, total: line('total', [0, 0, 9]), lines: [], cut: null }) as unknown as Previous;
  const week = 604_800;
  const answer = (from: number): Series => series({ key: 'protocol', previous: [previous(week)], stored: { from: new Date(Date.parse(minute(from)) - week * 1000).toISOString(), to: minute(9) } }, 1);
  const says = (a: Series) => {
    const m = merged(held('one', [{}, a]));
    const periods = periodsOf(m, false);
    const row = rowsOf(m, new Map(), periods, slots(a), perSlot, -1).find((r) => r.kind === 'earlier')!;
    return [stored(a, periods[0]!.previous), row.label, row.cells[0]!.text, earlierOf(periods, a, slots(a), perSlot).length];
  };
  // The range is of three minutes, from the first.
  expect(says(answer(0))).toEqual(['all', '1 w before', '9', 1]);
  expect(says(answer(1))).toEqual(['all', '1 w before', '9', 1]);
  expect(says(answer(2))).toEqual(['part', '1 w before, in part', '9', 1]);
  expect(says(answer(4))).toEqual(['none', '1 w before, not stored', '–', 0]);
});

test('the legend sums the range, and reads the slot that is pointed at', () => {
  const m = merged(held('one', [{}, protocols]));
  const times = slots(m.answer);
  const read = (look: Look, at: number) => plain(rowsOf(m, valuesOf(m, times, look), [], times, look, at).map((r) => [r.label, r.cells[0]!.text, r.cells[0]!.title, r.share]));
  expect(read(perSlot, -1)).toEqual([
    ['tcp', '160', '160 flows', '66.7 %'],
    ['udp', '60', '60 flows', '25.0 %'],
    ['other', '20', '20 flows', '8.3 %'],
    ['total', '240', '240 flows', ''],
  ]);
  expect(read({ ...perSlot, unit: 'rate' }, 1)[0]).toEqual(['tcp', '1.33/s', '80 flows', '66.7 %']);
  expect(read({ ...perSlot, percents: true }, 1)[0]).toEqual(['tcp', '80', '80 flows', '66.7 %']);
  expect(headsOf(m, perSlot, '')).toEqual(['range', 'flows', 'share']);
  expect(headsOf(m, { ...perSlot, unit: 'rate' }, '12:01')).toEqual(['12:01', 'flows/s', 'share']);
  expect(unitText({ ...perSlot, metric: 'bits', percents: true })).toBe('share of bytes');
});

test('who is not among the largest of a side has a dash there, not a nought', () => {
  const out = series({ key: 'protocol', lines: [line('udp', [1, 1, 1])] as Series['lines'] });
  const m = merged(held('mirror', [{}, protocols], [{ below: true }, out]));
  const row = plain(rowsOf(m, new Map(), [], slots(protocols), perSlot, -1).find((r) => r.label === 'tcp')!);
  expect(row.cells.map((c) => c.text)).toEqual(['160', '–']);
  expect(row.cells[0]!.title).toBe('160 flows, 66.7 %');
  expect(row.cells[1]!.title).toMatch(/^Not among the largest/);
});

test('the title says what is asked', () => {
  const asking = { metric: 'flows', unit: 'rate', stack: 'protocol', scaled: false, inOut: false } as const;
  expect(titleOf(asking, 60)).toBe('Flows per second, by protocol');
  expect(plain(titleOf({ ...asking, metric: 'packets', unit: 'sum', stack: '', scaled: true }, 300))).toBe('Packets per slot of 5 min, scaled');
  expect(titleOf({ ...asking, metric: 'bits', stack: 'views', inOut: true }, 0)).toBe('Bits per second, by saved view, in and out');
});

test('who cannot see the graph hears its range and its sums', () => {
  const m = merged(held('one', [{}, protocols]));
  const text = plain(summaryOf('Flows', { from: Date.parse(minute(0)), to: Date.parse(minute(3)) }, columnsOf(m, slots(protocols), perSlot), 'flows', 'utc'));
  expect(text).toMatch(/^Flows, .*12:00 to .*12:03: tcp 160 ?, udp 60 ?, other 20 ?, total 240 ?\. The numbers are in the table/);
});

test('what was asked is told with the range of its answer', () => {
  const [whole, dns] = explanationsOf(held('views', [{}, series({})], [{ id: '1', name: 'DNS' }, series({})]));
  expect([whole!.name, dns!.name]).toEqual(['all flows', 'DNS']);
  expect(whole!.json).toBe('/api/v1/series?from=2026-11-21T12%3A00%3A00Z&by=flows&to=2026-11-21T12%3A03%3A00Z');
});

test('times and pixels lead to each other, and no further than the range', () => {
  const frame = frameOf(570, { from: 0, to: 5000 });
  expect([frame.x(0), frame.x(5000), Math.round(frame.ms(frame.x(1234)))]).toEqual([52, 552, 1234]);
  expect([frame.ms(-10), frame.ms(9999)]).toEqual([0, 5000]);
  expect(frameOf(360, { from: 0, to: 1 }).margin.left).toBe(44);
});

test('losses of one pixel are one mark, and those outside of the range none', () => {
  const from = Date.parse(minute(0));
  const frame = frameOf(92, { from, to: from + 3_600_000 });
  const lost = (m: string, count: number): Parameters<typeof ticksOf>[0][number] => ({ minute: m, exporter_id: 1, stage: 'way', cause: 'missing', unit: 'record', exporter: 'edge-1', count, owner: 'exporter', drawn: true, brief: `${count} records missing` });
  const ticks = plain(ticksOf([lost(minute(1), 1), lost(minute(2), 2000), lost(minute(3), 0), lost('2026-11-21T11:00:00Z', 5), { ...lost(minute(1), 9), drawn: false }, { ...lost(minute(2), 7), owner: 'collector', exporter: '' }], frame, 'utc'));
  expect(ticks.map((t) => t.what)).toEqual([['12:01 edge-1: 1 records missing', '12:02 edge-1: 2000 records missing', '12:02 the collector: 7 records missing']]);
});

test('a brush takes whole slots, from whichever side it was drawn', () => {
  const times = slots(protocols);
  const at = (s: number): number => Date.parse(minute(0)) + s * 1000;
  const to = Date.parse(protocols.to);
  expect(wholeSlots(times, at(30), at(70), to)).toEqual({ from: at(0), to: at(120) });
  expect(wholeSlots(times, at(180), at(70), to)).toEqual({ from: at(60), to: at(180) });
});

test('the legend reads the slot pointed at, else the pinned one, unless the pin is longer', () => {
  const times = slots(protocols);
  const pin = (a: number, b: number) => ({ from: Date.parse(minute(a)), to: Date.parse(minute(b)) });
  expect([slotRead(times, 2, pin(0, 1)), slotRead(times, -1, pin(1, 2)), slotRead(times, -1, pin(0, 2)), slotRead(times, -1, null)]).toEqual([2, 1, -1, -1]);
});
