// The colours of what is drawn on this page: the same value has the same one in every graph.

import { colour, Places, type Palette } from './palette';
import { theme } from './theme.svelte';
import { colourOf, numberOf } from './world.svelte';

const places = new Places();

/** coloursOf gives the colours of values of a key that are drawn together: an exporter has the one that somebody gave it. */
export function coloursOf(key: string, labels: string[], palette: Palette = theme.palette): Map<string, string> {
  const exporter = key === 'exporter';
  const by = places.of(key, labels, exporter ? numberOf : undefined);
  return new Map(labels.map((l) => [l, (exporter && colourOf(l)) || colour(palette, by.get(l)!)]));
}
