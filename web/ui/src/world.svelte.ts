// What every page shares: the exporters, who is asking, and what this server can
// be asked. A console may be newer than its server (a cached page, an upgrade
// under way): what the server does not know is left out, not shown as an error.

import { get, loggedOut, Problem, url, type Exporters, type Me } from './api';
import { Query } from './query.svelte';
import { vocabulary, type Keys } from './vocabulary.svelte';

interface OpenAPI {
  paths: Record<string, unknown>;
}

const everybody: Me = { user: null, role: 'editor', login: 'none', token: null };

class World {
  readonly exporters = new Query<Exporters>();
  me: Me = $state.raw(everybody);
  /** login is set when the server wants to know who asks. */
  login = $state(false);
  /** lit is the label of the series or row that is pointed at. */
  lit = $state('');
  /** ready is set once it is known what the server can be asked. */
  ready = $state(false);
  /** unreached is why it is not known yet. */
  unreached: Problem | null = $state.raw(null);
  #paths: Set<string> | null = $state.raw(null);

  readonly list = $derived(this.exporters.answer?.exporters ?? []);
  readonly editor = $derived(this.me.role === 'editor' && this.knows('views'));

  constructor() {
    loggedOut.tell = () => (this.login = true);
  }

  async start(): Promise<void> {
    const signal = new AbortController().signal;
    try {
      const doc = await get<OpenAPI>('/openapi.json', signal);
      this.#paths = new Set(Object.keys(doc.paths).map((p) => p.replace(/^\/api\/v1\//, '')));
    } catch (err) {
      // That it could not be asked does not mean that it knows nothing: it is asked again.
      this.unreached = err instanceof Problem ? err : new Problem('The server could not be asked what it knows.', String(err), 0);
      setTimeout(() => void this.start(), 5000);
      return;
    }
    this.unreached = null;
    this.ready = true;
    if (this.knows('keys')) {
      get<Keys>('/api/v1/keys', signal).then(
        (said) => (vocabulary.said = said),
        () => {}, // what is asked is answered without it
      );
    }
    if (this.knows('me')) {
      try {
        this.me = await get<Me>(url('me', {}), signal);
        if (this.me.login === 'password' && !this.me.user) this.login = true;
      } catch {
        // The questions themselves will say what is wrong.
      }
    }
    if (!this.login) this.exporters.ask(url('exporters', {}));
  }

  /** knows says whether the server answers a path, in the words of its description: "exporters/{id}". */
  knows(path: string): boolean {
    return this.#paths?.has(path) ?? false;
  }
}

export const world = new World();

/** numberOf gives an exporter's number, counted from 0. */
export const numberOf = (label: string): number | undefined => {
  const id = world.list.find((e) => e.label === label)?.id;
  return id === undefined ? undefined : id - 1;
};

/** colourOf gives the colour that people gave an exporter, or "". */
export const colourOf = (label: string): string => {
  const c = world.list.find((e) => e.label === label)?.color ?? '';
  return /^#[0-9a-f]{6}$/i.test(c) ? c : '';
};
