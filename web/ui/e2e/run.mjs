// The console in a real browser.
//
//   FLOWTALLY_URL       the server to test; without it, canned answers (mock.mjs)
//   FLOWTALLY_CHROMIUM  the browser, /usr/bin/chromium by default
//   FLOWTALLY_SHOTS     a folder for screenshots; without it, none are taken
//
// Whatever the server is, its numbers are compared with what the page says.

import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { chromium } from 'playwright-core';
import { serve } from './mock.mjs';

const browserPath = process.env.FLOWTALLY_CHROMIUM || '/usr/bin/chromium';
if (!existsSync(browserPath)) {
  console.log(`skipped: no browser at ${browserPath}; install chromium, or name one in FLOWTALLY_CHROMIUM`);
  process.exit(0);
}
const shots = process.env.FLOWTALLY_SHOTS || '';
if (shots) mkdirSync(shots, { recursive: true });
const mock = process.env.FLOWTALLY_URL ? null : await serve();
const base = (process.env.FLOWTALLY_URL || `http://127.0.0.1:${mock.address().port}`).replace(/\/$/, '');
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

const browser = await chromium.launch({
  executablePath: browserPath,
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
});

const sizes = { wide: { width: 1280, height: 800 }, phone: { width: 390, height: 844 } };
let failures = 0;

/** open gives a page that remembers what it should not have done. */
async function open({ size = 'wide', theme = 'light', path = '/', zone = 'UTC', route } = {}) {
  const context = await browser.newContext({ viewport: sizes[size], colorScheme: theme, timezoneId: zone, hasTouch: size === 'phone' });
  const page = await context.newPage();
  const wrong = [];
  page.on('console', (m) => m.type() === 'error' && wrong.push(`console: ${m.text()}`));
  page.on('pageerror', (e) => wrong.push(`error: ${e.stack ?? e}`));
  page.on('request', (r) => {
    if (!r.url().startsWith(base) && !r.url().startsWith('data:') && !r.url().startsWith('blob:')) wrong.push(`request to ${r.url()}`);
  });
  if (route) await route(page);
  await page.goto(base + path);
  return { page, wrong, close: () => context.close() };
}

const drawn = async (page) => {
  await page.locator('.plot canvas').waitFor();
  await page.locator('section table tfoot').waitFor();
};

async function violations(page) {
  // evaluate runs through the debugger, which the Content-Security-Policy lets be.
  await page.evaluate(axe);
  const found = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ['violations'] }));
  return found.violations
    .filter((v) => v.impact === 'serious' || v.impact === 'critical')
    .map((v) => `${v.impact} ${v.id}: ${v.nodes.map((n) => n.target.join(' ') + ' ' + (n.any[0]?.message ?? '')).join('; ')}`);
}

const shot = (page, name, full = true) => (shots ? page.screenshot({ path: join(shots, name + '.png'), fullPage: full }) : null);
const digits = (s) => Number((s ?? '').replace(/[^\d]/g, ''));
const search = (page) => new URL(page.url()).searchParams;

async function test(name, fn) {
  const started = Date.now();
  try {
    await fn();
    console.log(`ok    ${name} (${Date.now() - started} ms)`);
  } catch (err) {
    failures++;
    console.log(`FAIL  ${name}\n${err.stack ?? err}`);
  }
}

// A range in the past: its numbers stand still. Where the collector saw
// something is asked from the server itself.
const hour = 3_600_000;
const end = Math.floor(Date.now() / hour) * hour;
const iso = (ms) => new Date(ms).toISOString().replace('.000Z', 'Z');
const past = `from=${iso(end - 6 * hour)}&to=${iso(end)}`;
const api = async (path) => {
  const res = await fetch(`${base}/api/v1/${path}`);
  assert.equal(res.status, 200, `${path}: ${res.status}`);
  return res.json();
};

for (const size of Object.keys(sizes)) {
  for (const theme of ['light', 'dark']) {
    await test(`${size} ${theme}: loads clean, axe finds nothing serious`, async () => {
      const { page, wrong, close } = await open({ size, theme });
      await drawn(page);
      assert.equal(await page.evaluate(() => document.documentElement.dataset.theme), theme);
      assert.deepEqual(await violations(page), []);
      const over = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
      assert.ok(over <= 0, `${over} px wider than the window`);
      await shot(page, `explore-${size}-${theme}`);
      assert.deepEqual(wrong, []);
      await close();
    });
  }
}

