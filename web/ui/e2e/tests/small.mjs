// On a phone: help is reachable, tabs say that there are more, nothing is cut.

import assert from 'node:assert/strict';
import { api, base, becomes, fits, pages, past, shot, test, violations } from '../harness.mjs';

// What is cut: text that is wider than its box, or lies outside of the window. What stands
// in a rail is reached by scrolling it, and a rail says so; titles hold names that are long.
const cut = () =>
  [...document.querySelectorAll('body *')]
    .filter((e) => {
      const s = getComputedStyle(e);
      const r = e.getBoundingClientRect();
      if (!r.width || s.visibility === 'hidden' || e.closest('.hidden, .rail, svg, .beside, option, .chips, .cm-editor, .result')) return false;
      if (![...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim())) return false;
      return (s.overflowX !== 'visible' && e.scrollWidth > e.clientWidth + 1) || r.right > innerWidth + 1 || r.left < -1;
    })
    .map((e) => `${e.tagName} ${e.className}: ${e.textContent.trim().slice(0, 60)}`);

const looks = [
  ...pages.map((p) => p.path),
  ...['', '&tab=flows', '&tab=sankey', '&tab=summary', '&key=src-addr,dst-addr', '&key=protocol', '&key=dst-port', '&metric=bits&mirror=net', '&filter=src+ip+203.0.113.99'].map((q) => `/explore?${past}${q}`),
  '/explore?tab=heatmap&from=-7d&to=now',
];

for (const width of [360, 390]) {
  test(`${width} px: nothing is cut, nothing is wider than the window, on every page`, async (open) => {
    const { page } = await open({ size: 'phone' });
    await page.setViewportSize({ width, height: 780 });
    for (const path of [...looks, '/add', `/exporters?of=${(await api('exporters')).exporters[0].id}`]) {
      await page.goto(base + path);
      await page.waitForLoadState('networkidle');
      await page.waitForFunction(() => !document.querySelector('.stale, main .bone'));
      await fits(page);
      await page.evaluate(() => document.fonts.ready);
      // A list that scrolls sideways hides its last columns.
      await becomes(0, () => page.locator('.all, .scroll:not(.result)').evaluateAll((all) => Math.max(0, ...all.map((e) => e.scrollWidth - e.clientWidth - 1))), `${path} at ${width}: px to scroll sideways`);
      assert.deepEqual(await page.evaluate(cut), [], `${path} at ${width}`);
      await shot(page, `cut-${width}-${path.slice(1).replace(/\W+/g, '-').slice(0, 60)}`);
    }
  });

  test(`${width} px: help is reached, and rails of tabs say that there are more`, async (open) => {
    const { page } = await open({ size: 'phone', path: `/explore?${past}` });
    await page.setViewportSize({ width, height: 780 });
    await page.getByRole('button', { name: 'Help and keys' }).click();
    const help = page.getByRole('dialog', { name: 'Help' });
    await help.getByText('keeps it', { exact: false }).or(help.getByText('Click a value to keep it')).first().waitFor();
    assert.deepEqual(await violations(page), []);
    const box = await help.boundingBox();
    assert.ok(box.x >= 0 && box.x + box.width <= width && box.y >= 0 && box.y + box.height <= 780, JSON.stringify(box));
    await shot(page, `help-${width}`, false);
    await help.getByRole('button', { name: 'Close' }).click();
    const tabs = page.getByRole('group', { name: 'Answers' });
    await tabs.locator('.more.right').waitFor();
    assert.equal(await tabs.locator('.more.left').count(), 0, 'nothing is before the first');
    for (let i = 0; (await tabs.locator('.more.right').count()) && i < 8; i++) {
      await tabs.locator('.more.right').click({ timeout: 5000 }).catch(() => {});
      await page.waitForTimeout(400); // it scrolls smoothly
    }
    const last = await tabs.getByRole('button', { name: 'Summary' }).boundingBox();
    assert.ok(last.x + last.width <= width, 'the last is in sight');
    await tabs.locator('.more.left').waitFor();
    await tabs.getByRole('button', { name: 'Heat map' }).click();
    await page.getByRole('region', { name: 'Hours by day' }).waitFor();
    // The one that is chosen is in sight when the page is opened there.
    await page.reload();
    await becomes(true, async () => {
      const b = await tabs.getByRole('button', { name: 'Heat map' }).boundingBox();
      return b !== null && b.x >= 0 && b.x + b.width <= width;
    }, 'the chosen one is in sight');
    for (const { title } of pages) {
      const link = page.getByRole('navigation', { name: 'Pages' }).getByRole('link', { name: title });
      await link.click();
      await becomes(true, async () => {
        const b = await link.boundingBox();
        return b.x >= -1 && b.x + b.width <= width + 1;
      }, `${title} is in sight`);
    }
  });
}
