// Every page and every tab of Explore: it shows what it is for, axe finds nothing,
// nothing is wider than the window.

import assert from 'node:assert/strict';
import { drawn, fits, pages, past, shot, sizes, test, violations } from '../harness.mjs';
import { shows } from '../pages.mjs';

for (const size of Object.keys(sizes)) {
  for (const theme of ['light', 'dark']) {
    test(`${size} ${theme}: loads clean, axe finds nothing`, async (open) => {
      const { page } = await open({ size, theme });
      await drawn(page);
      assert.equal(await page.evaluate(() => document.documentElement.dataset.theme), theme);
      assert.deepEqual(await violations(page), []);
      await fits(page);
      await shot(page, `explore-${size}-${theme}`);
    });
  }
}

// Explore is above; one exporter has a page of its own.
const others = pages.filter((p) => p.name !== 'explore').map(({ name, path }) => [name, path, shows(name)]);
others.splice(others.findIndex(([name]) => name === 'exporters') + 1, 0, ['exporter', '/exporters', async (p) => {
  await p.getByRole('region', { name: 'Exporters' }).locator('tbody a').first().click();
  await p.getByRole('heading', { name: 'Interfaces' }).waitFor();
  await p.locator('.ledger li').first().waitFor();
  await p.locator('.checks li').first().waitFor();
}]);
others.push(['add', '/add', (p) => p.getByText('Waiting for the first datagram').waitFor()]);
const tabs = [
  ['flows', `/explore?tab=flows&${past}`, (p) => p.getByRole('region', { name: 'Flows', exact: true }).locator('tbody tr').first().waitFor()],
  ['sankey', `/explore?tab=sankey&${past}`, (p) => p.locator('svg path[stroke]').first().waitFor()],
  ['heatmap', `/explore?tab=heatmap&from=-7d&to=now`, (p) => p.getByRole('region', { name: 'Hours by day' }).waitFor()],
  ['summary', `/explore?tab=summary&${past}`, (p) => p.getByRole('rowheader', { name: 'all' }).waitFor()],
];
const looks = Object.keys(sizes).flatMap((size) => ['light', 'dark'].map((theme) => [size, theme]));
for (const [name, path, ready] of [...others, ...tabs]) {
  test(`${name}: loads clean, axe finds nothing in any look`, async (open) => {
    const { page } = await open({ path });
    await ready(page);
    for (const [size, theme] of looks) {
      await page.setViewportSize(sizes[size]);
      await page.emulateMedia({ colorScheme: theme });
      await page.waitForFunction((t) => document.documentElement.dataset.theme === t, theme);
      assert.deepEqual(await violations(page), [], `${size} ${theme}`);
      await fits(page);
      await shot(page, `${name}-${size}-${theme}`);
    }
  });
}
