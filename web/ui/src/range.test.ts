import { describe, expect, test } from 'vitest';
import { brushed, instantOf, iso, lastOf, rangeText, resolve, resolveRange, slotOf, step, typed, valid, zoom } from './range';

const now = Date.parse('2026-11-21T12:04:31Z');
const z = (s: string): number => Date.parse(s);

describe('an end of a range', () => {
  test.each([
    ['now', now],
    ['-6h', now - 6 * 3_600_000],
    ['-15m', now - 900_000],
    ['-2w', now - 14 * 86_400_000],
    ['2026-11-21T10:00:00Z', z('2026-11-21T10:00:00Z')],
    ['2026-11-21T10:00:00+01:00', z('2026-11-21T09:00:00Z')],
  ])('%s', (s, want) => expect(resolve(s, now)).toBe(want));
  test.each(['', 'later', '6h', '-6y', '2026-11-21', '2026-13-41T00:00:00Z'])('%s is none', (s) => expect(resolve(s, now)).toBeNaN());
});

describe('what is typed', () => {
  test.each([
    ['-6h', '', { from: '-6h', to: 'now' }],
    ['-90min', 'now', { from: '-90m', to: 'now' }],
    ['-2d', '-1d', { from: '-2d', to: '-1d' }],
    ['today', '', { from: '2026-11-21T00:00:00Z', to: 'now' }],
    ['yesterday', '', { from: '2026-11-20T00:00:00Z', to: '2026-11-21T00:00:00Z' }],
    ['yesterday 14:00', 'yesterday 14:05', { from: '2026-11-20T14:00:00Z', to: '2026-11-20T14:05:00Z' }],
    ['Yesterday 9:30:15', 'todayT08:00', { from: '2026-11-20T09:30:15Z', to: '2026-11-21T08:00:00Z' }],
    ['2026-11-01', '', { from: '2026-11-01T00:00:00Z', to: '2026-11-02T00:00:00Z' }],
    ['2026-11-01', '2026-11-03', { from: '2026-11-01T00:00:00Z', to: '2026-11-04T00:00:00Z' }],
    ['2026-11-20', 'today', { from: '2026-11-20T00:00:00Z', to: 'now' }],
    ['10:30', '11:00:05', { from: '2026-11-21T10:30:00Z', to: '2026-11-21T11:00:05Z' }],
    [' 2026-11-05 10:00 ', '2026-11-05 12:30', { from: '2026-11-05T10:00:00Z', to: '2026-11-05T12:30:00Z' }],
    ['2026-11-05T10:00:00+01:00', '', { from: '2026-11-05T09:00:00Z', to: 'now' }],
  ])('%s to %s', (from, to, want) => expect(typed(from, to, now, 'utc').range).toEqual(want));

  test.each([
    ['', ''],
    ['soon', ''],
    ['2026-02-31', ''],
    ['25:61', ''],
    ['yesterday 25:61', ''],
    ['tomorrow 10:00', ''],
    ['-6h', 'then'],
    ['11:00', '10:00'],
    ['now', 'now'],
  ])('%s to %s is an error in words', (from, to) => expect(typed(from, to, now, 'utc').error).toMatch(/[.?]$/));

  test('the local zone is the viewer’s', () => {
    const r = typed('2026-07-01 10:00', '2026-07-01 11:00', now, 'local').range!;
    expect(z(r.from)).toBe(new Date(2026, 6, 1, 10).getTime());
  });
});

describe('stepping', () => {
  const past = { from: '2026-11-21T00:00:00Z', to: '2026-11-21T06:00:00Z' };
  test('back and on again is where it was', () => {
    expect(step(step(past, -0.5, now), 0.5, now)).toEqual(past);
    expect(step(past, -1, now)).toEqual({ from: '2026-11-20T18:00:00Z', to: '2026-11-21T00:00:00Z' });
  });
  test('by whole minutes, where the range has some', () => {
    for (const from of ['-15m', '-90m', '-6h', '-7d', '-130s', '-61m']) {
      let r = step({ from, to: 'now' }, -0.5, now);
      for (const by of [-0.5, -1, -0.5, 0.5]) {
        expect([r.from, r.to].map((t) => Date.parse(t) % 60_000), `${from}: ${r.from} to ${r.to}`).toEqual([0, 0]);
        const next = step(r, by, now);
        expect(Date.parse(next.to) - Date.parse(next.from)).toBe(Date.parse(r.to) - Date.parse(r.from));
        r = next;
      }
    }
    // What is shorter moves by seconds.
    expect(step({ from: '2026-11-21T00:00:00Z', to: '2026-11-21T00:00:20Z' }, 0.5, now)).toEqual({ from: '2026-11-21T00:00:10Z', to: '2026-11-21T00:00:30Z' });
  });
  test('never past now: there it is live, and as long as before', () => {
    expect(step(past, 2, now)).toEqual({ from: '-6h', to: 'now' });
    expect(step({ from: '-90m', to: 'now' }, 1, now)).toEqual({ from: '-90m', to: 'now' });
  });
});

