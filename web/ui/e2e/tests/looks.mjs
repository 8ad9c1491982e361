// Every page and every tab of Explore: it shows what it is for, axe finds nothing serious,
// nothing is wider than the window.

import assert from 'node:assert/strict';
import { drawn, fits, pages, past, shot, shots, sizes, test, violations } from '../harness.mjs';
import { shows } from '../pages.mjs';

for (const size of Object.keys(sizes)) {
  for (const theme of ['light', 'dark']) {
    test(`${size} ${theme}: loads clean, axe finds nothing serious`, async (open) => {
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
const others = pages.filter((p) => p.name !== 'explore').map(({ name, path }) => [name, path, shows(name), name === 'overview']);
others.splice(others.findIndex(([name]) => name === 'exporters') + 1, 0, ['exporter', '/exporters', async (p) => {
  await p.getByRole('region', { name: 'Exporters' }).locator('tbody a').first().click();
  await p.getByRole('heading', { name: 'Interfaces' }).waitFor();
  await p.locator('.ledger li').first().waitFor();
  await p.locator('.checks li').first().waitFor();
}]);
const tabs = [
  ['flows', `/explore?tab=flows&${past}`, (p) => p.getByRole('region', { name: 'Flows', exact: true }).locator('tbody tr').first().waitFor()],
  ['sankey', `/explore?tab=sankey&${past}`, (p) => p.locator('svg path[stroke]').first().waitFor()],
  ['heatmap', `/explore?tab=heatmap&from=-7d&to=now`, (p) => p.getByRole('region', { name: 'Hours by day' }).waitFor()],
  ['summary', `/explore?tab=summary&${past}`, (p) => p.getByRole('rowheader', { name: 'all' }).waitFor()],
];
// Who looks at the pictures wants all four looks; every day two of them hold each theme and each size.
const looks = shots ? [['wide', 'light'], ['wide', 'dark'], ['phone', 'light'], ['phone', 'dark']] : [['wide', 'light'], ['phone', 'dark']];
for (const [name, path, ready, all] of [...others, ...tabs]) {
  test(`${name}: loads clean, axe finds nothing serious in any look`, async (open) => {
    const { page } = await open({ path });
    await ready(page);
    for (const [size, theme] of all ? [...new Set([...looks, ['wide', 'dark'], ['phone', 'light']].map(String))].map((l) => l.split(',')) : looks) {
      await page.setViewportSize(sizes[size]);
      await page.emulateMedia({ colorScheme: theme });
      await page.waitForFunction((t) => document.documentElement.dataset.theme === t, theme);
      assert.deepEqual(await violations(page), [], `${size} ${theme}`);
      await fits(page);
      await shot(page, `${name}-${size}-${theme}`);
    }
  });
}
