import { page } from './state.svelte';

/**
 * keepUp asks again as time goes on, while the page is followed and seen. It is
 * called while a component is set up; wait gives the milliseconds between two.
 */
export function keepUp(again: () => void, wait: () => number): void {
  $effect(() => {
    if (!page.following) return;
    const ask = (): void => {
      if (!document.hidden) again();
    };
    const timer = setInterval(ask, wait());
    document.addEventListener('visibilitychange', ask);
    return () => {
      clearInterval(timer);
      document.removeEventListener('visibilitychange', ask);
    };
  });
}

/** pace is how often a newer answer is worth asking for: never more than a tenth of the time it takes. */
export const pace = (stepSeconds: number, tookMs: number): number => Math.max(Math.min(60_000, Math.max(5000, (stepSeconds * 1000) / 12)), 10 * tookMs);
