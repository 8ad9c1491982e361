// The graph: earlier periods, in and out, and the saved views as lines.

import assert from 'node:assert/strict';
import { api, base, becomes, digits, drawn, past, search, shot, still, test, violations } from '../harness.mjs';

test('previous periods are laid over, in any style', async (open) => {
  const { page } = await open({ path: `/explore?${past}&over=8` });
  await drawn(page);
  await becomes(8, () => page.locator('.legend .earlier').count(), 'eight weeks');
  await page.getByRole('button', { name: 'log', exact: true }).click();
  await page.getByRole('button', { name: '100 %' }).click();
  await page.waitForFunction(() => location.search.includes('style=percent'));
  await drawn(page);
  await shot(page, 'explore-percent');
});

/** ink counts the pixels of a colour in the upper and in the lower part of the graph, on either side of its zero. */
const ink = (page, colour, zero = 0.5) =>
  page.evaluate(
    ([c, z]) => {
      const canvas = document.querySelector('.plot canvas');
      const [r, g, b] = [1, 3, 5].map((i) => parseInt(c.slice(i, i + 2), 16));
      const { data, width, height } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
      const found = [0, 0];
      for (let i = 0; i < data.length; i += 4) {
        if (Math.abs(data[i] - r) + Math.abs(data[i + 1] - g) + Math.abs(data[i + 2] - b) < 90 && data[i + 3] > 100) found[Math.floor(i / 4 / width) < height * z ? 0 : 1]++;
      }
      return found;
    },
    [colour, zero],
  );

const inside = '10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 fc00::/7';
const series = (more) => api(`series?${new URLSearchParams({ ...Object.fromEntries(new URLSearchParams(past)), by: 'flows', ...more })}`);
const summed = (line) => line.flows.reduce((a, b) => a + b, 0);

test('in is drawn above, out below, and both are what the API says', async (open) => {
  await still;
  const [into, out] = await Promise.all([`dst net in [${inside}]`, `src net in [${inside}]`].map((filter) => series({ key: 'protocol', limit: '8', filter })));
  const { page, requested } = await open({ path: `/explore?${past}&over=1` });
  await drawn(page);
  await page.locator('select.mirror').selectOption('net');
  await becomes('net', async () => (await search(page)).get('mirror'));
  await page.getByText('out ↓').waitFor();
  const cells = (name) => page.locator('.legend .row', { has: page.locator('.name', { hasText: new RegExp(`^${name}$`) }) }).locator('.value').evaluateAll((c) => c.map((x) => x.title.split(',')[0])).then((t) => t.map(digits));
  await becomes([summed(into.total), summed(out.total)], () => cells('total'), 'the sums of both sides');
  const both = into.lines.map((l) => l.label).filter((l) => out.lines.some((m) => m.label === l));
  assert.ok(both.length > 0, 'some protocol goes both ways');
  for (const label of both) assert.deepEqual(await cells(label), [into, out].map((a) => summed(a.lines.find((l) => l.label === label))), label);
  const colour = await page.locator('.legend .entry i').first().evaluate((e) => '#' + getComputedStyle(e).backgroundColor.match(/\d+/g).slice(0, 3).map((n) => Number(n).toString(16).padStart(2, '0')).join(''));
  const [up, down] = await ink(page, colour);
  assert.ok(up > 50 && down > 50, `one colour on both sides: ${up} and ${down} pixels`);
  // Powers of ten have no zero: the switch says why, and does nothing.
  const log = page.getByRole('button', { name: 'log', exact: true });
  assert.equal(await log.getAttribute('aria-disabled'), 'true');
  await log.click({ force: true });
  assert.equal((await search(page)).get('scale'), null);
  await page.getByRole('button', { name: 'on the command line' }).first().click();
  const text = await page.locator('pre').innerText();
  assert.ok(text.includes('# in\n' + into.command.slice(0, 16)) && text.includes('# out\n'), text);
  await page.getByRole('button', { name: 'on the command line' }).first().click();
  for (const style of ['lines', '100 %', 'stacked']) {
    await page.getByRole('button', { name: style, exact: true }).click();
    await page.getByText('out ↓').waitFor();
  }
  assert.deepEqual(await violations(page), []);
  await shot(page, 'explore-in-out', false);
  // Whose networks: what is none is said, what is one is asked.
  const field = page.getByRole('textbox', { name: 'inside' });
  await field.fill('10.0.0.0/33');
  await field.press('Enter');
  await page.getByRole('alert').filter({ hasText: '10.0.0.0/33 is not a network' }).waitFor();
  await field.fill('10.20.0.0/16');
  await field.press('Enter');
  await becomes('10.20.0.0/16', async () => (await search(page)).get('inside'));
  await becomes(true, async () => requested.some((u) => new URL(u).searchParams.get('filter') === 'src net 10.20.0.0/16'), 'the networks are asked for');
  await page.goto(`${base}/explore?${past}&mirror=3&filter=${encodeURIComponent('proto tcp or proto udp')}`);
  await page.getByText('In came by interface 3').waitFor();
  const filters = requested.filter((u) => u.includes('/series?')).map((u) => new URL(u).searchParams.get('filter'));
  for (const side of ['in', 'out']) assert.ok(filters.includes(`(proto tcp or proto udp) and ${side} if 3`), `${side}: ${filters}`);
});

test('saved views are lines of one graph, each in its colour and on its side', async (open) => {
  await still;
  const { page } = await open({ path: `/saved?${past}` });
  const tag = `e2e line ${Date.now()}`;
  const made = [
    { name: tag + ' up', filter: 'proto udp', color: '#009a70', sign: '+' },
    { name: tag + ' down', filter: 'proto tcp', color: '#b4538f', sign: '-' },
  ];
  const ids = await page.evaluate(
    (list) => Promise.all(list.map(async (x) => (await (await fetch('/api/v1/views', { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ ...x, url: '/explore?filter=x', pinned: false }) })).json()).id)),
    made,
  );
  try {
    await page.goto(`${base}/explore?${past}`);
    await drawn(page);
    await page.locator('select.by').selectOption('views');
    await becomes('views', async () => (await search(page)).get('stack'));
    for (const x of made) {
      const row = page.locator('.legend .entry').filter({ hasText: x.name });
      await row.waitFor();
      assert.equal(digits(await row.locator('.value').first().getAttribute('title')), summed((await series({ filter: x.filter })).total), x.name);
      assert.equal(await row.getByText('below').count(), x.sign === '-' ? 1 : 0, x.name);
    }
    await page.getByRole('button', { name: 'lines', exact: true }).click();
    // Which part of the height is above zero follows from the numbers: each colour has its side.
    const [[upAbove], [, downBelow]] = [await ink(page, made[0].color, 0.45), await ink(page, made[1].color, 0.35)];
    assert.ok(upAbove > 20 && downBelow > 20, `${upAbove} ${downBelow}`);
    assert.deepEqual(await violations(page), []);
    await shot(page, 'explore-views', false);
    await page.getByRole('button', { name: 'on the command line' }).first().click();
    const text = await page.locator('pre').innerText();
    for (const x of made) assert.ok(text.includes(`# ${x.name}\n`), text);
  } finally {
    await page.evaluate((list) => Promise.all(list.map((id) => fetch(`/api/v1/views/${id}`, { method: 'DELETE' }))), ids);
  }
});
