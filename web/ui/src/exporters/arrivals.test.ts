import { expect, test } from 'vitest';
import type { Exporter, Exporters } from '../api';
import { unknown } from '../listen';
import { arrivals, before, strange, strangeAdvice, strangeText } from './arrivals';
import { devices } from './devices';

const t = (s: number): string => new Date(Date.UTC(2026, 10, 21, 12, 0, s)).toISOString();
const at = (s: number): number => Date.parse(t(s));
const e = (x: Partial<Exporter>): Exporter => ({ id: 1, label: 'edge-1', version: 10, templates: 2, records: 9, datagrams: 3, first_seen: t(-86_400), last_seen: t(0), ...x }) as Exporter;
const answer = (exporters: Exporter[], strangers: Partial<Exporters['collector']['strangers'][number]>[] = []): Exporters => ({ exporters, collector: { strangers } }) as unknown as Exporters;

test('who is new is shown with each step when it happens', () => {
  const was = before(answer([e({})]), at(0));
  const seen = new Map<string, number>();
  const known = e({ last_seen: t(5), datagrams: 9 });
  expect(arrivals(answer([known]), was, at(0), seen, at(5))).toEqual([]);
  const come = (s: number, x: Partial<Exporter>) => arrivals(answer([known, e({ id: 2, first_seen: t(6), last_seen: t(s), ...x })]), was, at(0), seen, at(s))[0]!.steps.map((x) => x.done);
  expect(come(6, { templates: 0, records: 0 })).toEqual([at(6), 0, 0]);
  expect(come(9, { templates: 1, records: 0 })).toEqual([at(6), at(9), 0]);
  expect(come(12, { templates: 1, records: 4 })).toEqual([at(6), at(9), at(12)]);
  // A template that is withdrawn was there all the same.
  expect(come(20, { templates: 0, records: 4 })).toEqual([at(6), at(9), at(12)]);
  expect(come(20, { id: 3, version: 5, templates: 0, records: 4 })).toEqual([at(20), -1, at(20)]);
});

test('an exporter that was silent comes back', () => {
  const was = before(answer([e({ last_seen: t(-3600) })]), at(0));
  expect(arrivals(answer([e({ last_seen: t(-3600) })]), was, at(0), new Map(), at(1))).toEqual([]);
  expect(arrivals(answer([e({ last_seen: t(3) })]), was, at(0), new Map(), at(3)).map((a) => a.back)).toEqual([true]);
});

test('what strangers send is named', () => {
  const sflow = { addr: '192.0.2.7', datagrams: 3, guess: 'sFlow v5', last_seen: t(2) };
  const was = before(answer([], [{ ...sflow, last_seen: t(-9) }]), at(0));
  expect(strange(answer([], [{ ...sflow, last_seen: t(-9) }]), was, at(0))).toEqual([]);
  const now = strange(answer([], [{ ...sflow, datagrams: 4 }]), was, at(0));
  expect(strangeText(now[0]!)).toBe('Something arrives from 192.0.2.7 that is sFlow v5, not NetFlow or IPFIX.');
  expect(strangeAdvice(now[0]!)).toMatch(/another protocol/);
});

test.each(['192.0.2.5', '2001:db8::5', unknown])('every device has lines with the address %s and the port', (host) => {
  const all = devices({ host, port: '2055' });
  expect(all.map((d) => d.id)).toEqual([...new Set(all.map((d) => d.id))]);
  expect(all.length).toBeGreaterThanOrEqual(18);
  for (const d of all) {
    expect(d.lines, d.id).toContain(host);
    expect(d.lines, d.id).toContain('2055');
    expect(d.lines, d.id).not.toContain('undefined');
    expect(d.soon && d.where, d.id).toBeTruthy();
  }
});
