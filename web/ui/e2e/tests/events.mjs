// The page of events.

import assert from 'node:assert/strict';
import { shot, test, violations } from '../harness.mjs';

test('Events: what happened, all of it, by the filter bar in their words', async (open) => {
  const { page } = await open({ path: '/events' });
  const list = page.getByRole('region', { name: 'Events' });
  await list.locator('tbody tr').first().waitFor();
  if (process.env.FLOWTALLY_URL) return; // whether a server has events nobody knows
  await page.getByRole('button', { name: 'denied', exact: true }).first().click();
  await page.waitForFunction(() => document.querySelectorAll('[aria-label="Events"] tbody tr').length === 1);
  assert.match(page.url(), /\/events\?.*events=asa\+event\+deny/);
  await list.getByRole('button', { name: 'All fields of this event' }).click();
  await list.getByText('asaExtendedEvent').waitFor();
  await page.getByRole('combobox', { name: 'filter of events' }).fill('src nat ip 198.51.100.7');
  await page.keyboard.press('Enter');
  await list.getByText('41022').waitFor();
  assert.deepEqual(await violations(page), []);
  await shot(page, 'events');
});

test('Events: the bar is the one of every page, and a filter of flows that means something of events is taken over by a click', async (open) => {
  const { page } = await open({ path: '/events?filter=src+ip+10.1.4.7' });
  const bar = page.getByRole('search', { name: 'Filter' });
  assert.equal(await bar.count(), 1, 'one filter bar');
  assert.equal(await page.getByRole('combobox').and(page.locator('input')).count(), 1, 'and no field of its own besides');
  await bar.getByRole('button', { name: 'as of flows: src ip 10.1.4.7' }).click();
  await page.waitForFunction(() => new URL(location.href).searchParams.get('events') === 'src ip 10.1.4.7');
  await bar.getByRole('list', { name: 'Conditions' }).getByRole('button', { name: 'src ip 10.1.4.7: remove' }).click();
  await page.waitForFunction(() => !new URL(location.href).searchParams.has('events'));
  assert.equal(new URL(page.url()).searchParams.get('filter'), 'src ip 10.1.4.7', 'that of flows is kept');
  await page.getByRole('navigation', { name: 'Pages' }).getByRole('link', { name: 'Explore' }).click();
  assert.equal(await page.getByRole('combobox', { name: 'filter', exact: true }).inputValue(), 'src ip 10.1.4.7');
});
