// The console in a real browser.
//
//   FLOWTALLY_URL       the server to test; without it, canned answers (mock.mjs)
//   FLOWTALLY_CHROMIUM  the browser, /usr/bin/chromium by default
//   FLOWTALLY_SHOTS     a folder for screenshots; without it, none are taken
//
// Whatever the server is, its numbers are compared with what the page says: over a
// range in the past, where they stand still. Nothing here waits for time to pass,
// only for what the page is to show.

import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
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
// patience is for the slowest machine; nothing waits that long where all is well.
const patience = 20_000;

/**
 * open gives a page that remembers what it asked for and what it should not have
 * done. With clock, its time can be put forward.
 */
async function open({ size = 'wide', theme = 'light', path = '/explore', zone = 'UTC', clock = false, route } = {}) {
  const context = await browser.newContext({ viewport: sizes[size], colorScheme: theme, timezoneId: zone, hasTouch: size === 'phone' });
  context.setDefaultTimeout(patience);
  const page = await context.newPage();
  const wrong = [];
  const requested = [];
  page.on('console', (m) => m.type() === 'error' && wrong.push(`console: ${m.text()}`));
  page.on('pageerror', (e) => wrong.push(`error: ${e.stack ?? e}`));
  page.on('request', (r) => {
    requested.push(r.url());
    if (!r.url().startsWith(base) && !r.url().startsWith('data:') && !r.url().startsWith('blob:')) wrong.push(`request to ${r.url()}`);
  });
  if (clock) await page.clock.install();
  if (route) await route(page);
  await page.goto(base + path);
  return { page, wrong, requested, close: () => context.close() };
}

/** drawn waits until the graph and the table show an answer. */
const drawn = async (page) => {
  await page.locator('.plot .unit').waitFor();
  await page.locator('section table tfoot').waitFor();
};

/** becomes waits until ask gives what is wanted, and else says what it gave. */
async function becomes(want, ask, what) {
  const until = Date.now() + patience;
  for (;;) {
    const got = await ask();
    if (isDeepStrictEqual(got, want)) return;
    if (Date.now() > until) assert.deepEqual(got, want, what);
    await sleep(25);
  }
}

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
// The page's own word: what the debugger believes of the URL comes a little later.
const where = (page) => page.evaluate(() => location.href);
const search = async (page) => new URL(await where(page)).searchParams;

/** exactly reads the whole numbers behind the short ones of a row. */
const exactly = async (row) => (await row.locator('td.n[title]').evaluateAll((cells) => cells.map((c) => c.title))).slice(0, 3).map(digits);
const sums = (s) => [s.flows, s.packets, s.bytes];

/** fits waits until the page is no wider than the window: the layout follows a new width in steps. */
const fits = (page) => becomes(0, () => page.evaluate(() => Math.max(0, document.documentElement.scrollWidth - document.documentElement.clientWidth)), 'px wider than the window');

const tests = [];
let failures = 0;
const test = (name, fn) => tests.push({ name, fn });

// A range in the past. It ends an hour ago or earlier, so that no flow of it is
// still in an exporter's cache.
const hour = 3_600_000;
const end = Math.floor(Date.now() / hour - 1) * hour;
const iso = (ms) => new Date(ms).toISOString().replace('.000Z', 'Z');
const past = `from=${iso(end - 6 * hour)}&to=${iso(end)}`;
const api = async (path) => {
  const res = await fetch(`${base}/api/v1/${path}`);
  assert.equal(res.status, 200, `${path}: ${res.status}`);
  return res.json();
};

/** still waits until the past is stored: a batch may wait a second for its writing. */
const still = (async () => {
  const total = async () => (await api(`top?${past}&key=protocol`)).total;
  const until = Date.now() + 3 * patience;
  for (let last = null; ; ) {
    const now = await total();
    if (mock || isDeepStrictEqual(now, last)) return;
    if (Date.now() > until) throw new Error(`the numbers of ${past} do not stand still`);
    last = now;
    await sleep(1500);
  }
})();
still.catch(() => {}); // said by the tests that wait for it

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

