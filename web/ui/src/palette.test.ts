import { expect, test } from 'vitest';
import { colour, dark, light, places, Places, type Palette } from './palette';

// WCAG 2: relative luminance and contrast ratio.
function luminance(hex: string): number {
  const [r, g, b] = [1, 3, 5].map((i) => {
    const c = parseInt(hex.slice(i, i + 2), 16) / 255;
    return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  }) as [number, number, number];
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}
function contrast(a: string, b: string): number {
  const [x, y] = [luminance(a), luminance(b)].sort((p, q) => q - p) as [number, number];
  return (x + 0.05) / (y + 0.05);
}

test.each([
  ['light', light],
  ['dark', dark],
])('%s: every series stands out from the ground, text is readable', (_, p: Palette) => {
  const all = Array.from({ length: places }, (_, i) => colour(p, i));
  expect(new Set(all).size).toBe(places);
  for (const c of [...all, p.other, p.accent]) expect(contrast(c, p.ground), c).toBeGreaterThanOrEqual(3);
  for (const c of [p.ink, p.soft]) expect(contrast(c, p.ground), c).toBeGreaterThanOrEqual(4.5);
  expect(new Set(p.series).size).toBe(8);
});

test('no colour follows rank', () => {
  const words = ['tcp', 'udp', 'icmp', 'esp', '254'];
  const [a, b] = [new Places(), new Places()];
  for (const [key, labels] of [
    ['protocol', words],
    ['dst-port', ['443', '53', '80', '22', '49152', '50001']],
    ['src-addr', ['10.1.4.7', '10.1.2.3', '2001:db8::1', '192.0.2.9', '10.2.0.21', '10.3.1.1', '198.51.100.17', '203.0.113.9']],
  ] as const) {
    const one = a.of(key, [...labels]);
    const other = b.of(key, [...labels].reverse());
    for (const l of labels) expect(other.get(l), `${key} ${l}`).toBe(one.get(l));
    expect(new Set(one.values()).size, 'all are told apart').toBe(labels.length);
  }
});

test('protocols, services and exporters have one of their own, whatever stands beside them', () => {
  for (const key of ['protocol', 'dst-port']) {
    const own = key === 'protocol' ? ['tcp', 'udp', 'icmp', 'ipv6-icmp'] : ['443', '53', '80', '22'];
    const p = new Places();
    p.of(key, Array.from({ length: 12 }, (_, i) => String(40_000 + i)));
    expect(own.map((l) => p.of(key, [l, '61000', '62000']).get(l))).toEqual([0, 1, 2, 3]);
  }
  const p = new Places();
  const number = (l: string): number => Number(l.slice(5)) - 1;
  expect([...p.of('exporter', ['edge-7', 'edge-2', 'edge-9'], number)].sort()).toEqual([['edge-2', 1], ['edge-7', 6], ['edge-9', 8]]);
  expect(p.of('exporter', ['edge-9'], number).get('edge-9')).toBe(8);
});

test('of two values with the same colour the one that was there keeps it', () => {
  const p = new Places();
  const many = Array.from({ length: 30 }, (_, i) => `10.0.0.${i}`);
  const first = p.of('src-addr', many.slice(10, 18));
  expect(new Set(first.values()).size).toBe(8);
  const next = p.of('src-addr', many.slice(0, 18));
  for (const l of many.slice(10, 18)) expect(next.get(l)).toBe(first.get(l));
  expect(new Set(p.of('src-addr', many.slice(0, 20)).values()).size).toBe(20);
  expect(p.of('src-addr', many).size).toBe(30);
});
