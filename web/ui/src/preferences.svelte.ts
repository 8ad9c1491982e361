// What a person prefers where the address of a page does not say: kept by the server
// for those who log in, and in this browser for everybody, so that the first paint
// is right. The address always wins.

import { get, send, url } from './api';
import { presets } from './range';
import { remember, remembered } from './remembered';
import { page } from './state.svelte';
import { choices, theme, type Choice } from './theme.svelte';
import { units } from './units.svelte';
import { limits, preferred } from './view';
import { world } from './world.svelte';

interface Kept {
  theme?: string;
  zone?: string;
  range?: string;
  unit?: string;
  rows?: number;
  kept?: boolean;
}

export const ranges = presets.map((p) => p.from as string);

class Preferences {
  range: string = $state(preferred.from);
  rows: number = $state(preferred.limit);
  /** kept is whether the server keeps them, error why it did not. */
  kept = $state(false);
  error = $state('');

  constructor() {
    units.bytes = remembered('unit', ['bits', 'bytes'], 'bits') === 'bytes';
  }

  /** start takes over what the server keeps. */
  async start(): Promise<void> {
    if (!world.me.user || !world.knows('preferences')) return;
    try {
      const p = await get<Kept>(url('preferences', {}), new AbortController().signal);
      if (!p.kept) return;
      this.kept = true;
      theme.choose(choices.includes(p.theme as Choice) ? (p.theme as Choice) : 'system');
      page.setZone(p.zone === 'utc' ? 'utc' : 'local');
      this.#here(ranges.includes(p.range ?? '') ? p.range! : '', limits.includes(p.rows ?? 0) ? p.rows! : 0, p.unit === 'bytes');
      page.afresh();
    } catch {
      // Those of this browser hold meanwhile.
    }
  }

  /** set changes some of them, here and, for those who log in, at the server. */
  set(change: { theme?: Choice; zone?: 'local' | 'utc'; range?: string; rows?: number; bytes?: boolean }): void {
    if (change.theme) theme.choose(change.theme);
    if (change.zone) page.setZone(change.zone);
    this.#here(change.range ?? this.range, change.rows ?? this.rows, change.bytes ?? units.bytes);
    if (!this.kept) return;
    const all: Kept = { theme: theme.choice, zone: page.zone, unit: units.bytes ? 'bytes' : 'bits', range: this.range || undefined, rows: this.rows || undefined };
    this.error = '';
    send('PUT', url('preferences', {}), all).catch((err: unknown) => (this.error = `It holds in this browser, and was not kept: ${String((err as Error).message)}`));
  }

  #here(range: string, rows: number, bytes: boolean): void {
    this.range = preferred.from = range;
    this.rows = preferred.limit = rows;
    units.bytes = bytes;
    remember('range', range || null);
    remember('rows', rows ? String(rows) : null);
    remember('unit', bytes ? 'bytes' : null);
  }
}

export const preferences = new Preferences();