test('the table says what the API says', async (open) => {
  await still;
  const questions = [
    ['src-addr', 'flows'],
    ['dst-port', 'bytes'],
    ['src-addr,dst-addr', 'packets'],
    ['protocol', 'flows'],
  ].map(([key, by]) => ({ key, by, asked: `${past}&key=${key}&by=${by}&limit=20` }));
  const { page } = await open({ path: `/?${questions[0].asked}` });
  for (const { key, by, asked } of questions) {
    const want = await api(`top?${asked}`);
    assert.ok(want.rows.length > 0 && want.total[by] > 0, `nothing to compare in ${asked}`);
    if (!(await where(page)).endsWith(asked)) await page.goto(`${base}/?${asked}`);
    await drawn(page);
    const rows = await page.locator('section table tbody tr').all();
    assert.equal(rows.length, want.rows.length + (want.other ? 1 : 0));
    for (const [i, row] of want.rows.entries()) {
      assert.deepEqual(await exactly(rows[i]), sums(row), `row ${i}`);
      const text = await rows[i].innerText();
      for (const v of key.includes(',') ? Object.values(row.values) : [row.label]) assert.ok(text.includes(String(v)), `${text} lacks ${v}`);
    }
    if (want.other) assert.deepEqual(await exactly(rows.at(-1)), sums(want.other), 'other');
    assert.deepEqual(await exactly(page.locator('section table tfoot')), sums(want.total), 'total');
    await page.getByRole('button', { name: 'the same in SQL' }).last().click();
    assert.equal(await page.locator('pre').innerText(), want.sql.trimEnd());
    await page.getByRole('button', { name: 'on the command line' }).last().click();
    assert.equal(await page.locator('pre').innerText(), want.command);
  }
});

test('the legend adds up to the API’s series, and the table behind the graph has its slots', async (open) => {
  await still;
  const want = await api(`series?${past}&key=protocol&by=flows&limit=8`);
  const { page } = await open({ path: `/?${past}` });
  await drawn(page);
  const sum = (line) => line.flows.reduce((a, b) => a + b, 0);
  assert.ok(sum(want.total) > 0, `nothing to compare in ${past}`);
  const says = await page.locator('.legend .row:not(.head) .value').evaluateAll((values) => values.map((v) => v.title));
  assert.deepEqual(says.map(digits), [...want.lines, ...(want.other ? [want.other] : []), want.total].map(sum));
  await page.getByText('the graph as a table').click();
  assert.equal(await page.locator('.numbers tbody tr').count(), want.starts.length);
  assert.deepEqual(await violations(page), []);
});

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

const json = (page, path, body, status = 200, type = 'application/json') => page.route(`**/api/v1/${path}*`, (r) => r.fulfill({ status, contentType: type, body: JSON.stringify(body) }));

for (const [size, theme] of [
  ['wide', 'light'],
  ['phone', 'dark'],
]) {
  test(`${size} ${theme}: nothing yet says how to begin`, async (open) => {
    const { page } = await open({ size, theme, route: (p) => json(p, 'exporters', { exporters: [], collector: { listen: '192.0.2.200:9995' } }) });
    await page.getByText('Waiting for the first datagram').waitFor();
    for (const name of ['flowtally exporter', 'OpenBSD pf', 'softflowd', 'Cisco IOS', 'MikroTik']) {
      await page.getByRole('button', { name }).click();
      assert.match(await page.locator('pre').innerText(), /192\.0\.2\.200/);
    }
    await page.getByRole('button', { name: 'OpenBSD pf' }).click();
    assert.deepEqual(await violations(page), []);
    await fits(page);
    await shot(page, `start-${size}-${theme}`);
  });
}

test('no match is a state of its own', async (open) => {
  const empty = {
    from: '2001-01-01T00:00:00Z', to: '2001-01-01T06:00:00Z', key: 'src-addr', by: 'flows', limit: 10, source: 'flows', resolution: '1 ms', exact: true, took_ms: 1, sql: 'select 1', command: 'flowtally top',
  };
  const { page } = await open({
    path: `/?from=${empty.from}&to=${empty.to}`,
    route: async (p) => {
      await json(p, 'top', { ...empty, rows: [], other: null, total: { flows: 0, packets: 0, bytes: 0 } });
      const zero = { label: 'total', flows: [0, 0], packets: [0, 0], bytes: [0, 0] };
      await json(p, 'series', { ...empty, key: 'protocol', step_seconds: 10800, starts: ['2001-01-01T00:00:00Z', '2001-01-01T03:00:00Z'], lines: [], other: null, total: zero });
    },
  });
  await page.getByText('No flows in this range.').first().waitFor();
  assert.deepEqual(await violations(page), []);
  await shot(page, 'state-no-match');
});

test('an error says what the server says', async (open) => {
  const { page, wrong } = await open({ route: (p) => json(p, 'top', { title: 'Unprocessable Entity', status: 422, detail: 'unknown key "src-adr": did you mean src-addr?' }, 422, 'application/problem+json') });
  await page.getByText('did you mean src-addr?').waitFor();
  assert.deepEqual(await violations(page), []);
  await shot(page, 'state-error');
  // The browser itself notes an answer of 422; nothing else is wrong.
  wrong.splice(0, wrong.length, ...wrong.filter((w) => !w.includes('status of 422')));
});

