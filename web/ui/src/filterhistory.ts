// The filters that were typed in this browser, the latest first.

/** Kind is what a filter is of: those of events have words of their own. */
export type Kind = 'filter' | 'events';

const key = (of: Kind): string => (of === 'filter' ? 'flowtally.filters' : 'flowtally.filters.events');
const most = 30;

/** filtersTyped gives them; none where the browser keeps nothing. */
export function filtersTyped(of: Kind): string[] {
  try {
    const list: unknown = JSON.parse(localStorage.getItem(key(of)) ?? '[]');
    return Array.isArray(list) ? list.filter((x) => typeof x === 'string') : [];
  } catch {
    return [];
  }
}

/** keepFilter puts one at the front. */
export function keepFilter(of: Kind, text: string): void {
  if (!text) return;
  try {
    localStorage.setItem(key(of), JSON.stringify([text, ...filtersTyped(of).filter((x) => x !== text)].slice(0, most)));
  } catch {
    // Then there is no history.
  }
}
