// The filter: it stays from page to page, a click on a value changes it, and typing it is
// helped and checked.

import assert from 'node:assert/strict';
import { api, becomes, digits, drawn, end, exactly, hour, iso, pages, past, search, shot, still, sums, test, violations } from '../harness.mjs';

test('range and filter stay from page to page, back leads back', async (open) => {
  const { page } = await open({ path: `/explore?${past}` });
  await drawn(page);
  await page.keyboard.press('/');
  await page.keyboard.type('proto tcp');
  await page.keyboard.press('Enter');
  await becomes('proto tcp', async () => (await search(page)).get('filter'));
  const way = [...pages.filter((p) => p.name !== 'explore'), pages.find((p) => p.name === 'explore')];
  for (const { name, title } of way) {
    await page.getByRole('navigation', { name: 'Pages' }).getByRole('link', { name: title }).click();
    await page.waitForFunction((n) => location.pathname === '/' + n, name);
    const q = await search(page);
    assert.deepEqual([q.get('filter'), q.get('from'), q.get('to')], ['proto tcp', iso(end - 6 * hour), iso(end)], name);
    // Of events the bar has their words and their filter; that of flows is kept.
    if (name === 'events') assert.equal(await page.getByRole('combobox', { name: 'filter of events' }).inputValue(), '');
    else assert.equal(await page.getByRole('combobox', { name: 'filter', exact: true }).inputValue(), 'proto tcp');
  }
  await page.goBack();
  await page.goBack();
  await page.waitForFunction((n) => location.pathname === '/' + n, way.at(-3).name);
});

test('a value that is clicked narrows the question; its chip turns and goes', async (open) => {
  await still;
  const { page } = await open({ path: `/explore?${past}` });
  await drawn(page);
  const first = page.locator('section table tbody tr').first();
  const addr = await first.locator('.value').innerText();
  await first.locator('.value').click();
  await page.getByRole('menuitem', { name: 'not this' }).waitFor();
  assert.deepEqual(await violations(page), []);
  await shot(page, 'menu', false);
  await page.getByRole('menuitem', { name: 'only this' }).click();
  await becomes(`src ip ${addr}`, async () => (await search(page)).get('filter'));
  const filtered = async (f) => sums((await api(`top?${past}&key=src-addr&by=flows&limit=10&filter=${encodeURIComponent(f)}`)).total);
  await becomes(await filtered(`src ip ${addr}`), () => exactly(page.locator('section table tfoot')), 'only this');
  await page.getByRole('button', { name: `src ip ${addr}: turn round` }).click();
  await becomes(`not src ip ${addr}`, async () => (await search(page)).get('filter'));
  await becomes(await filtered(`not src ip ${addr}`), () => exactly(page.locator('section table tfoot')), 'not this');
  await page.getByRole('button', { name: `not src ip ${addr}: remove` }).click();
  await becomes(null, async () => (await search(page)).get('filter'));
});

test('all about an address', async (open) => {
  await still;
  const { page } = await open({ path: `/explore?${past}` });
  await drawn(page);
  const value = page.locator('section table tbody tr').first().locator('.value');
  const addr = await value.innerText();
  await value.click();
  await page.getByRole('menuitem', { name: 'all about it' }).click();
  const card = page.getByRole('dialog', { name: addr });
  await card.getByText('last seen').waitFor();
  const want = await api(`address/${addr}?${past}`);
  assert.equal(digits((await card.locator('dd[title]').last().getAttribute('title')).split(' flows')[0]), want.out.flows);
  assert.deepEqual(await violations(page), []);
  await shot(page, 'address', false);
  await page.keyboard.press('Escape');
  await card.waitFor({ state: 'hidden' });
});

test('the filter is completed, checked as it is typed, and remembered', async (open) => {
  const { page, wrong } = await open({ path: `/explore?${past}` });
  await drawn(page);
  await page.keyboard.press('/');
  const input = page.getByRole('combobox', { name: 'filter', exact: true });
  await page.keyboard.type('prot');
  await page.locator('[role=option]').first().waitFor();
  assert.deepEqual(await violations(page), []);
  await shot(page, 'filter-complete', false);
  await page.keyboard.press('Tab');
  await becomes('proto ', () => input.inputValue());
  await page.keyboard.type('udp');
  await page.keyboard.press('Enter');
  await becomes('proto udp', async () => (await search(page)).get('filter'));
  await drawn(page);
  await input.fill('prto udp');
  await page.locator('.says .bad').waitFor();
  assert.match(await page.locator('.says .bad').innerText(), /proto/);
  assert.equal(await page.locator('.mark u').innerText(), 'prto');
  assert.deepEqual(await violations(page), []);
  await shot(page, 'filter-wrong', false);
  await input.press('Enter');
  assert.equal((await search(page)).get('filter'), 'proto udp', 'what is wrong is not asked');
  await input.press('Escape');
  await input.press('Escape');
  await page.keyboard.press('/');
  await input.fill('');
  await page.keyboard.press('Escape');
  await page.keyboard.press('/');
  await input.press('ArrowUp');
  await becomes('proto udp', () => input.inputValue());
  wrong.splice(0, wrong.length, ...wrong.filter((w) => !w.includes('status of 422')));
});
