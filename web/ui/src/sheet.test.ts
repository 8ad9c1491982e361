import { expect, test } from 'vitest';
import { sheet } from './sheet';

test('a file of what a statement returned opens right in a spreadsheet', () => {
  const columns = [
    { name: 'minute', type: 'timestamptz' },
    { name: 'addr', type: 'inet' },
    { name: 'n', type: 'int8' },
    { name: '=x', type: 'text' },
  ];
  const rows: [unknown[], string][] = [
    [['2026-11-21T10:00:00.123Z', '10.1.2.3', 12, 'core, "east"'], '2026-11-21T10:00:00.123,10.1.2.3,12,"core, ""east"""'],
    [[null, '2001:db8::1', '-9223372036854775808', '=1+1'], `,2001:db8::1,"=""-9223372036854775808""",'=1+1`],
    [[null, '::1', 1000000000000000, '007'], ',::1,"=""1000000000000000""","=""007"""'],
    [[null, null, -5, '-x'], ",,-5,'-x"],
    [[null, null, 0.30000000000000004, '3/4'], ',,0.30000000000000004,"=""3/4"""'],
    [[null, null, null, { a: 1 }], ',,,"{""a"":1}"'],
    [[null, null, null, true], ',,,true'],
  ];
  expect(sheet(columns, rows.map(([r]) => r))).toBe('\ufeffminute,addr,n,\'=x\r\n' + rows.map(([, line]) => line + '\r\n').join(''));
});

test('the only formulas of a file are literals', () => {
  for (const text of ['=1', '+1', '-1', '@x', '\t=1', '\r=1', '\n=1', '="', '5', '1e9', ' 7 ', '10:20', '12 %', '(5)', 'TRUE']) {
    const line = sheet([{ name: 'a', type: 'text' }], [[text]]).split('\ufeffa\r\n')[1]!.slice(0, -2);
    const value = line.startsWith('"') ? line.slice(1, -1).replaceAll('""', '"') : line;
    expect([`'${text}`, `="${text}"`]).toContain(value);
  }
});
