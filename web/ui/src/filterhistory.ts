// The filters that were typed in this browser, the latest first.

const key = 'flowtally.filters';
const most = 30;

/** filtersTyped gives them; none where the browser keeps nothing. */
export function filtersTyped(): string[] {
  try {
    const list: unknown = JSON.parse(localStorage.getItem(key) ?? '[]');
    return Array.isArray(list) ? list.filter((x) => typeof x === 'string') : [];
  } catch {
    return [];
  }
}

/** keepFilter puts one at the front. */
export function keepFilter(text: string): void {
  if (!text) return;
  try {
    localStorage.setItem(key, JSON.stringify([text, ...filtersTyped().filter((x) => x !== text)].slice(0, most)));
  } catch {
    // Then there is no history.
  }
}
