import { expect, test } from 'vitest';
import { narrowed, networks, sides, usual } from './mirror';

test('the two sides of an interface are its two directions', () => {
  expect(sides('3', '')).toMatchObject({ above: 'in if 3', below: 'out if 3' });
});

test('in goes to the networks inside, out comes from them', () => {
  const s = sides('net', '')!;
  expect(s.above).toBe(`dst net in [${usual}]`);
  expect(s.below).toBe(`src net in [${usual}]`);
  expect(sides('net', '2001:db8::/32')!.above).toBe('dst net 2001:db8::/32');
});

test('what stays inside crosses no border', () => {
  expect(sides('border', '10.0.0.0/8')).toMatchObject({ above: 'dst net 10.0.0.0/8 and not src net 10.0.0.0/8', below: 'src net 10.0.0.0/8 and not dst net 10.0.0.0/8' });
});

test('without a word for it a graph is not mirrored', () => {
  expect(sides('', '')).toBeNull();
  expect(sides('elsewhere', '')).toBeNull();
});

test('a filter stays whole beside a side', () => {
  expect(narrowed('port 53 or port 443', 'in if 3')).toBe('(port 53 or port 443) and in if 3');
  expect(narrowed('', 'in if 3')).toBe('in if 3');
});

test('a list of networks is read, and what is none is named', () => {
  expect(networks('10.0.0.0/8, 2001:db8::/32  192.0.2.1')).toEqual({ list: ['10.0.0.0/8', '2001:db8::/32', '192.0.2.1'], error: '' });
  for (const bad of ['10.0.0.0/33', '10.0.0/8', '10.0.0.256', '2001:db8:::/32', '::/129', 'lan', '10.0.0.0/8/8', '10.0.0.0/8]']) expect(networks(bad).error, bad).toContain(bad);
});
