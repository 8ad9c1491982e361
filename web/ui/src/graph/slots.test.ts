import { expect, test } from 'vitest';
import type { Series } from '../api';
import { points, slotAt, slots } from './slots';

const line = { label: 'total', flows: [60, 120, 30], packets: [0, 0, 0], bytes: [600, 1200, 300] };
const series = {
  from: '2026-11-21T00:00:30Z',
  to: '2026-11-21T00:02:15Z',
  step_seconds: 60,
  starts: ['2026-11-21T00:00:00Z', '2026-11-21T00:01:00Z', '2026-11-21T00:02:00Z'],
  total: line,
} as Series;
const t = (s: string): number => Date.parse(`2026-11-21T00:${s}Z`);

test('slots are cut at the range, and those that flows may still be added to are open', () => {
  const s = slots(series);
  expect(s.starts).toEqual([t('00:30'), t('01:00'), t('02:00')]);
  expect(s.ends).toEqual([t('01:00'), t('02:00'), t('02:15')]);
  expect(s.open).toBe(-1);
  expect(slots({ ...series, growing_from: null }).open).toBe(-1);
  const open = (from: string): number => slots({ ...series, growing_from: `2026-11-21T${from}Z` }).open;
  expect(['00:02:10', '00:01:00', '00:00:59', '00:00:00', '00:02:15'].map(open)).toEqual([2, 1, 0, 0, -1]);
});

test('a day of a zone is as long as it is', () => {
  const days = { ...series, from: '2026-10-23T22:00:00Z', to: '2026-10-26T23:00:00Z', step_seconds: 86_400, starts: ['2026-10-23T22:00:00Z', '2026-10-24T22:00:00Z', '2026-10-25T23:00:00Z'] } as Series;
  const s = slots(days);
  expect(s.ends.map((e, i) => (e - s.starts[i]!) / 3_600_000)).toEqual([24, 25, 24]);
});

test('a rate is over the time that the slot has in the range', () => {
  const s = slots(series);
  expect(points(line, s, 'flows', 'rate')).toEqual([2, 2, 2]);
  expect(points(line, s, 'bits', 'sum')).toEqual([160, 160, 160]);
  expect(points(line, s, 'flows', 'sum')).toEqual([60, 120, 30]);
});

test('slots are half-open', () => {
  const s = slots(series);
  expect([t('00:29'), t('00:30'), t('01:00'), t('02:14'), t('02:15')].map((x) => slotAt(s, x))).toEqual([-1, 0, 1, 2, -1]);
});
