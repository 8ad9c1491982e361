import { expect, test } from 'vitest';
import type { Exporter } from '../api';
import { counted, gravest, grave, health, kindText } from './health';

const now = Date.parse('2026-11-21T12:00:00Z');
const e = (x: Partial<Exporter>): Exporter => ({ id: 1, label: 'edge-1', health: 'healthy', health_text: 'healthy', last_seen: '2026-11-21T11:59:59Z', ...x }) as Exporter;

test('an exporter fares as the server says, and is gone after a month', () => {
  expect(health(e({ health: 'clock', health_text: 'clock 3 h ahead' }), now)).toEqual({ kind: 'clock', text: 'clock 3 h ahead' });
  expect(health(e({ health: 'silent', health_text: 'silent for 40 d', last_seen: '2026-10-01T00:00:00Z' }), now).kind).toBe('gone');
});

test('kinds are counted and sorted, the gravest first', () => {
  const list = [e({ id: 1 }), e({ id: 2, health: 'losing' }), e({ id: 3, health: 'waiting' }), e({ id: 4, health: 'losing' })];
  expect(counted(list, now)).toEqual([{ kind: 'waiting', n: 1 }, { kind: 'losing', n: 2 }, { kind: 'healthy', n: 1 }]);
  expect([...list].sort((a, b) => gravest(a, b, now)).map((x) => x.id)).toEqual([3, 2, 4, 1]);
  for (const k of grave) expect(kindText[k]).toBeTruthy();
});
