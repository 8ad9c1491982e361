import { expect, test } from 'vitest';
import { pageAt, pageNamed, pages } from './pages';

test('every page has its component, and every component its page', () => {
  const files = Object.keys(import.meta.glob('./pages/*.svelte')).map((f) => f.replace(/^.*\/(.*)\.svelte$/, '$1'));
  expect([...files].sort()).toEqual(pages.map((p) => p.component as string).sort());
});

test('a path names a page by its first part', () => {
  expect(pageAt('/sql')).toBe(pageNamed('sql'));
  expect(pageAt('/exporters/7')?.title).toBe('Exporters');
  expect([pageAt('/'), pageAt('/nothing'), pageAt('')]).toEqual([null, null, null]);
});

test('a name stands for one page', () => {
  for (const of of ['name', 'title', 'component'] as const) expect(new Set(pages.map((p) => p[of])).size).toBe(pages.length);
});