test('slow shows progress, and can be cancelled', async (open) => {
  const { page } = await open({
    clock: true,
    route: async (p) => {
      await p.route('**/api/v1/series*', () => {});
      await p.route('**/api/v1/top*', () => {});
    },
  });
  await page.locator('.legend .ghost').first().waitFor();
  await page.clock.fastForward(1000);
  await page.getByText('Asking for the graph').waitFor();
  assert.deepEqual(await violations(page), []);
  await shot(page, 'state-slow');
  await page.getByRole('button', { name: 'Cancel' }).first().click();
  await page.getByText('Cancelled.').first().waitFor();
});

test('a silent exporter is said to be', async (open) => {
  const quiet = { id: 1, name: 'edge-1', label: 'edge-1', addr: '192.0.2.7', observation_domain: 0, version: 10, first_seen: iso(end - 48 * hour), last_seen: iso(Date.now() - 4 * 60_000), datagrams: 1, records: 1, packets: 1, bytes: 1, sampling_rate: null, clock_offset_ms: 0 };
  const { page } = await open({ theme: 'dark', route: (p) => json(p, 'exporters', { exporters: [quiet], collector: { listen: ':9995' } }) });
  await page.getByText('No datagram from any exporter for 4').waitFor();
  await drawn(page);
  assert.deepEqual(await violations(page), []);
  await shot(page, 'state-silent');
});

test('a newer question cancels the older', async (open) => {
  const { page } = await open();
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
  await page.locator('thead').getByText('destination port').waitFor();
  await becomes(true, () => stopped >= 1, 'the older request is cancelled');
});

test('live brings new data without a reload, and leaves the pointed row alone', async (open) => {
  const { page } = await open({ path: '/explore?from=-15m&to=now', clock: true });
  await drawn(page);
  await page.evaluate(() => (globalThis.stayed = true));
  const body = page.locator('section table tbody');
  await body.locator('tr').first().hover();
  const row = await body.innerText();
  const answers = [];
  page.on('response', (r) => r.url().includes('/api/v1/top') && answers.push(r.json().catch(() => null)));
  const came = Promise.all(['top', 'series'].map((q) => page.waitForResponse((r) => r.url().includes(`/api/v1/${q}`))));
  await page.clock.fastForward(5000);
  for (const r of await came) await r.finished();
  assert.equal(await body.innerText(), row);
  await page.mouse.move(5, 5);
  await becomes(true, async () => isDeepStrictEqual(await exactly(page.locator('section table tfoot')), sums((await answers.at(-1))?.total ?? {})), 'once nobody points at it, the table shows the newest answer');
  assert.equal(await page.evaluate(() => globalThis.stayed), true);
});

test('print is clean, 360 px is wide enough, the first page is small', async (open) => {
  const { page, requested } = await open({ path: `/?${past}&key=src-addr,dst-addr` });
  await drawn(page);
  let total = 0;
  for (const url of new Set(requested)) {
    const path = new URL(url).pathname;
    if (path.startsWith('/api/') || path.includes('/chart-') || path.includes('/editor-') || path === '/openapi.json') continue;
    const res = await fetch(url);
    assert.equal(res.status, 200, url);
    total += gzipSync(Buffer.from(await res.arrayBuffer())).length;
  }
  assert.ok(total > 0 && total <= 150 * 1024, `first page is ${total} bytes gzip`);
  await page.setViewportSize({ width: 360, height: 740 });
  await fits(page);
  await shot(page, 'explore-360');
  await page.setViewportSize({ width: 800, height: 1100 });
  await page.emulateMedia({ media: 'print' });
  await shot(page, 'explore-print');
  return `the first page is ${(total / 1024).toFixed(1)} KiB gzip before the chart's code`;
});

async function run({ name, fn }) {
  const started = Date.now();
  const pages = [];
  const openHere = async (options) => {
    const x = await open(options);
    pages.push(x);
    return x;
  };
  try {
    const says = await fn(openHere);
    for (const x of pages) assert.deepEqual(x.wrong, []);
    console.log(`ok    ${name} (${Date.now() - started} ms)${says ? ': ' + says : ''}`);
  } catch (err) {
    failures++;
    console.log(`FAIL  ${name} (${Date.now() - started} ms)\n${err.stack ?? err}`);
    for (const x of pages) {
      for (const w of x.wrong) console.log(`      ${w}`);
      await shot(x.page, `failed-${failures}`)?.catch(() => {});
    }
  }
  for (const x of pages) await x.close();
}

// Two at a time: the pages wait for the server, and it for them.
const started = Date.now();
const queue = [...tests];
await Promise.all(
  [0, 1].map(async () => {
    for (let t; (t = queue.shift()); ) await run(t);
  }),
);
await browser.close();
mock?.close();
console.log(`${tests.length - failures} passed, ${failures} failed in ${((Date.now() - started) / 1000).toFixed(1)} s`);
process.exit(failures ? 1 : 0);
