// The menu of a value: which value was clicked, and where.

export interface Clicked {
  column: string;
  value: string | number | null;
  label: string;
  /** exporter is whose number an interface's is, "" where that is told otherwise. */
  exporter: string;
  x: number;
  y: number;
  from: HTMLElement;
}

class Menu {
  at: Clicked | null = $state.raw(null);
  /** card is the address whose card is open, or "". */
  card = $state('');

  open(e: MouseEvent & { currentTarget: HTMLElement }, column: string, value: string | number | null, label: string, exporter = ''): void {
    const box = e.currentTarget.getBoundingClientRect();
    this.at = { column, value, label, exporter, x: box.left + scrollX, y: box.bottom + scrollY, from: e.currentTarget };
  }

  close(): void {
    const from = this.at?.from;
    this.at = null;
    from?.focus();
  }
}

export const menu = new Menu();
