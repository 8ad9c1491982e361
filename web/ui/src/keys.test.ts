import { afterEach, expect, test } from 'vitest';
import sample from '../e2e/keys.json';
import { byNetwork, column, hasNetworks, info, measured, menu, offered, others, stacks } from './keys';
import { vocabulary, type Keys } from './vocabulary.svelte';

const said = sample as Keys;
afterEach(() => {
  vocabulary.said = null;
});

test('until the server has spoken, what has a label is offered', () => {
  expect(menu().map((k) => k.key).slice(0, 4)).toEqual(['src-addr', 'dst-addr', 'addr', 'src-addr,dst-addr']);
  expect(info('dst-port')).toMatchObject({ label: 'Destination port', heads: ['destination port'] });
  expect(column('src-addr')).toBe('src_addr');
});

test('a menu has what the server has, in the order of the labels, and then what has none', () => {
  vocabulary.said = { ...said, keys: [...said.keys.filter((k) => !/-as$/.test(k.name)), { name: 'end-reason', column: 'end_reason', kind: 'number', sides: [], opposite: '' }] };
  const names = menu().map((k) => k.key);
  expect(names).not.toContain('src-as');
  expect(names).not.toContain('src-as,dst-as');
  expect(names.at(-1)).toBe('end-reason');
  expect(info('end-reason')).toEqual({ key: 'end-reason', label: 'End reason', heads: ['end reason'], mono: false, eitherSide: false });
  expect(offered('src-addr/24,dst-port')).toBe(true);
  expect(others().map((k) => k.key)).toEqual(['exporter', 'next-hop', 'tos', 'tcp-flags', 'vlan', 'end-reason']);
});

test('what a key means the server says', () => {
  vocabulary.said = said;
  expect(stacks().some((k) => ['addr', 'port', 'interface'].includes(k.key))).toBe(false);
  expect(info('addr')).toMatchObject({ eitherSide: true, mono: true });
  expect(info('src-addr,dst-port')).toMatchObject({ label: 'Source and port', heads: ['source address', 'destination port'], mono: true });
  expect([measured('pps'), measured('bpp'), measured('flows')]).toEqual(['packets', 'bytes', 'flows']);
});

test('addresses are grouped by networks, and nothing else is', () => {
  vocabulary.said = said;
  expect([hasNetworks('src-addr,dst-port'), hasNetworks('dst-port')]).toEqual([true, false]);
  expect(byNetwork('src-addr,dst-port', '24/48')).toBe('src-addr/24/48,dst-port');
  expect(byNetwork('src-addr/24/48,dst-port', '')).toBe('src-addr,dst-port');
  expect(info('src-addr/24/48')).toMatchObject({ label: 'Source, by network /24 and /48', heads: ['source network'] });
  expect(column('next-hop/24')).toBe('next_hop');
});

test('a key that nobody knows is called what the address calls it', () => {
  vocabulary.said = said;
  expect(info('nat-src-addr')).toMatchObject({ label: 'nat-src-addr', heads: ['nat-src-addr'] });
  expect(info('exporter,protocol')).toMatchObject({ label: 'exporter,protocol', heads: ['exporter', 'protocol'] });
});
