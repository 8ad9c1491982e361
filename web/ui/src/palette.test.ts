import { expect, test } from 'vitest';
import { Colours, dark, light, type Palette } from './palette';

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
  for (const c of [...p.series, p.other, p.accent]) expect(contrast(c, p.ground), c).toBeGreaterThanOrEqual(3);
  for (const c of [p.ink, p.soft]) expect(contrast(c, p.ground), c).toBeGreaterThanOrEqual(4.5);
  expect(new Set(p.series).size).toBe(8);
});

test('a series keeps its colour when its rank changes', () => {
  const c = new Colours();
  const a = c.assign(['tcp', 'udp', 'icmp']);
  const b = c.assign(['udp', 'tcp', 'esp']);
  expect(b.get('tcp')).toBe(a.get('tcp'));
  expect(b.get('udp')).toBe(a.get('udp'));
  expect(b.get('esp')).toBe(2);
  expect(new Set(b.values()).size).toBe(3);
});
