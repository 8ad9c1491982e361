// Series colours: Okabe and Ito's hues, each moved until it stands at 3:1 or
// better on the ground of its theme (palette.test.ts holds that). Red is left
// out: it belongs to loss and errors.

export interface Palette {
  ground: string;
  ink: string;
  soft: string;
  line: string;
  accent: string;
  series: string[];
  other: string;
}

export const light: Palette = {
  ground: '#ffffff',
  ink: '#1b1f24',
  soft: '#5d6670',
  line: '#e2e5e9',
  accent: '#1f5fbf',
  series: ['#0072b2', '#d07c00', '#009a70', '#b4538f', '#3a97cf', '#7c6a00', '#5e4bb0', '#b24a00'],
  other: '#8a929b',
};

export const dark: Palette = {
  ground: '#14171a',
  ink: '#e6e9ec',
  soft: '#9aa4ae',
  line: '#2a2f35',
  accent: '#7db2ff',
  series: ['#3f9bdb', '#e69f00', '#12a67c', '#cc79a7', '#7cc8f2', '#e3d84a', '#9a8be0', '#dd7a3a'],
  other: '#7c858e',
};

/**
 * Colours gives each label a colour and keeps it: a series that moves from the
 * second place to the third between two answers must not change its colour.
 */
export class Colours {
  #taken = new Map<string, number>();

  /** assign gives the labels, in the order of their rank, an index into the palette. */
  assign(labels: string[]): Map<string, number> {
    const next = new Map<string, number>();
    const used = new Set<number>();
    for (const l of labels) {
      const had = this.#taken.get(l);
      if (had !== undefined && !used.has(had)) {
        next.set(l, had);
        used.add(had);
      }
    }
    let free = 0;
    for (const l of labels) {
      if (next.has(l)) continue;
      while (used.has(free)) free++;
      next.set(l, free);
      used.add(free);
    }
    this.#taken = next;
    return next;
  }
}

/** colour gives the palette's colour of an index; more series than colours begin again. */
export const colour = (p: Palette, i: number): string => p.series[i % p.series.length]!;
