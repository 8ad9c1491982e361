// The page of events.

import assert from 'node:assert/strict';
import { shot, test, violations } from '../harness.mjs';

test('Events: what happened, all of it, and a filter of its own', async (open) => {
  const { page } = await open({ path: '/events' });
  const list = page.getByRole('region', { name: 'Events' });
  await list.locator('tbody tr').first().waitFor();
  if (process.env.FLOWTALLY_URL) return; // whether a server has events nobody knows
  await page.getByRole('button', { name: 'denied', exact: true }).first().click();
  await page.waitForFunction(() => document.querySelectorAll('[aria-label="Events"] tbody tr').length === 1);
  assert.match(page.url(), /\/events\?.*events=asa\+event\+deny/);
  await list.getByRole('button', { name: 'All fields of this event' }).click();
  await list.getByText('asaExtendedEvent').waitFor();
  await page.getByLabel('filter of events').fill('src nat ip 198.51.100.7');
  await page.getByRole('button', { name: 'Ask' }).click();
  await list.getByText('41022').waitFor();
  assert.deepEqual(await violations(page), []);
  await shot(page, 'events');
});
