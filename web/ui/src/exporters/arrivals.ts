// Who is new since somebody began to wait, and how far it has come: first datagram, first
// template, first flow.

import type { Exporter, Exporters } from '../api';

type Stranger = Exporters['collector']['strangers'][number];

/** Before is what there was when somebody began to wait. */
export interface Before {
  datagrams: Map<number, number>;
  strangers: Map<string, number>;
}

export interface Step {
  name: 'first datagram' | 'first template' | 'first flow';
  /** done is when it was there, in ms since the epoch; 0 while it is awaited, -1 where it is not needed. */
  done: number;
}

export interface Arrival {
  exporter: Exporter;
  /** back is set for one that was known and silent. */
  back: boolean;
  steps: Step[];
}

/** quiet is how long an exporter that comes again was silent, at least, in ms. */
const quiet = 5 * 60_000;

/** before remembers what there is now. Those that are silent count as not there: when they send, they have come. */
export function before(answer: Exporters, now: number): Before {
  const sending = answer.exporters.filter((e) => now - Date.parse(e.last_seen) < quiet);
  return { datagrams: new Map(sending.map((e) => [e.id, e.datagrams])), strangers: new Map((answer.collector.strangers ?? []).map((s) => [s.addr, s.datagrams])) };
}

/** arrivals are the exporters that came since, the last first. What was seen once stays: seen is kept by who waits. */
export function arrivals(answer: Exporters, was: Before, since: number, seen: Map<string, number>, now: number): Arrival[] {
  const first = (id: number, step: string, happened: boolean): number => {
    const key = `${id} ${step}`;
    if (happened && !seen.has(key)) seen.set(key, now);
    return seen.get(key) ?? 0;
  };
  return answer.exporters
    .filter((e) => !was.datagrams.has(e.id) && Date.parse(e.last_seen) >= since)
    .map((e) => ({
      exporter: e,
      back: Date.parse(e.first_seen) < since,
      steps: [
        { name: 'first datagram' as const, done: first(e.id, 'datagram', true) },
        { name: 'first template' as const, done: e.version && e.version < 9 ? -1 : first(e.id, 'template', e.templates > 0) },
        { name: 'first flow' as const, done: first(e.id, 'flow', e.records > 0) },
      ],
    }))
    .sort((a, b) => b.steps[0]!.done - a.steps[0]!.done || a.exporter.id - b.exporter.id);
}

/** strange are those who sent since what cannot be read. */
export const strange = (answer: Exporters, was: Before, since: number): Stranger[] =>
  (answer.collector.strangers ?? []).filter((s) => s.datagrams !== was.strangers.get(s.addr) && Date.parse(s.last_seen) >= since);

/** strangeText says what arrives from a stranger. */
export const strangeText = (s: Stranger): string =>
  `Something arrives from ${s.addr} that ${/^no protocol/.test(s.guess) ? 'is no protocol that we know' : `is ${s.guess}`}, not NetFlow or IPFIX.`;

/** strangeAdvice says what to do about it. */
export function strangeAdvice(s: Stranger): string {
  if (/sflow/i.test(s.guess)) return 'sFlow is another protocol: have the device export NetFlow or IPFIX instead, or meter a mirror port with flowtally exporter.';
  if (/syslog/i.test(s.guess)) return 'That is a log, not flows: its syslog target has this port.';
  return 'Have it send NetFlow v5, v9 or IPFIX to this port, or send that elsewhere. flowtally inspect shows what is in it.';
}
