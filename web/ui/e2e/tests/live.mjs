// Newer questions, and newer answers.

import assert from 'node:assert/strict';
import { isDeepStrictEqual } from 'node:util';
import { api, becomes, drawn, exactly, sums, test } from '../harness.mjs';

test('a newer question cancels the older', async (open) => {
  const { page } = await open();
  await drawn(page);
  let stopped = 0;
  page.on('requestfailed', (r) => /ERR_ABORTED/.test(r.failure()?.errorText ?? '') && stopped++);
  let first = true;
  await page.route('**/api/v1/top*', (r) => {
    if (first) first = false;
    else void r.continue();
  });
  await page.keyboard.press('2');
  await page.keyboard.press('3');
  await page.locator('thead').getByText('destination port').waitFor();
  await becomes(true, () => stopped >= 1, 'the older request is cancelled');
});

test('live brings new data without a reload, and leaves the pointed row alone', async (open) => {
  const { page } = await open({ path: '/explore?from=-15m&to=now', clock: true });
  await drawn(page);
  await page.evaluate(() => (globalThis.stayed = true));
  const body = page.locator('section table tbody');
  await body.locator('tr').first().hover();
  const row = await body.innerText();
  const answers = [];
  page.on('response', (r) => r.url().includes('/api/v1/top') && answers.push(r.json().catch(() => null)));
  const came = Promise.all(['top', 'series'].map((q) => page.waitForResponse((r) => r.url().includes(`/api/v1/${q}`))));
  await page.clock.fastForward(5000);
  for (const r of await came) await r.finished();
  assert.equal(await body.innerText(), row);
  await page.mouse.move(5, 5);
  await becomes(true, async () => isDeepStrictEqual(await exactly(page.locator('section table tfoot')), sums((await answers.at(-1))?.total ?? {})), 'once nobody points at it, the table shows the newest answer');
  assert.equal(await page.evaluate(() => globalThis.stayed), true);
});
