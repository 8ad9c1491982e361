// What is each one’s own: names beside addresses, and preferences.

import assert from 'node:assert/strict';
import { base, drawn, past, shot, test, violations } from '../harness.mjs';

test('names stand beside the addresses, a hundred asked for at once', async (open) => {
  const asked = [];
  const { page } = await open({
    path: `/explore?${past}&limit=200`,
    route: (p) =>
      p.route('**/api/v1/names?*', (r) => {
        const addrs = new URL(r.request().url()).searchParams.getAll('addr');
        asked.push(addrs);
        return r.fulfill({ json: { names: Object.fromEntries(addrs.map((a) => [a, `host-${a.replaceAll(/[.:]/g, '-')}.example`])) } });
      }),
  });
  await drawn(page);
  const row = page.locator('section table tbody tr').first();
  const addr = await row.locator('.value').innerText();
  await row.getByText(`host-${addr.replaceAll(/[.:]/g, '-')}.example`).waitFor();
  assert.ok(asked.every((a) => a.length > 0 && a.length <= 100), 'at most 100 at once');
  assert.equal(new Set(asked.flat()).size, asked.flat().length, 'none twice');
  assert.deepEqual(await violations(page), []);
  await shot(page, 'names');
});

test('preferences: kept in the browser, and the address wins', async (open) => {
  const { page } = await open();
  await drawn(page);
  const set = async (label, value) => {
    await page.getByRole('button', { name: 'Preferences' }).click();
    await page.getByRole('dialog').getByLabel(label).selectOption(value);
    assert.deepEqual(await violations(page), []);
    await shot(page, 'preferences', false);
    await page.keyboard.press('Escape');
    await page.getByRole('dialog').waitFor({ state: 'hidden' });
  };
  await set('A page begins with', '-24h');
  await set('Traffic a second in', 'bytes');
  await set('Rows of a table', '20');
  await page.goto(`${base}/explore`);
  await drawn(page);
  const asked = page.waitForRequest((r) => r.url().includes('/api/v1/top?'));
  await page.reload();
  const q = new URL((await asked).url()).searchParams;
  assert.deepEqual([q.get('from'), q.get('limit')], ['-24h', '20'], 'a bare address means what is preferred');
  await page.getByText('B/s').first().waitFor();
  const other = page.waitForRequest((r) => r.url().includes('/api/v1/top?'));
  await page.goto(`${base}/explore?metric=bits`);
  const w = new URL((await other).url()).searchParams;
  assert.deepEqual([w.get('from'), w.get('limit')], ['-6h', '10'], 'one that says something means the same to everybody');
});
