import { get, Problem } from './api';

/** slowAfter is when a question is slow enough to show progress and a way out. */
const slowAfter = 1000;

/** lateAfter is when an answer that was asked for quietly is late: a database may hang, and refuse nothing. */
const lateAfter = 10_000;

/**
 * Query asks one question at a time and keeps the last answer. A newer question
 * cancels the older; asking the same again quietly (live) never blinks.
 */
export class Query<T> {
  answer: T | null = $state.raw(null);
  /** answered is the address that the answer belongs to. */
  answered = $state('');
  error: Problem | null = $state.raw(null);
  cancelled = $state(false);
  loading = $state(false);
  /** slow is since when a question has been slow, in ms since the epoch, or 0. */
  slow = $state(0);
  /** at is when the last answer came, in ms since the epoch. */
  at = $state(0);

  /** asking is the address that was asked last. */
  asking = $state('');

  #abort: AbortController | null = null;

  /** stale is whether the answer is of before: of another question, or what is asked now failed or is late. */
  readonly stale: boolean = $derived(this.answer !== null && (this.error !== null || this.cancelled || this.slow > 0 || this.answered !== this.asking));

  /** ask asks a new question; what was being asked is cancelled. */
  ask(address: string): void {
    this.asking = address;
    this.#abort?.abort();
    void this.#run(false);
  }

  /** again asks the same question once more, unless it is being asked. */
  again(quiet = true): void {
    // What somebody cancelled is not asked again behind the back.
    if (quiet && this.cancelled) return;
    if (this.asking && !this.#abort) void this.#run(quiet);
  }

  /** cancel stops asking; the last answer stays. */
  cancel(): void {
    if (!this.#abort) return;
    this.#abort.abort();
    this.#abort = null;
    this.loading = false;
    this.slow = 0;
    this.cancelled = true;
  }

  async #run(quiet: boolean): Promise<void> {
    const abort = new AbortController();
    const address = this.asking;
    const asked = Date.now();
    this.#abort = abort;
    this.cancelled = false;
    if (!quiet) this.loading = true;
    const timer = setTimeout(() => {
      if (this.#abort === abort) this.slow = asked;
    }, quiet ? lateAfter : slowAfter);
    try {
      const answer = await get<T>(address, abort.signal);
      if (this.#abort !== abort) return;
      this.answer = answer;
      this.answered = address;
      this.error = null;
      this.at = Date.now();
    } catch (err) {
      if (this.#abort !== abort || abort.signal.aborted) return;
      this.error = err instanceof Problem ? err : new Problem('This page made a mistake.', String(err), 0);
    } finally {
      clearTimeout(timer);
      if (this.#abort === abort) {
        this.#abort = null;
        this.loading = false;
        this.slow = 0;
      }
    }
  }
}
