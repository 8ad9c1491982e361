// What addresses are called. The server looks names up and remembers them; the page
// asks it for those it shows, many at once, and shows what is known: no table waits.

import { SvelteMap } from 'svelte/reactivity';
import { get, url } from './api';
import { world } from './world.svelte';

/** most is how many addresses the API takes in one question. */
const most = 100;

/** later is when an address without a name is asked for again: first soon, for a name that came too late. */
const later = [4_000, 600_000];

class Names {
  readonly #known = new SvelteMap<string, string>();
  readonly #asked = new Map<string, number>(); // how often, for what has no name yet
  readonly #wanted = new Set<string>();
  #timer = 0;

  /** of gives the name of an address, or "". */
  of(addr: string): string {
    return this.#known.get(addr) ?? '';
  }

  /** want asks for the name of an address, unless that has been done. */
  want(addr: string): void {
    if (this.#asked.has(addr) || !world.knows('names')) return;
    this.#asked.set(addr, 0);
    this.#ask(addr);
  }

  #ask(addr: string): void {
    this.#wanted.add(addr);
    this.#timer ||= window.setTimeout(() => void this.#flush(), 50);
  }

  async #flush(): Promise<void> {
    this.#timer = 0;
    const addrs = [...this.#wanted].slice(0, most);
    for (const a of addrs) this.#wanted.delete(a);
    if (this.#wanted.size > 0) this.#timer = window.setTimeout(() => void this.#flush(), 50);
    let found: Record<string, string> = {};
    try {
      const q = addrs.map((a) => 'addr=' + encodeURIComponent(a)).join('&');
      found = (await get<{ names: Record<string, string> | null }>(url('names', {}) + '?' + q, new AbortController().signal)).names ?? {};
    } catch {
      // A name is a help, not an answer: without it the address stands alone.
    }
    const missing = addrs.filter((a) => !found[a]);
    for (const [a, name] of Object.entries(found)) this.#known.set(a, name);
    for (const a of missing) {
      const times = this.#asked.get(a) ?? 0;
      this.#asked.set(a, times + 1);
      const wait = later[times];
      if (wait !== undefined) setTimeout(() => this.#ask(a), wait);
    }
  }
}

export const names = new Names();

/** Ports knows what the interfaces of exporters are called; each exporter's are asked for once. */
class Ports {
  readonly #known = new SvelteMap<string, Map<number, string>>();
  readonly #asked = new Set<string>();

  /** of gives the name of an interface of an exporter, or "". */
  of(exporter: string, index: number): string {
    return this.#known.get(exporter)?.get(index) ?? '';
  }

  /** want asks for the names of an exporter's interfaces, unless that has been done. */
  want(exporter: string): void {
    if (!exporter || this.#asked.has(exporter) || !world.knows('interfaces')) return;
    this.#asked.add(exporter);
    get<{ interfaces: { if_index: number; name: string }[] | null }>(url('interfaces', { exporter, from: '-1m' }), new AbortController().signal).then(
      (a) => this.#known.set(exporter, new Map((a.interfaces ?? []).map((i) => [i.if_index, i.name]))),
      () => {},
    );
  }
}

export const ports = new Ports();
