// The table’s groups: networks, a condition on their sums, and numbers times the sampling rate.

import assert from 'node:assert/strict';
import { api, becomes, drawn, exactly, past, search, shot, still, sums, test, violations } from '../harness.mjs';

test('groups by network, having and scaled are asked, shown and carried along', async (open) => {
  await still;
  const { page, wrong } = await open({ path: `/explore?${past}&limit=20` });
  await drawn(page);
  await page.getByLabel('networks, IPv4').selectOption('24');
  await becomes('src-addr/24', async () => (await search(page)).get('key'));
  await page.getByLabel('networks, IPv6').selectOption('48');
  await becomes('src-addr/24/48', async () => (await search(page)).get('key'));
  const having = page.getByLabel('having');
  await having.fill('flows > 1 and byte > 1m');
  await having.press('Enter');
  await page.locator('.having .says', { hasText: 'byte' }).waitFor();
  assert.equal(await page.locator('.having .mark u').innerText(), 'byte');
  assert.equal((await search(page)).get('having'), null, 'what is wrong is not asked');
  assert.deepEqual(await violations(page), []);
  await shot(page, 'having-wrong', false);
  const condition = 'flows > 100 and bytes > 10k';
  await having.fill(condition);
  await having.press('Enter');
  await becomes(condition, async () => (await search(page)).get('having'));
  await page.getByRole('button', { name: 'scaled' }).click();
  await becomes('true', async () => (await search(page)).get('scaled'));
  const want = await api(`top?${past}&key=src-addr/24/48&by=flows&limit=20&having=${encodeURIComponent(condition)}&scaled=true`);
  const rows = page.locator('section table tbody tr:not(.other)');
  await becomes(want.rows.map((r) => sums(r)), async () => Promise.all((await rows.all()).map(exactly)), 'the networks that have so much');
  for (const [i, r] of want.rows.entries()) assert.ok((await rows.nth(i).innerText()).includes(r.label), r.label);
  await page.getByRole('button', { name: 'on the command line' }).last().click();
  await becomes(want.command, () => page.locator('pre').innerText());
  for (const word of ['src-addr/24/48', '--having', '--scaled']) assert.ok(want.command.includes(word), word);
  // Nobody has said the sampling rate: times one is no knowledge.
  if (want.sampling === 'unknown') await page.getByText('scaled by 1, sampling unknown').last().waitFor();
  // A network that is clicked narrows the question to itself.
  const network = want.rows[0].label;
  await rows.first().locator('.value').click();
  await page.getByRole('menuitem', { name: 'only this' }).click();
  await becomes(`src ip ${network}`, async () => (await search(page)).get('filter'));
  await page.goBack();
  await page.getByRole('button', { name: 'Destination', exact: true }).click();
  await becomes('dst-addr/24/48', async () => (await search(page)).get('key'), 'networks stay networks');
  wrong.splice(0, wrong.length, ...wrong.filter((w) => !w.includes('status of 422')));
});
