import { expect, test } from 'vitest';
import { first, read, write, type View } from './view';

const now = Date.parse('2026-11-21T12:00:00Z');

test('the first page has a bare address', () => {
  expect(write(first)).toBe('');
  expect(read('', now)).toEqual(first);
});

test('what is written is read back the same', () => {
  const changes: Partial<View>[] = [
    { from: '-24h' },
    { from: '2026-11-21T00:00:00Z', to: '2026-11-21T06:00:00Z' },
    { live: false },
    { metric: 'bits' },
    { unit: 'sum' },
    { stack: '' },
    { stack: 'src-addr,dst-addr', top: 20, style: 'lines' },
    { key: 'src-addr,dst-addr', by: 'bytes', limit: 50 },
    { exporter: 'edge 1 & more/ü' },
    { pin: { from: '2026-11-21T00:00:00Z', to: '2026-11-21T00:01:00Z' } },
  ];
  for (const c of changes) {
    const v = { ...first, ...c };
    expect(read(write(v), now)).toEqual(v);
  }
  const all = Object.assign({}, first, ...changes) as View;
  expect(read(write(all), now)).toEqual(all);
});

test('a person can read it', () => {
  expect(write({ ...first, from: '2026-11-21T00:00:00Z', to: '2026-11-21T06:00:00Z', key: 'src-addr,dst-addr' })).toBe(
    '?from=2026-11-21T00:00:00Z&to=2026-11-21T06:00:00Z&key=src-addr,dst-addr',
  );
});

test('what makes no sense is as on the first page', () => {
  expect(read('?from=soon&metric=joules&top=-1&limit=1e9&by=&style=3d&pin=1/2&unit=x', now)).toEqual(first);
  expect(read('?from=now&to=-6h', now)).toEqual(first);
});

test('a key that this page does not know is left to the server', () => {
  expect(read('?key=nat-src-addr', now).key).toBe('nat-src-addr');
});
