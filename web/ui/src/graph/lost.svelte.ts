// Where the collector, or the way to it, lost something: there the graph is too low.

import { untrack } from 'svelte';
import { url, type Loss } from '../api';
import { keepUp } from '../live.svelte';
import { Query } from '../query.svelte';
import { page } from '../state.svelte';
import { world } from '../world.svelte';

/** lostMinutes asks for the losses in the range, and goes on asking; it is called while a component is set up. */
export function lostMinutes(): Query<Loss> {
  const loss = new Query<Loss>();
  const address = $derived(world.knows('loss') ? url('loss', { ...page.asked, exporter: page.view.exporter }) : '');
  $effect(() => {
    const a = address;
    if (a) untrack(() => loss.ask(a));
  });
  keepUp(
    () => loss.again(),
    () => 30_000,
  );
  return loss;
}
