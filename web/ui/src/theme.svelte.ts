import { dark, light, type Palette } from './palette';
import { remember, remembered } from './remembered';

export type Choice = 'system' | 'light' | 'dark';
export const choices: Choice[] = ['system', 'light', 'dark'];

/** Theme is what was chosen and what it means now. */
class Theme {
  choice: Choice = $state(remembered('theme', choices, 'system'));
  #system = $state(matchMedia('(prefers-color-scheme: dark)').matches);
  #print = $state(matchMedia('print').matches);
  readonly isDark: boolean = $derived(!this.#print && (this.choice === 'system' ? this.#system : this.choice === 'dark'));
  readonly palette: Palette = $derived(this.isDark ? dark : light);

  constructor() {
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', (e) => (this.#system = e.matches));
    // Paper is white.
    matchMedia('print').addEventListener('change', (e) => (this.#print = e.matches));
  }

  choose(c: Choice): void {
    this.choice = c;
    remember('theme', c === 'system' ? null : c);
  }
}

export const theme = new Theme();
