// Saved views.

import assert from 'node:assert/strict';
import { drawn, past, search, shot, test, violations } from '../harness.mjs';

test('a view is saved, opened, changed and deleted', async (open) => {
  const { page } = await open({ path: `/explore?${past}&filter=proto+udp` });
  await drawn(page);
  const name = `e2e ${Date.now()}`;
  await page.getByRole('button', { name: 'save', exact: true }).click();
  await page.getByLabel('Name').fill(name);
  assert.deepEqual(await violations(page), []);
  await shot(page, 'save', false);
  await page.getByRole('dialog').getByRole('button', { name: 'Save' }).click();
  await page.getByRole('dialog').waitFor({ state: 'hidden' });
  await page.getByRole('navigation', { name: 'Pages' }).getByRole('link', { name: 'Overview' }).click();
  await page.getByRole('list', { name: 'Pinned views' }).getByRole('link', { name }).click();
  await page.waitForFunction(() => location.pathname === '/explore');
  assert.equal((await search(page)).get('filter'), 'proto udp');
  await page.getByRole('navigation', { name: 'Pages' }).getByRole('link', { name: 'Saved' }).click();
  const row = page.getByRole('row').filter({ hasText: name });
  await row.getByRole('button', { name: 'Edit' }).click();
  await page.locator('tbody').getByLabel('Name', { exact: true }).fill(name + ' b');
  await page.locator('tbody').getByRole('button', { name: 'Save' }).click();
  await page.getByRole('link', { name: name + ' b' }).waitFor();
  assert.deepEqual(await violations(page), []);
  await shot(page, 'saved-one');
  await row.getByRole('button', { name: 'Delete…' }).click();
  await row.getByRole('button', { name: 'Delete', exact: true }).click();
  await row.waitFor({ state: 'detached' });
});
