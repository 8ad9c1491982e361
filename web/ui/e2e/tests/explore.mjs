// Moving about in Explore: switches, brushing, ranges, pointing.

import assert from 'node:assert/strict';
import { api, becomes, drawn, end, exactly, hour, iso, past, search, shot, still, sums, test, where } from '../harness.mjs';

test('every switch is in the URL, and back leads back', async (open) => {
  const { page } = await open({ path: `/?${past}` });
  await drawn(page);
  const steps = [
    [() => page.getByRole('group', { name: 'Metric' }).getByText('bits').click(), 'metric', 'bits'],
    [() => page.getByRole('button', { name: 'Destination', exact: true }).click(), 'key', 'dst-addr'],
    [() => page.locator('thead').getByRole('button', { name: 'bytes', exact: true }).click(), 'by', 'bytes'],
    [() => page.getByRole('button', { name: 'lines' }).click(), 'style', 'lines'],
    [() => page.locator('section').first().getByRole('combobox').first().selectOption('dst-port'), 'stack', 'dst-port'],
    [() => page.getByRole('button', { name: '24 h' }).click(), 'from', '-24h'],
    [() => page.keyboard.press('l'), 'live', 'off'],
    [() => page.keyboard.press('3'), 'key', 'dst-port'],
    [() => page.getByRole('button', { name: 'log', exact: true }).click(), 'scale', 'log'],
  ];
  const urls = [await where(page)];
  for (const [act, name, value] of steps) {
    await act();
    await page.waitForFunction(([n, v]) => new URLSearchParams(location.search).get(n) === v, [name, value]);
    urls.push(await where(page));
  }
  await drawn(page);
  await shot(page, 'explore-24h-lines');
  for (const u of urls.slice(0, -1).reverse()) {
    await page.goBack();
    await becomes(u, () => where(page));
  }
  assert.equal(await page.getByRole('group', { name: 'Metric' }).locator('[aria-pressed=true]').innerText(), 'flows');
  await drawn(page);
});

test('brushing zooms, clicking pins a slot and the table answers it', async (open) => {
  await still;
  const { page } = await open({ path: `/?${past}` });
  await drawn(page);
  const box = await page.locator('.plot').boundingBox();
  const y = box.y + 120;
  await page.mouse.move(box.x + 300, y);
  await page.locator('.flag').waitFor();
  await shot(page, 'explore-hover');
  await page.mouse.click(box.x + 300, y);
  await page.waitForFunction(() => location.search.includes('pin='));
  await page.locator('.pinned').waitFor();
  const [from, to] = (await search(page)).get('pin').split('/');
  const want = await api(`top?from=${from}&to=${to}&key=src-addr&by=flows&limit=10`);
  await becomes(sums(want.total), () => exactly(page.locator('section table tfoot')), 'the pinned slot');
  await page.mouse.move(5, 5);
  await shot(page, 'explore-pinned');
  await page.keyboard.press('Escape');
  await page.waitForFunction(() => !location.search.includes('pin='));
  await page.mouse.move(box.x + 200, y);
  await page.mouse.down();
  await page.mouse.move(box.x + 420, y, { steps: 5 });
  await shot(page, 'explore-brush');
  await page.mouse.up();
  await page.waitForFunction((p) => !location.search.includes(p), past);
  const zoomed = await search(page);
  const [a, b] = [Date.parse(zoomed.get('from')), Date.parse(zoomed.get('to'))];
  assert.ok(a >= end - 6 * hour && b <= end && b > a && b - a < 3 * hour, `${iso(a)} ${iso(b)}`);
  await drawn(page);
});

test('ranges are typed, stepped and zoomed', async (open) => {
  const { page } = await open({ path: `/?${past}`, zone: 'Europe/Berlin' });
  await drawn(page);
  const shown = async () => {
    const p = await search(page);
    return [p.get('from'), p.get('to')];
  };
  await page.keyboard.press('ArrowLeft');
  await becomes([iso(end - 9 * hour), iso(end - 3 * hour)], shown);
  await page.keyboard.press('-');
  await becomes([iso(end - 12 * hour), iso(end)], shown);
  await page.keyboard.press('t');
  await page.getByLabel('From').fill('yesterdey');
  await page.keyboard.press('Enter');
  assert.match(await page.getByRole('alert').innerText(), /yesterdey.*is not a time/);
  await shot(page, 'explore-typed', false);
  await page.getByLabel('From').fill('2026-01-05 10:00');
  await page.getByLabel('To', { exact: true }).fill('2026-01-05 12:30');
  await page.keyboard.press('Enter');
  await becomes(['2026-01-05T09:00:00Z', '2026-01-05T11:30:00Z'], shown);
});

test('the theme is remembered', async (open) => {
  const { page } = await open();
  await page.getByLabel('Theme').selectOption('dark');
  await page.reload();
  await drawn(page);
  assert.equal(await page.evaluate(() => document.documentElement.dataset.theme), 'dark');
});

test('pointing at a row lights its series', async (open) => {
  const { page } = await open({ path: `/?${past}&stack=src-addr` });
  await drawn(page);
  await page.locator('section table tbody tr').first().hover();
  await page.locator('.legend .row.lit').waitFor();
  await shot(page, 'explore-lit');
});
