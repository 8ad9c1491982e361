// The SQL page.

import assert from 'node:assert/strict';
import { shot, test, violations } from '../harness.mjs';

test('SQL: a result, its chart, and what is refused', async (open) => {
  const { page, wrong } = await open({ path: '/sql' });
  await page.locator('.cm-content').click();
  const put = async (text) => {
    await page.keyboard.press('Control+a');
    await page.keyboard.insertText(text);
    await page.keyboard.press('Control+Enter');
  };
  await put("select g as minute, 7 as flows from generate_series(now() - interval '1 hour', now(), interval '1 minute') g");
  await page.getByRole('img', { name: 'The numbers of the result over minute' }).locator('canvas').waitFor();
  await put('delete from flows');
  await page.getByRole('alert').waitFor();
  // The result of before is dimmed, and says of when it is.
  await page.locator('.result.stale').waitFor();
  await page.getByText(/What is shown is of \d\d:\d\d:\d\d, of another statement/).waitFor();
  assert.deepEqual(await violations(page, { before: true }), []);
  await shot(page, 'sql-refused');
  wrong.splice(0, wrong.length, ...wrong.filter((w) => !/status of 4\d\d/.test(w)));
});
