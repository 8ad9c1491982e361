// On a phone.

import assert from 'node:assert/strict';
import { api, base, becomes, digits, drawn, fits, past, search, shot, test, violations } from '../harness.mjs';

test('on a phone every bar is one line, and its controls are in a sheet', async (open) => {
  const { page } = await open({ size: 'phone', path: `/explore?${past}` });
  for (const width of [390, 360]) {
    await page.setViewportSize({ width, height: 844 });
    await drawn(page);
    const height = async (what) => (await page.locator(what).first().boundingBox()).height;
    assert.ok((await height('section .tools')) <= 52, `${width}: the graph's bar is ${await height('section .tools')} px high`);
    assert.ok((await page.locator('section .tools').last().boundingBox()).height <= 40, `${width}: the table's bar`);
    const plot = await page.locator('.plot').boundingBox();
    assert.ok(plot.width >= width - 40 && plot.y < 300, `${width}: the graph has the width, from ${plot.y}`);
    await page.getByRole('button', { name: 'Graph options' }).click();
    const sheet = page.getByRole('dialog', { name: 'Graph' });
    await sheet.getByRole('button', { name: width === 390 ? 'bits' : 'packets' }).click();
    await becomes(width === 390 ? 'bits' : 'packets', async () => (await search(page)).get('metric'));
    assert.deepEqual(await violations(page), []);
    await fits(page);
    await shot(page, `sheet-${width}`, false);
    await sheet.getByRole('button', { name: 'Done' }).click();
    await sheet.waitFor({ state: 'detached' });
    await page.getByRole('button', { name: 'Table options' }).click();
    await page.getByRole('dialog', { name: 'Table' }).getByLabel('having').waitFor();
    await shot(page, `sheet-table-${width}`, false);
    await page.keyboard.press('Escape');
    await page.getByRole('dialog', { name: 'Table' }).waitFor({ state: 'detached' });
  }
});

test('on a phone nothing has to be scrolled sideways, and a flow opens under its row', async (open) => {
  const { page } = await open({ size: 'phone', path: `/explore?tab=flows&sort=packets&${past}` });
  for (const width of [390, 360]) {
    await page.setViewportSize({ width, height: 844 });
    for (const [tab, ready] of [['flows', 'tr.tap'], ['sankey', 'svg path[stroke]'], ['heatmap', 'td button'], ['summary', 'tbody th'], ['', 'tfoot']]) {
      await page.goto(`${base}/explore?sort=packets&${past}&tab=${tab}&key=src-addr,dst-addr`);
      await page.locator(`section:last-of-type ${ready}`).first().waitFor({ state: 'attached' });
      await fits(page);
      await becomes(0, () => page.locator('section .scroll').evaluateAll((all) => Math.max(0, ...all.map((e) => e.scrollWidth - e.clientWidth))), `${tab} at ${width}: px to scroll sideways`);
      if (tab !== 'flows') continue;
      const row = page.locator('tr.tap').first();
      const want = (await api(`flows?${past}&sort=packets&order=desc&limit=50`)).rows[0];
      assert.equal(digits(await row.locator('.amount').getAttribute('title')), want.packets, 'the sorted column is there');
      await row.click({ position: { x: 4, y: 4 } });
      await page.locator('td.all', { hasText: want.src_addr }).waitFor();
      assert.deepEqual(await violations(page), []);
      await shot(page, `flows-${width}`, false);
    }
  }
});
