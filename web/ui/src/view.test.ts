import { expect, test } from 'vitest';
import { address, first, preferred, read, write, type View } from './view';

const now = Date.parse('2026-11-21T12:00:00Z');

test('the first page has a bare address', () => {
  expect(write(first)).toBe('');
  expect(read('', '/explore', now)).toEqual(first);
});

test('what is preferred is what a bare address means here, and no other', () => {
  Object.assign(preferred, { from: '-7d', limit: 50 });
  try {
    const bare = read('', '/explore', now);
    expect([bare.from, bare.limit]).toEqual(['-7d', 50]);
    expect(read('?filter=port+53', '/explore', now)).toEqual({ ...first, filter: 'port 53' });
    for (const v of [first, bare, { ...bare, limit: 10 }, { ...first, limit: 50 }, { ...first, filter: 'port 53' }]) {
      expect(read(write(v), '/explore', now)).toEqual(v);
      const here = write(v);
      Object.assign(preferred, { from: '', limit: 0 });
      if (here) expect(read(here, '/explore', now)).toEqual(v);
      Object.assign(preferred, { from: '-7d', limit: 50 });
    }
  } finally {
    Object.assign(preferred, { from: '', limit: 0 });
  }
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
    { filter: 'src net 10.0.0.0/8 and not "a b" # 100 % + é' },
    { scaled: true, mirror: 'net', inside: '10.0.0.0/8 2001:db8::/32', having: 'flows > 100 and bytes > 1m' },
    { mirror: '4294967295' },
    { over: 8, period: '1d', scale: 'log' },
    { style: 'percent', by: 'bpp' },
    { tab: 'flows', sort: 'bytes', order: 'asc' },
    { exporter: 'edge 1 & more/ü' },
    { pin: { from: '2026-11-21T00:00:00Z', to: '2026-11-21T00:01:00Z' } },
  ];
  for (const c of changes) {
    const v = { ...first, ...c };
    expect(read(write(v), '/explore', now)).toEqual(v);
  }
  const all = Object.assign({}, first, ...changes) as View;
  expect(read(write(all), '/explore', now)).toEqual(all);
});

test('each page has its path, and the bare address is the overview of a day', () => {
  for (const name of ['overview', 'explore', 'exporters', 'sql', 'saved'] as const) {
    const v: View = { ...first, name, from: '-1h', of: name === 'exporters' ? 7 : 0, sql: name === 'sql' ? 'select 1 + 1' : '' };
    const u = new URL(address(v), 'http://localhost');
    expect(u.pathname).toBe('/' + name);
    expect(read(u.search, u.pathname, now)).toEqual(v);
  }
  expect(read('', '/', now)).toEqual({ ...first, name: 'overview', from: '-24h' });
  expect(address(read('', '/', now))).toBe('/');
});

test('links of the first release, which had one page at the bare address, lead to Explore', () => {
  expect(read('?key=dst-addr', '/', now)).toEqual({ ...first, key: 'dst-addr' });
});

test('a person can read it', () => {
  expect(write({ ...first, from: '2026-11-21T00:00:00Z', to: '2026-11-21T06:00:00Z', key: 'src-addr,dst-addr' })).toBe(
    '?from=2026-11-21T00:00:00Z&to=2026-11-21T06:00:00Z&key=src-addr,dst-addr',
  );
});

test('what makes no sense is as on the first page', () => {
  expect(read('?from=soon&metric=joules&top=-1&limit=1e9&by=&style=3d&pin=1/2&unit=x&over=9&scale=x&tab=y&sort=z', '/explore', now)).toEqual(first);
  expect(read('?from=now&to=-6h', '/explore', now)).toEqual(first);
});

test('a key that this page does not know is left to the server', () => {
  expect(read('?key=nat-src-addr', '/explore', now).key).toBe('nat-src-addr');
});
