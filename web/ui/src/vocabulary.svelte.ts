// What flows can be grouped, ranked and filtered by, as the server says it
// (GET /api/v1/keys). The page has labels for what it knows by name, and knows nothing
// else of it: what a key means, which column it is and how it is filtered for is the
// server's.

/**
 * FieldKind is what the values of a field are: an address or a network; the number of a
 * port, of a protocol, of an interface at its exporter, of an autonomous system; the name
 * or address of an exporter; TCP flags; any other number; a MAC address; a time; a text;
 * marks of the collector.
 */
export type FieldKind = 'addr' | 'port' | 'protocol' | 'interface' | 'as' | 'exporter' | 'flags' | 'number' | 'mac' | 'time' | 'text' | 'marks';

/** Key is what flows can be grouped by. */
export interface Key {
  /** name is that of the parameter key: src-addr. */
  name: string;
  /** column is under which name answers and SQL have its values: src_addr. */
  column: string;
  kind: FieldKind;
  /** sides are the keys of which either is meant, none for a key that means itself: a flow counts once for each of the two. */
  sides: string[];
  /** opposite is the key of the other direction, "" where there is none. */
  opposite: string;
}

/** MeasureOf is what groups can be ranked by. */
export interface MeasureOf {
  /** name is that of the parameter by: flows, bps. */
  name: string;
  /** unit is what it is counted in: "", B, bit/s. */
  unit: string;
  /** of is the sum that a share is of: itself, or what a rate is a rate of. */
  of: 'flows' | 'packets' | 'bytes';
}

/** Word is how the filter names a column. */
export interface Word {
  /** word is the filter's own, as it is written: "src ip". */
  word: string;
  /** column is that of flows, or of a key that means either side: src_addr, addr. */
  column: string;
  kind: FieldKind;
  /** what says for people what it is. */
  what: string;
}

/** Keys is the answer of the server. */
export interface Keys {
  /** keys, measures and words stand in the order in which people are to see them. */
  keys: Key[];
  measures: MeasureOf[];
  words: Word[];
  /** directions are words of the filter that turn a condition round when they change places. */
  directions: [string, string][];
}

class Vocabulary {
  /** said is the server's answer, null before it. */
  said: Keys | null = $state.raw(null);

  readonly #keys = $derived(new Map((this.said?.keys ?? []).map((k) => [k.name, k])));
  readonly #measures = $derived(new Map((this.said?.measures ?? []).map((m) => [m.name, m])));
  // Some columns have a key and no word of the filter, more have a word and no key.
  readonly #kinds = $derived(new Map([...(this.said?.keys ?? []), ...(this.said?.words ?? [])].map((f) => [f.column, f.kind])));
  readonly #words = $derived(new Map([...(this.said?.words ?? [])].reverse().map((w) => [w.column, w])));

  /** key gives a key by its name. */
  key(name: string): Key | null {
    return this.#keys.get(name) ?? null;
  }

  /** sides are the columns of which either is meant, none for a column that means itself. */
  sides(column: string): string[] {
    const k = this.said?.keys.find((k) => k.column === column);
    return (k?.sides ?? []).map((s) => this.key(s)?.column ?? '').filter(Boolean);
  }

  measure(name: string): MeasureOf | null {
    return this.#measures.get(name) ?? null;
  }

  /** word gives the filter's word for a column: the first, where there are several. */
  word(column: string): Word | null {
    return this.#words.get(column) ?? null;
  }

  /** kind is what the values of a column are, "" when nobody has said it. */
  kind(column: string): FieldKind | '' {
    return this.#kinds.get(column) ?? '';
  }

  /** opposite is the other of two directions of the filter, "" for any other word. */
  opposite(word: string): string {
    for (const [a, b] of this.said?.directions ?? []) if (word === a || word === b) return word === a ? b : a;
    return '';
  }
}

export const vocabulary = new Vocabulary();
