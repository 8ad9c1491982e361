import { describe, expect, test } from 'vitest';
import { ago, bits, bytes, count, exact, percent, span, tick, took, unmarked } from './format';

const plain = (s: string): string => s.replaceAll('\u202f', ' ');

describe('count', () => {
  test.each([
    [0, '0'],
    [1, '1'],
    [950, '950'],
    [999, '999'],
    [1000, '1.00 k'],
    [48_213, '48.2 k'],
    [999_499, '999 k'],
    [999_500, '1.00 M'],
    [999_999, '1.00 M'],
    [9_999, '10.0 k'],
    [1_234_567_890, '1.23 G'],
    [0.5, '0.50'],
    [14.66, '14.7'],
    [0.004, '0.004'],
    [0.0000004, '<0.001'],
    [9e18, '9.00 E'],
    [-48_213, '−48.2 k'],
  ])('%d', (n, want) => expect(plain(count(n))).toBe(want));

  test('never more than four significant digits, never out of order', () => {
    for (let n = 1; n < 1e15; n = Math.ceil(n * 1.0371)) {
      expect(count(n).replace(/\D/g, '').replace(/^0+/, '').length).toBeLessThanOrEqual(4);
    }
  });
});

test('the prefix stands before the unit', () => {
  expect(plain(bytes(7_100_000))).toBe('7.10 MB');
  expect(plain(bytes(12))).toBe('12 B');
  expect(plain(bits(1_200_000))).toBe('1.20 Mbit/s');
});

test('ticks have no empty digits', () => {
  expect([0, 0.5, 100, 1000, 1500, 20_000_000].map((n) => plain(tick(n)))).toEqual(['0', '0.5', '100', '1 k', '1.5 k', '20 M']);
});

test('exact writes every digit', () => {
  expect(plain(exact(1_234_567))).toBe('1 234 567');
  expect(plain(exact(12))).toBe('12');
  expect(plain(exact(1234.5))).toBe('1 234.500');
});

test.each([
  [0, '0.0 %'],
  [0.413, '41.3 %'],
  [0.0001, '<0.1 %'],
  [0.99999, '>99.9 %'],
  [1, '100.0 %'],
])('share %d', (n, want) => expect(plain(percent(n))).toBe(want));

test('lengths of time', () => {
  expect([1, 60, 90, 300, 3600, 5400, 86400].map((s) => plain(span(s)))).toEqual(['1 s', '1 min', '1 min 30 s', '5 min', '1 h', '1 h 30 min', '1 d']);
  expect([3, 240, 7200, 864_000].map((s) => plain(ago(s)))).toEqual(['3 s', '4 min', '2 h', '10 d']);
  expect([38, 1840].map((s) => plain(took(s)))).toEqual(['38 ms', '1.8 s']);
});

test('the marks of Markdown are read, not shown', () => {
  expect(unmarked('ask `flows` for **everybody** who is new *and* matters: `a*b`, 2 * 3 * 4')).toBe('ask flows for everybody who is new and matters: a*b, 2 * 3 * 4');
});
