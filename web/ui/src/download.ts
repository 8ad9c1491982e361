// Downloads. CSV has the SQL names as its header and every digit, as the
// command line writes it.

import type { Series, Top, Values } from './api';
import { column } from './keys';

/** field quotes what RFC 4180 wants quoted. */
function field(v: string | number | null | undefined): string {
  const s = v === null || v === undefined ? '' : String(v);
  return /[",\r\n]/.test(s) ? `"${s.replaceAll('"', '""')}"` : s;
}

const lines = (rows: (string | number | null | undefined)[][]): string => rows.map((r) => r.map(field).join(',') + '\r\n').join('');

const columns = (key: string): string[] => (key ? key.split(',').map(column) : []);
const pick = (key: string, v: Values | undefined): (string | number | null)[] => columns(key).map((c) => v?.[c] ?? null);

/** topCSV writes the rows of a top answer. */
export function topCSV(t: Top): string {
  return lines([[...columns(t.key), 'flows', 'packets', 'bytes'], ...t.rows.map((r) => [...pick(t.key, r.values), r.flows, r.packets, r.bytes])]);
}

/** seriesCSV writes one row for each slot and line; the rest of a stack is called "other". */
export function seriesCSV(s: Series): string {
  const head = ['start', ...columns(s.key), 'flows', 'packets', 'bytes'];
  const all = s.key ? [...s.lines, ...(s.other ? [s.other] : [])] : [s.total];
  const rows = s.starts.flatMap((t, i) =>
    all.map((l) => {
      const values = l === s.other ? columns(s.key).map(() => 'other') : pick(s.key, l.values);
      return [t, ...values, l.flows[i] ?? 0, l.packets[i] ?? 0, l.bytes[i] ?? 0];
    }),
  );
  return lines([head, ...rows]);
}

/** save hands a text to the browser as a file. */
export function save(name: string, type: string, text: string): void {
  const address = URL.createObjectURL(new Blob([text], { type }));
  const a = document.createElement('a');
  a.href = address;
  a.download = name;
  a.click();
  setTimeout(() => URL.revokeObjectURL(address), 1000);
}