describe('zooming', () => {
  test('keeps the middle, or now', () => {
    expect(zoom({ from: '2026-11-21T00:00:00Z', to: '2026-11-21T04:00:00Z' }, 0.5, now)).toEqual({ from: '2026-11-21T01:00:00Z', to: '2026-11-21T03:00:00Z' });
    expect(zoom({ from: '-6h', to: 'now' }, 0.5, now)).toEqual({ from: '-3h', to: 'now' });
    expect(zoom({ from: '2026-11-21T10:00:00Z', to: '2026-11-21T12:00:00Z' }, 2, now)).toEqual({ from: '-4h', to: 'now' });
  });
  test('stops at ten seconds and at ten years', () => {
    let r = { from: '-6h', to: 'now' };
    for (let i = 0; i < 40; i++) r = zoom(r, 0.5, now);
    expect(r.from).toBe('-10s');
    for (let i = 0; i < 60; i++) r = zoom(r, 2, now);
    expect(valid(r, now)).toBe(true);
    expect(resolveRange(r, now).to).toBe(now);
  });
});

test('a brush is ordered and on whole seconds', () => {
  expect(brushed(z('2026-11-21T02:00:00Z') + 12, z('2026-11-21T01:00:00Z') + 700)).toEqual({ from: '2026-11-21T01:00:00Z', to: '2026-11-21T02:00:01Z' });
});

test('a graph has slots that it can show, of whole minutes where there are some', () => {
  const of = (seconds: number): number => slotOf({ from: 0, to: seconds * 1000 });
  expect([60, 900, 1800, 6 * 3600, 86_400, 7 * 86_400, 30 * 86_400, 3660 * 86_400].map(of)).toEqual([1, 5, 60, 60, 300, 3600, 10_800, 1_209_600]);
  for (let s = 10; s < 4000 * 86_400; s = Math.ceil(s * 1.3)) expect(s / of(s), `${s} s`).toBeLessThanOrEqual(400);
});

test('an hour of a day is that of the zone', () => {
  expect(instantOf('2026-11-21', 10, 'utc')).toBe(z('2026-11-21T10:00:00Z'));
  expect(instantOf('2026-11-21', 24, 'utc')).toBe(z('2026-11-22T00:00:00Z'));
  expect(instantOf('2026-11-21', 10, 'local')).toBe(new Date(2026, 10, 21, 10).getTime());
});

test('a relative range is written in its largest whole unit', () => {
  expect(lastOf({ from: 0, to: 7 * 86_400_000 }).from).toBe('-7d');
  expect(lastOf({ from: 0, to: 5_400_000 }).from).toBe('-90m');
  expect(lastOf({ from: 0, to: 61_000 }).from).toBe('-61s');
});

test('ranges in words', () => {
  const say = (a: string, b: string): string => rangeText({ from: z(a), to: z(b) }, 'utc', now);
  expect(say('2026-11-21T06:04:31Z', '2026-11-21T12:04:31Z')).toBe('06:04 – 12:04');
  expect(say('2026-11-20T06:00:00Z', '2026-11-20T07:00:00Z')).toBe('20 Nov 06:00 – 07:00');
  expect(say('2026-11-20T00:00:00Z', '2026-11-21T00:00:00Z')).toBe('20 Nov 00:00 – 24:00');
  expect(say('2026-11-20T19:00:00Z', '2026-11-21T01:00:00Z')).toBe('20 Nov 19:00 – 21 Nov 01:00');
  expect(say('2014-05-01T19:00:00Z', '2014-05-01T20:00:00Z')).toBe('2014-05-01 19:00 – 20:00');
  expect(say('2026-11-21T06:04:30Z', '2026-11-21T06:04:40Z')).toBe('06:04:30 – 06:04:40');
  expect(iso(now)).toBe('2026-11-21T12:04:31Z');
});
