// Table and legend say what the API says.

import assert from 'node:assert/strict';
import { api, base, becomes, digits, drawn, exactly, past, still, sums, test, violations, where } from '../harness.mjs';

test('the table says what the API says', async (open) => {
  await still;
  const questions = [
    ['src-addr', 'flows'],
    ['dst-port', 'bytes'],
    ['src-addr,dst-addr', 'packets'],
    ['protocol', 'flows'],
  ].map(([key, by]) => ({ key, by, asked: `${past}&key=${key}&by=${by}&limit=20` }));
  // The SQL names the batches that are not summed yet: that of the page's own answer is meant.
  let said = null;
  const { page } = await open({ path: `/?${questions[0].asked}`, route: (p) => p.on('response', async (r) => r.url().includes('/api/v1/top') && (said = await r.json().catch(() => said))) });
  for (const { key, by, asked } of questions) {
    const want = await api(`top?${asked}`);
    assert.ok(want.rows.length > 0 && want.total[by] > 0, `nothing to compare in ${asked}`);
    if (!(await where(page)).endsWith(asked)) await page.goto(`${base}/?${asked}`);
    await drawn(page);
    const rows = await page.locator('section table tbody tr').all();
    assert.equal(rows.length, want.rows.length + (want.other ? 1 : 0));
    for (const [i, row] of want.rows.entries()) {
      assert.deepEqual(await exactly(rows[i]), sums(row), `row ${i}`);
      const text = await rows[i].innerText();
      for (const v of key.includes(',') ? Object.values(row.values) : [row.label]) assert.ok(text.includes(String(v)), `${text} lacks ${v}`);
    }
    if (want.other) assert.deepEqual(await exactly(rows.at(-1)), sums(want.other), 'other');
    assert.deepEqual(await exactly(page.locator('section table tfoot')), sums(want.total), 'total');
    await page.getByRole('button', { name: 'the same in SQL' }).last().click();
    await becomes(said?.sql.trimEnd(), () => page.locator('pre').innerText(), 'the SQL of the answer');
    await page.getByRole('button', { name: 'on the command line' }).last().click();
    assert.equal(await page.locator('pre').innerText(), want.command);
  }
});

test('the legend adds up to the API’s series, and the table behind the graph has its slots', async (open) => {
  await still;
  const want = await api(`series?${past}&key=protocol&by=flows&limit=8&step=60s`); // six hours are slots of a minute
  const { page } = await open({ path: `/?${past}` });
  await drawn(page);
  const sum = (line) => line.flows.reduce((a, b) => a + b, 0);
  assert.ok(sum(want.total) > 0, `nothing to compare in ${past}`);
  const says = await page.locator('.legend .row:not(.head) .value').evaluateAll((values) => values.map((v) => v.title));
  assert.deepEqual(says.map(digits), [...want.lines, ...(want.other ? [want.other] : []), want.total].map(sum));
  await page.getByText('the graph as a table').click();
  assert.equal(await page.locator('.numbers tbody tr').count(), want.starts.length);
  assert.deepEqual(await violations(page), []);
});
