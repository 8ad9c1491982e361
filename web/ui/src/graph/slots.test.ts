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

test('slots are cut at the range, and the last is open while time goes on', () => {
  const s = slots(series, true);
  expect(s.starts).toEqual([t('00:30'), t('01:00'), t('02:00')]);
  expect(s.ends).toEqual([t('01:00'), t('02:00'), t('02:15')]);
  expect(s.open).toBe(2);
  expect(slots(series, false).open).toBe(-1);
  expect(slots({ ...series, to: '2026-11-21T00:03:00Z' }, true).open).toBe(-1);
});

test('a rate is over the time that the slot has in the range', () => {
  const s = slots(series, true);
  expect(points(line, s, 'flows', 'rate')).toEqual([2, 2, 2]);
  expect(points(line, s, 'bits', 'sum')).toEqual([160, 160, 160]);
  expect(points(line, s, 'flows', 'sum')).toEqual([60, 120, 30]);
});

test('slots are half-open', () => {
  const s = slots(series, true);
  expect([t('00:29'), t('00:30'), t('01:00'), t('02:14'), t('02:15')].map((x) => slotAt(s, x))).toEqual([-1, 0, 1, 2, -1]);
});
