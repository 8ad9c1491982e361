// From an answer of sums per slot to what is drawn: rates over the part of a slot that the
// range covers, and the slots that flows may still be added to.

import type { Line, Series } from '../api';
import { measureOf, type Metric } from '../keys';
import { units } from '../units.svelte';

export interface Slots {
  /** starts and ends are in milliseconds, cut at the range. */
  starts: number[];
  ends: number[];
  /** open is the index of the first slot that flows may still be added to, or -1: all after it are such, too. */
  open: number;
}

/** slots reads the times of an answer. A slot ends where the next begins: days of a zone are not all as long. */
export function slots(s: Pick<Series, 'from' | 'to' | 'starts' | 'step_seconds' | 'growing_from'>): Slots {
  const from = Date.parse(s.from);
  const to = Date.parse(s.to);
  const step = s.step_seconds * 1000;
  const whole = s.starts.map((t) => Date.parse(t));
  const starts = whole.map((t) => Math.max(t, from));
  const ends = whole.map((t, i) => Math.min(whole[i + 1] ?? t + step, to));
  const growing = s.growing_from ? Date.parse(s.growing_from) : Infinity;
  return { starts, ends, open: ends.findIndex((t) => t > growing) };
}

/** points gives what is drawn for one line: a rate, or the sum of the slot. Traffic is always a rate, in the unit people prefer. */
export function points(line: Line, s: Slots, metric: Metric, unit: 'rate' | 'sum'): number[] {
  const values = line[measureOf(metric)];
  if (metric !== 'bits' && unit === 'sum') return values;
  const times = metric === 'bits' ? units.per : 1;
  return s.starts.map((t, i) => {
    const seconds = (s.ends[i]! - t) / 1000;
    return seconds > 0 ? ((values[i] ?? 0) * times) / seconds : 0;
  });
}

/** sum adds up a line's measure over the range. */
export const sum = (values: number[]): number => values.reduce((a, b) => a + b, 0);

/** slotAt finds the slot that holds an instant, or -1. */
export function slotAt(s: Slots, ms: number): number {
  let lo = 0;
  let hi = s.starts.length - 1;
  while (lo <= hi) {
    const mid = (lo + hi) >> 1;
    if (ms < s.starts[mid]!) hi = mid - 1;
    else if (ms >= s.ends[mid]!) lo = mid + 1;
    else return mid;
  }
  return -1;
}