await test('the table says what the API says', async () => {
  for (const [key, by] of [
    ['src-addr', 'flows'],
    ['dst-port', 'bytes'],
    ['src-addr,dst-addr', 'packets'],
    ['protocol', 'flows'],
  ]) {
    const want = await api(`top?${past}&key=${key}&by=${by}&limit=20`);
    const { page, wrong, close } = await open({ path: `/?${past}&key=${key}&by=${by}&limit=20` });
    await drawn(page);
    const rows = await page.locator('section table tbody tr').all();
    const n = want.rows.length;
    assert.equal(rows.length, (n || 1) + (want.other ? 1 : 0));
    for (const [i, row] of want.rows.entries()) {
      const cells = rows[i].locator('td.n');
      assert.deepEqual(
        [0, 1, 2].map(() => 0) && (await Promise.all([0, 1, 2].map(async (c) => digits(await cells.nth(c).getAttribute('title'))))),
        [row.flows, row.packets, row.bytes],
        `row ${i}`,
      );
      const text = await rows[i].innerText();
      for (const v of key.includes(',') ? Object.values(row.values) : [row.label]) assert.ok(text.includes(String(v)), `${text} lacks ${v}`);
    }
    const total = page.locator('tfoot td.n');
    assert.deepEqual(await Promise.all([0, 1, 2].map(async (c) => digits(await total.nth(c).getAttribute('title')))), [want.total.flows, want.total.packets, want.total.bytes]);
    await page.getByRole('button', { name: 'the same in SQL' }).last().click();
    assert.equal(await page.locator('pre').innerText(), want.sql.trimEnd());
    await page.getByRole('button', { name: 'on the command line' }).last().click();
    assert.equal(await page.locator('pre').innerText(), want.command);
    assert.deepEqual(wrong, []);
    await close();
  }
});

await test('the legend adds up to the API’s series, and the table behind the graph has its slots', async () => {
  const want = await api(`series?${past}&key=protocol&by=flows&limit=8`);
  const { page, wrong, close } = await open({ path: `/?${past}` });
  await drawn(page);
  const sum = want.total.flows.reduce((a, b) => a + b, 0);
  assert.equal(digits(await page.locator('.legend .total .value').getAttribute('title')), sum);
  await page.getByText('the graph as a table').click();
  assert.equal(await page.locator('.numbers tbody tr').count(), want.starts.length);
  assert.deepEqual(await violations(page), []);
  assert.deepEqual(wrong, []);
  await close();
});

await test('every switch is in the URL, and back leads back', async () => {
  const { page, wrong, close } = await open({ path: `/?${past}` });
  await drawn(page);
  const steps = [
    [() => page.getByRole('group', { name: 'Metric' }).getByText('bits').click(), 'metric', 'bits'],
    [() => page.getByRole('button', { name: 'Destination', exact: true }).click(), 'key', 'dst-addr'],
    [() => page.locator('thead').getByRole('button', { name: 'bytes', exact: true }).click(), 'by', 'bytes'],
    [() => page.getByRole('button', { name: 'lines' }).click(), 'style', 'lines'],
    [() => page.locator('section').first().getByRole('combobox').first().selectOption('dst-port'), 'stack', 'dst-port'],
    [() => page.getByRole('button', { name: '24 h' }).click(), 'from', '-24h'],
    [() => page.keyboard.press('l'), 'live', 'off'],
    [() => page.keyboard.press('6'), 'key', 'protocol'],
  ];
  const urls = [page.url()];
  for (const [act, name, value] of steps) {
    await act();
    await page.waitForFunction(([n, v]) => new URLSearchParams(location.search).get(n) === v, [name, value]);
    urls.push(page.url());
  }
  await drawn(page);
  await shot(page, 'explore-24h-lines');
  for (const u of urls.slice(0, -1).reverse()) {
    await page.goBack();
    assert.equal(page.url(), u);
  }
  assert.equal(await page.getByRole('group', { name: 'Metric' }).locator('[aria-pressed=true]').innerText(), 'flows');
  await drawn(page);
  assert.deepEqual(wrong, []);
  await close();
});

