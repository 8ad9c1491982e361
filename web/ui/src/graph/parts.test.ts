import { expect, test } from 'vitest';
import type { SavedView, Series } from '../api';
import { align, channels, inOut, mostViews } from './parts';

const view = (x: Partial<SavedView>): SavedView => ({ id: 1, name: 'a', url: '/explore', filter: '', color: '#112233', sign: '+', pinned: false, changed_at: '2026-11-21T00:00:00Z', ...x });

test('in and out are two questions with the filter in both', () => {
  const [above, below] = inOut('3', '', 'proto tcp or proto udp', 'edge-1')!;
  expect(above).toMatchObject({ filter: '(proto tcp or proto udp) and in if 3', exporter: 'edge-1', below: false });
  expect(below).toMatchObject({ filter: '(proto tcp or proto udp) and out if 3', below: true });
  expect(inOut('', '', '', '')).toBeNull();
});

test('a saved view is drawn in its colour, on its side, and of its exporter', () => {
  const parts = channels([view({ filter: 'port 53', sign: '-', url: '/explore?exporter=edge-1' })], 'proto udp', '');
  expect(parts).toHaveLength(2);
  expect(parts[1]).toMatchObject({ filter: 'proto udp and port 53', exporter: 'edge-1', below: true, colour: '#112233' });
  expect(channels([view({ url: '/explore?exporter=edge-1' })], '', 'edge-2')[1]).toMatchObject({ filter: 'exporter edge-1', exporter: 'edge-2' });
});

test('there are twenty lines at most, and none of a statement', () => {
  expect(channels(Array.from({ length: 30 }, (_, id) => view({ id })), '', '')).toHaveLength(1 + mostViews);
  expect(channels([view({ url: '/sql?sql=select+1' })], '', '')).toHaveLength(1);
});

test('answers whose slots lie one apart are put beside each other', () => {
  const answer = (starts: string[]): Series => ({ starts }) as Series;
  const line = { label: 'x', flows: [1, 2, 3], packets: [1, 2, 3], bytes: [1, 2, 3] };
  const its = answer(['a', 'b', 'c']);
  expect(align(line, its, its)).toBe(line);
  expect(align(line, its, answer(['b', 'c', 'd'])).flows).toEqual([2, 3, 0]);
});
