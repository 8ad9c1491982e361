// A file of CSV as LibreOffice and Excel open it right, of what a statement returned:
// the rules of the API's format=spreadsheet (web/csv.go), for rows that are here already.

/** Column is one of an answer's, with the name of its type in SQL. */
interface Column {
  name: string;
  type: string;
}

// Text that a spreadsheet takes for a number, a date, a time or a truth.
const numberLike = /^([\s0-9.,:/+%$()e-]*[0-9][\s0-9.,:/+%$()e-]*|\s*(true|false)\s*)$/i;

/** literal is the only way to say in CSV that a cell is text. */
const literal = (s: string): string => `="${s}"`;

function cell(x: unknown, type: string): string {
  if (x === null || x === undefined) return '';
  if (typeof x === 'object') return JSON.stringify(x);
  const s = String(x);
  if (typeof x === 'number' || (/^(int|numeric)/.test(type) && /^-?\d/.test(s))) {
    // A spreadsheet keeps 15 digits of a number.
    return s.replace(/\D/g, '').length > 15 && /^-?[\d.]+$/.test(s) && (typeof x === 'string' || Number.isInteger(x)) ? literal(s) : s;
  }
  if (type === 'timestamptz') return s.replace(/Z$/, '');
  if (/^[=+\-@\t\r\n]/.test(s)) return "'" + s;
  // Addresses are taken for nothing else.
  return typeof x === 'string' && !/^(inet|cidr|macaddr)/.test(type) && numberLike.test(s) ? literal(s) : s;
}

/** sheet returns the text of the file. */
export function sheet(columns: Column[], rows: unknown[][]): string {
  const quoted = (s: string): string => (/[",\n\r]/.test(s) ? `"${s.replaceAll('"', '""')}"` : s);
  const lines = [columns.map((c) => cell(c.name, 'text')), ...rows.map((r) => r.map((x, i) => cell(x, columns[i]?.type ?? '')))];
  return '\ufeff' + lines.map((r) => r.map(quoted).join(',') + '\r\n').join('');
}