await test('brushing zooms, clicking pins a slot and the table answers it', async () => {
  const { page, wrong, close } = await open({ path: `/?${past}` });
  await drawn(page);
  const box = await page.locator('.plot').boundingBox();
  const y = box.y + 120;
  await page.mouse.move(box.x + 300, y);
  await page.locator('.flag').waitFor();
  await shot(page, 'explore-hover');
  await page.mouse.click(box.x + 300, y);
  await page.waitForFunction(() => location.search.includes('pin='));
  await page.locator('.pinned').waitFor();
  const [from, to] = search(page).get('pin').split('/');
  const want = await api(`top?from=${from}&to=${to}&key=src-addr&by=flows&limit=10`);
  await page.waitForFunction((n) => document.querySelector('tfoot td.n')?.title.replace(/\D/g, '') === String(n), want.total.flows);
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
  const [a, b] = [Date.parse(search(page).get('from')), Date.parse(search(page).get('to'))];
  assert.ok(a >= end - 6 * hour && b <= end && b - a < 3 * hour, `${iso(a)} ${iso(b)}`);
  await drawn(page);
  assert.deepEqual(wrong, []);
  await close();
});

await test('ranges are typed, stepped and zoomed', async () => {
  const { page, wrong, close } = await open({ path: `/?${past}`, zone: 'Europe/Berlin' });
  await drawn(page);
  await page.keyboard.press('ArrowLeft');
  assert.equal(Date.parse(search(page).get('to')), end - 3 * hour);
  await page.keyboard.press('-');
  assert.equal(Date.parse(search(page).get('to')) - Date.parse(search(page).get('from')), 12 * hour);
  await page.keyboard.press('t');
  await page.getByLabel('From').fill('yesterdey');
  await page.keyboard.press('Enter');
  assert.match(await page.getByRole('alert').innerText(), /yesterdey.*is not a time/);
  await shot(page, 'explore-typed', false);
  await page.getByLabel('From').fill('2026-01-05 10:00');
  await page.getByLabel('To', { exact: true }).fill('2026-01-05 12:30');
  await page.keyboard.press('Enter');
  assert.equal(search(page).get('from'), '2026-01-05T09:00:00Z');
  assert.equal(search(page).get('to'), '2026-01-05T11:30:00Z');
  assert.deepEqual(wrong, []);
  await close();
});

await test('the theme is remembered', async () => {
  const { page, close } = await open();
  await page.getByLabel('Theme').selectOption('dark');
  await page.reload();
  await drawn(page);
  assert.equal(await page.evaluate(() => document.documentElement.dataset.theme), 'dark');
  await close();
});

await test('pointing at a row lights its series', async () => {
  const { page, close } = await open({ path: `/?${past}&stack=src-addr` });
  await drawn(page);
  await page.locator('section table tbody tr').first().hover();
  await page.locator('.legend .row.lit').waitFor({ timeout: 3000 });
  await shot(page, 'explore-lit');
  await close();
});

const json = (page, path, body, status = 200, type = 'application/json') => page.route(`**/api/v1/${path}*`, (r) => r.fulfill({ status, contentType: type, body: JSON.stringify(body) }));

for (const [size, theme] of [
  ['wide', 'light'],
  ['phone', 'dark'],
]) {
  await test(`${size} ${theme}: nothing yet says how to begin`, async () => {
    const { page, wrong, close } = await open({ size, theme, route: (p) => json(p, 'exporters', { exporters: [], collector: { listen: '192.0.2.200:9995' } }) });
    await page.getByText('Waiting for the first datagram').waitFor();
    for (const name of ['flowtally exporter', 'OpenBSD pf', 'softflowd', 'Cisco IOS', 'MikroTik']) {
      await page.getByRole('button', { name }).click();
      assert.match(await page.locator('pre').innerText(), /192\.0\.2\.200/);
    }
    await page.getByRole('button', { name: 'OpenBSD pf' }).click();
    assert.deepEqual(await violations(page), []);
    assert.ok((await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth)) <= 0);
    await shot(page, `start-${size}-${theme}`);
    assert.deepEqual(wrong, []);
    await close();
  });
}

