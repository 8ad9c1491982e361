// What stands under the graph says what the API says, and how that is had elsewhere.

import assert from 'node:assert/strict';
import { api, base, becomes, digits, exactly, past, still, sums, test } from '../harness.mjs';

test('the other tabs say what the API says', async (open) => {
  await still;
  const { page } = await open({ path: `/explore?tab=summary&unit=sum&${past}` });
  await page.getByRole('rowheader', { name: 'all' }).waitFor();
  const summary = await api(`summary?${past}`);
  for (const r of summary.rows) assert.deepEqual(await exactly(page.getByRole('row').filter({ has: page.getByRole('rowheader', { name: r.class, exact: true }) })), sums(r), r.class);
  await page.goto(`${base}/explore?tab=flows&sort=bytes&${past}`);
  const flows = await api(`flows?${past}&sort=bytes&order=desc&limit=50`);
  const rows = page.getByRole('region', { name: 'Flows', exact: true }).locator('tbody tr');
  await rows.first().waitFor();
  assert.equal(await rows.count(), flows.rows.length);
  assert.deepEqual(await rows.first().locator('td.n[title]').evaluateAll((c) => c.map((x) => x.title)).then((t) => t.map(digits)), [flows.rows[0].packets, flows.rows[0].bytes]);
  if (flows.next) {
    await page.getByRole('button', { name: 'next page' }).click();
    const second = await api(`flows?${past}&sort=bytes&order=desc&limit=50&after=${encodeURIComponent(flows.next)}`);
    await becomes(second.rows[0].bytes, async () => digits(await rows.first().locator('td.n[title]').last().getAttribute('title')), 'the second page');
  }
});

// That these words give the same numbers is tested where they can be run (same_test.go).
test('every tab says how its answer is had in SQL and on the command line', async (open) => {
  await still;
  for (const [tab, question, ways] of [['', 'series', 'first'], ['', 'top', 'last'], ['flows', 'flows', 'last'], ['sankey', 'top', 'last'], ['heatmap', 'heatmap', 'last'], ['summary', 'summary', 'last']]) {
    let said = null;
    const { page, close } = await open({
      path: `/explore?tab=${tab}&filter=proto+tcp+or+proto+udp&${past}`,
      route: (p) => p.on('response', async (r) => r.url().includes(`/api/v1/${question}?`) && (said = await r.json().catch(() => said))),
    });
    for (const [name, field] of [['the same in SQL', 'sql'], ['on the command line', 'command']]) {
      // The graph has them, and what stands under it.
      await becomes(2, () => page.getByRole('button', { name }).count(), `${tab}: ${name}`);
      const button = page.getByRole('button', { name })[ways]();
      await button.click();
      await becomes(said?.[field].trimEnd(), () => page.locator('pre').innerText().then((t) => t.trimEnd()), `${tab || 'explore'}, ${question}: ${name}`);
      assert.ok(said[field].length > 20 && (field === 'sql' || said[field].startsWith('flowtally ')), said[field]);
      await button.click();
    }
    await close();
  }
});
