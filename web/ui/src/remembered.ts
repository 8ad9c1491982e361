// What is remembered in this browser alone: taste, never the question, which is the URL's.

/** remembered reads a choice; storage that is forbidden or empty gives the other value. */
export function remembered<T extends string>(name: string, all: readonly T[], otherwise: T): T {
  try {
    const v = localStorage.getItem('flowtally.' + name) as T | null;
    return v !== null && all.includes(v) ? v : otherwise;
  } catch {
    return otherwise;
  }
}

export function remember(name: string, value: string | null): void {
  try {
    if (value === null) localStorage.removeItem('flowtally.' + name);
    else localStorage.setItem('flowtally.' + name, value);
  } catch {
    // Then it holds until the page is closed.
  }
}