await test('no match, error, slow and silent are states of their own', async () => {
  const far = 'from=2001-01-01T00:00:00Z&to=2001-01-01T06:00:00Z';
  const empty = {
    from: '2001-01-01T00:00:00Z', to: '2001-01-01T06:00:00Z', key: 'src-addr', by: 'flows', limit: 10, source: 'flows', resolution: '1 ms', exact: true, took_ms: 1, sql: 'select 1', command: 'flowtally top',
  };
  let x = await open({
    path: `/?${far}`,
    route: async (p) => {
      await json(p, 'top', { ...empty, rows: [], other: null, total: { flows: 0, packets: 0, bytes: 0 } });
      const zero = { label: 'total', flows: [0, 0], packets: [0, 0], bytes: [0, 0] };
      await json(p, 'series', { ...empty, key: 'protocol', step_seconds: 10800, starts: ['2001-01-01T00:00:00Z', '2001-01-01T03:00:00Z'], lines: [], other: null, total: zero });
    },
  });
  await x.page.getByText('No flows in this range.').first().waitFor();
  assert.deepEqual(await violations(x.page), []);
  await shot(x.page, 'state-no-match');
  await x.close();

  x = await open({ route: (p) => json(p, 'top', { title: 'Unprocessable Entity', status: 422, detail: 'unknown key "src-adr": did you mean src-addr?' }, 422, 'application/problem+json') });
  await x.page.getByText('did you mean src-addr?').waitFor();
  assert.deepEqual(await violations(x.page), []);
  await shot(x.page, 'state-error');
  await x.close();

  x = await open({
    route: async (p) => {
      await p.route('**/api/v1/series*', () => {});
      await p.route('**/api/v1/top*', () => {});
    },
  });
  await x.page.getByText('Asking for the graph').waitFor();
  assert.deepEqual(await violations(x.page), []);
  await shot(x.page, 'state-slow');
  await x.page.getByRole('button', { name: 'Cancel' }).first().click();
  await x.page.getByText('Cancelled.').first().waitFor();
  await x.close();

  const quiet = { id: 1, name: 'edge-1', label: 'edge-1', addr: '192.0.2.7', observation_domain: 0, version: 10, first_seen: iso(end - 48 * hour), last_seen: iso(Date.now() - 4 * 60_000), datagrams: 1, records: 1, packets: 1, bytes: 1, sampling_rate: null, clock_offset_ms: 0 };
  x = await open({ theme: 'dark', route: (p) => json(p, 'exporters', { exporters: [quiet], collector: { listen: ':9995' } }) });
  await x.page.getByText('No datagram from any exporter for 4').waitFor();
  await drawn(x.page);
  assert.deepEqual(await violations(x.page), []);
  await shot(x.page, 'state-silent');
  await x.close();
});

await test('a newer question cancels the older', async () => {
  const { page, close } = await open();
  await drawn(page);
  let stopped = 0;
  page.on('requestfailed', (r) => /ERR_ABORTED/.test(r.failure()?.errorText ?? '') && stopped++);
  let first = true;
  await page.route('**/api/v1/top*', (r) => {
    if (first) first = false;
    else void r.continue();
  });
  await page.keyboard.press('2');
  await page.keyboard.press('3');
  await page.getByText('address, either side').waitFor();
  assert.ok(stopped >= 1);
  await close();
});

await test('live brings new data without a reload, and leaves the pointed row alone', async () => {
  const { page, wrong, close } = await open({ path: '/?from=-15m&to=now' });
  await drawn(page);
  await page.evaluate(() => (globalThis.stayed = true));
  await page.locator('section table tbody tr').first().hover();
  const row = await page.locator('section table tbody').innerText();
  await page.waitForResponse((r) => r.url().includes('/api/v1/top'), { timeout: 15_000 });
  await page.waitForResponse((r) => r.url().includes('/api/v1/series'), { timeout: 15_000 });
  await page.waitForTimeout(100);
  assert.equal(await page.locator('section table tbody').innerText(), row);
  assert.equal(await page.evaluate(() => globalThis.stayed), true);
  assert.deepEqual(wrong, []);
  await close();
});

await test('print is clean, 360 px is wide enough, the first page is small', async () => {
  const { page, close } = await open({ path: `/?${past}&key=src-addr,dst-addr` });
  const sizesOf = [];
  page.on('response', (r) => sizesOf.push(r));
  await page.reload();
  await drawn(page);
  let total = 0;
  for (const r of sizesOf) {
    const path = new URL(r.url()).pathname;
    if (path.startsWith('/api/') || path.includes('/chart-')) continue;
    total += gzipSync(Buffer.from(await (await fetch(r.url())).arrayBuffer())).length;
  }
  assert.ok(total > 0 && total <= 150 * 1024, `first page is ${total} bytes gzip`);
  await page.setViewportSize({ width: 360, height: 740 });
  assert.ok((await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth)) <= 0, 'wider than 360 px');
  await shot(page, 'explore-360');
  await page.setViewportSize({ width: 800, height: 1100 });
  await page.emulateMedia({ media: 'print' });
  await shot(page, 'explore-print');
  await close();
  console.log(`      first page before the chart's code: ${(total / 1024).toFixed(1)} KiB gzip`);
});

await browser.close();
mock?.close();
console.log(failures ? `${failures} failed` : 'all passed');
process.exit(failures ? 1 : 0);
