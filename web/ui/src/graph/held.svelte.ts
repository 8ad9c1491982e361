// Which answers the graph shows. What is drawn together was asked together: until every
// part of a new question is answered, the old one stays. One that fails leaves the
// others alone.

import type { Held } from './graph-model';
import type { Asked, Kind } from './parts';

/** Question is what the graph asks at the moment. */
export interface Question {
  /** parts are the questions behind the graph: one, in and out, or the whole and the saved views. */
  parts: Asked[];
  kind: Kind;
  /** ready is whether it is known what the parts are. */
  ready: boolean;
}

const settled = (p: Asked): boolean => p.query.answered === p.address || (!p.query.loading && (p.query.error !== null || p.query.cancelled));

/** HeldAnswers follows a question. */
export class HeldAnswers {
  #question: () => Question;
  #last: Held | null = null;

  /** held are the answers to show, null before the first. */
  readonly held: Held | null = $derived.by(() => {
    const { parts, kind, ready } = this.#question();
    if (ready && parts.every(settled)) {
      const answered = parts.flatMap((p) => (p.query.answered === p.address && p.query.answer ? [{ part: p, answer: p.query.answer }] : []));
      if (answered.length) this.#last = { kind, parts: answered };
    }
    return this.#last;
  });

  /** stale is whether they are of the question before. */
  readonly stale: boolean = $derived.by(() => {
    const { parts, kind, ready } = this.#question();
    return this.held !== null && (!ready || this.held.kind !== kind || parts.some((p) => p.query.error !== null || p.query.slow > 0 || (p.query.answered !== p.address && (p.query.loading || p.query.cancelled))));
  });

  /** failing are the parts that are slow, were cancelled or failed. */
  readonly failing: Asked[] = $derived.by(() => this.#question().parts.filter((p) => p.query.slow || p.query.cancelled || p.query.error));

  constructor(question: () => Question) {
    this.#question = question;
  }
}
