import { beforeAll, expect, test } from 'vitest';
import keys from '../e2e/keys.json';
import { add, conjuncts, invert, join, swap, swapKey, term } from './filtertext';
import { vocabulary, type Keys } from './vocabulary.svelte';

beforeAll(() => {
  vocabulary.said = keys as Keys;
});

test('a filter is taken apart at its outermost and', () => {
  expect(conjuncts('')).toEqual([]);
  expect(conjuncts('proto tcp')).toEqual(['proto tcp']);
  expect(conjuncts('proto tcp and (port 80 or port 443) AND not src net 10.0.0.0/8')).toEqual(['proto tcp', '(port 80 or port 443)', 'not src net 10.0.0.0/8']);
  expect(conjuncts('exporter "this and that" && port in [22 23]')).toEqual(['exporter "this and that"', 'port in [22 23]']);
  expect(conjuncts('port 80 or port 443 and proto tcp')).toEqual(['port 80 or port 443 and proto tcp']);
  expect(conjuncts('port 80 and')).toEqual(['port 80 and']);
});

test('what is put together again means the same', () => {
  expect(join(['port 80 or port 443', 'proto tcp'])).toBe('(port 80 or port 443) and proto tcp');
  expect(join(['port 80 or port 443'])).toBe('port 80 or port 443');
  expect(add('', 'src ip 10.1.4.7')).toBe('src ip 10.1.4.7');
  expect(add('proto tcp', 'src ip 10.1.4.7')).toBe('proto tcp and src ip 10.1.4.7');
  expect(add('proto tcp and src ip 10.1.4.7', 'src ip 10.1.4.7')).toBe('proto tcp and src ip 10.1.4.7');
  expect(add('src ip 10.1.4.7 and proto tcp', 'not src ip 10.1.4.7')).toBe('proto tcp and not src ip 10.1.4.7');
  expect(add('proto tcp # why', 'port 22')).toBe('proto tcp and port 22');
});

test('to invert twice changes nothing', () => {
  for (const p of ['proto tcp', 'not proto tcp', 'port 80 or port 443', 'port in [1 2]']) expect(invert(invert(p))).toBe(p);
  expect(invert('port 80 or port 443')).toBe('not (port 80 or port 443)');
  expect(invert('not (a) or (b)')).toBe('not (not (a) or (b))');
});

test('directions are swapped, lists are not', () => {
  expect(swap('src ip 10.0.0.1 and dst port in [80 443] and in if 3 and exporter "src"')).toBe('dst ip 10.0.0.1 and src port in [80 443] and out if 3 and exporter "src"');
  expect(swapKey('src-addr,dst-port')).toBe('dst-addr,src-port');
  expect(swapKey('src-addr/24/48,in-if')).toBe('dst-addr/24/48,out-if');
  expect(swapKey('protocol')).toBe('protocol');
});

test('values become words', () => {
  expect(term('src_addr', '2001:db8::1')).toBe('src ip 2001:db8::1');
  expect(term('exporter', 'edge 1')).toBe('exporter "edge 1"');
  expect(term('dst_port', 443)).toBe('dst port 443');
  expect(term('dst_port', null)).toBe('not dst port >= 0');
  expect(term('src_addr', null)).toBe('');
  expect(term('tcp_flags', 'S')).toBe('flags =S');
  expect(term('addr', '10.0.0.0/8')).toBe('ip 10.0.0.0/8');
  expect(term('unheard_of', 1)).toBe('');
});

test('an interface is its exporter\'s', () => {
  expect(term('in_if', 23067, 'edge-1')).toBe('exporter edge-1 and in if 23067');
  expect(term('out_if', 7, '192.0.2.1 domain 42')).toBe('exporter "192.0.2.1 domain 42" and out if 7');
  expect(term('interface', 7, 'the "old" one')).toBe(`exporter 'the "old" one' and if 7`);
  expect(term('in_if', 7)).toBe('in if 7');
  expect(term('in_if', null, 'edge-1')).toBe('exporter edge-1 and not in if >= 0');
  // On either side, not on both: what has one of two has none on the other.
  expect(term('interface', null, 'edge-1')).toBe('exporter edge-1 and not (in if >= 0 and out if >= 0)');
  expect(term('src_addr', '10.0.0.1', 'edge-1')).toBe('src ip 10.0.0.1');
  expect(swap(term('in_if', 7, 'edge-1'))).toBe('exporter edge-1 and out if 7');
  expect(invert(term('in_if', 7, 'edge-1'))).toBe('not (exporter edge-1 and in if 7)');
});
