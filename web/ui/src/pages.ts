// The pages of the console, in the order of the navigation. To add one: a row here, and
// its component in pages/. The paths, the navigation, the titles of browser tabs, the help
// and what the tests in the browser visit follow from the table.
//
// It names components instead of holding them: the view, which every component reads, is
// made from this table. App.svelte brings the two together.

import type { Series } from './api';
import type { Query } from './query.svelte';

interface Row {
  /** name is the first part of the path: a promise, read for ever. */
  name: string;
  /** title stands in the navigation and on the browser's tab. */
  title: string;
  /** component is the file in pages/ that draws it. */
  component: string;
  /** answers is how much of the bars above it the page answers. */
  answers: 'range and filter' | 'range' | 'nothing';
  /** from is where its range begins when the address does not say, if not where that of others does. */
  from?: string;
  /** filter is the part of the address that the filter bar edits here: that of events has words of its own. */
  filter?: 'events';
  /** parameters are those of the address that are of this page alone. */
  parameters: readonly ('of' | 'sql' | 'events')[];
  /** aside says that it does not stand in the navigation: something else leads there. */
  aside?: boolean;
  /** keys are those of the keyboard that do something on this page alone. */
  keys: readonly (readonly [key: string, what: string])[];
}

export const pages = [
  { name: 'overview', title: 'Overview', component: 'Overview', answers: 'range and filter', from: '-24h', parameters: [], keys: [] },
  {
    name: 'explore',
    title: 'Explore',
    component: 'Explore',
    answers: 'range and filter',
    parameters: [],
    keys: [
      ['p', 'pin the highest slot of the graph'],
      ['1 … 9, 0', 'choose what stands under the graph'],
      ['Esc', 'let go of the pinned slot'],
    ],
  },
  { name: 'exporters', title: 'Exporters', component: 'Exporters', answers: 'range', parameters: ['of'], keys: [] },
  { name: 'events', title: 'Events', component: 'Events', answers: 'range', from: '-1h', filter: 'events', parameters: ['events'], keys: [] },
  { name: 'sql', title: 'SQL', component: 'Sql', answers: 'nothing', parameters: ['sql'], keys: [] },
  { name: 'add', title: 'Add an exporter', component: 'Add', answers: 'nothing', aside: true, parameters: [], keys: [] },
  { name: 'saved', title: 'Saved', component: 'Saved', answers: 'nothing', parameters: [], keys: [] },
] as const satisfies readonly Row[];

export type Name = (typeof pages)[number]['name'];

/** home is the page at the bare address, asking the one at a bare address with a question, as in the first release. */
export const home: Name = 'overview';
export const asking: Name = 'explore';

/** navigation are the pages that stand in it, in their order. */
export const navigation: readonly (Row & { name: Name })[] = (pages as readonly (Row & { name: Name })[]).filter((p) => !p.aside);

const rows = new Map<string, Row & { name: Name }>(pages.map((p) => [p.name, p]));

/** pageNamed gives the row of a page. */
export const pageNamed = (name: Name): Row & { name: Name } => rows.get(name)!;

/** pageAt gives the row of the page that a path leads to, null for a path that names none. */
export const pageAt = (path: string): (Row & { name: Name }) | null => rows.get(path.split('/')[1] ?? '') ?? null;

/** PageProps are what every page is given; it takes what it needs. */
export interface PageProps {
  /** series is the question of the graph, which outlives the page. */
  series: Query<Series>;
  /** now is the server's clock. */
  now: number;
  /** lastSeen is when an exporter was last heard of. */
  lastSeen: number;
}

/** PageActions are what the bars and the keyboard can have done on a page that exports it; each says whether it did something. */
export interface PageActions {
  /** peak pins the highest slot. */
  peak?: () => boolean;
  /** tab chooses what stands under the graph. */
  tab?: (i: number) => boolean;
}
