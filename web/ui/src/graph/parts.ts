// What a graph asks: one question, or two for in and out, or one for each saved view.

import type { Line, SavedView, Series } from '../api';
import { narrowed, sides } from './mirror';
import { join, quote } from '../filtertext';
import type { Query } from '../query.svelte';
import { pageAt } from '../pages';
import { read } from '../view';

/** Part is one of the questions behind a graph. */
export interface Part {
  id: string;
  /** name is in or out, or that of a saved view; empty when there is but one. */
  name: string;
  filter: string;
  exporter: string;
  /** below is drawn downward from the axis. */
  below: boolean;
  colour: string;
}

/** Asked is a part, its address and who asks. */
export interface Asked extends Part {
  address: string;
  query: Query<Series>;
}

export type Kind = 'one' | 'mirror' | 'views';

/** mostViews is how many saved views are drawn at once. */
export const mostViews = 20;

/** inOut gives the two parts of a mirrored graph, null for a graph that is not. */
export function inOut(mirror: string, inside: string, filter: string, exporter: string): Part[] | null {
  const s = sides(mirror, inside);
  if (!s) return null;
  const half = (name: string, side: string, below: boolean): Part => ({ id: name, name, filter: narrowed(filter, side), exporter, below, colour: '' });
  return [half('in', s.above, false), half('out', s.below, true)];
}

/** drawable are the saved views that are of flows: a statement in SQL is no line. */
export const drawable = (views: SavedView[]): SavedView[] =>
  views.filter((x) => {
    const at = pageAt(new URL(x.url, 'http://localhost').pathname);
    return !at || at.answers === 'range and filter';
  });

/** channels gives the whole, and a part for each saved view, in its colour and on its side. */
export function channels(views: SavedView[], filter: string, exporter: string): Part[] {
  const whole: Part = { id: '', name: '', filter, exporter, below: false, colour: '' };
  return [
    whole,
    ...drawable(views)
      .slice(0, mostViews)
      .map((x): Part => {
        const u = new URL(x.url, 'http://localhost');
        const own = read(u.search, u.pathname).exporter;
        // Two exporters at once are none: the condition says so, in place of either.
        const also = own && exporter && own !== exporter ? `exporter ${quote(own)}` : '';
        return { id: String(x.id), name: x.name, filter: join([filter, x.filter, also]), exporter: exporter || own, below: x.sign === '-', colour: /^#[0-9a-f]{6}$/i.test(x.color) ? x.color : '' };
      }),
  ];
}

/** align puts a line of one answer into the slots of another, which may begin or end a slot apart. */
export function align(line: Line, its: Series, slots: Series): Line {
  if (its === slots || (its.starts.length === slots.starts.length && its.starts[0] === slots.starts[0])) return line;
  const at = new Map(its.starts.map((t, i) => [t, i]));
  const move = (values: number[]): number[] => slots.starts.map((t) => values[at.get(t) ?? -1] ?? 0);
  return { ...line, flows: move(line.flows), packets: move(line.packets), bytes: move(line.bytes) };
}
