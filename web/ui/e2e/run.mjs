// The console in a real browser.
//
//   FLOWTALLY_URL       the server to test; without it, canned answers (mock.mjs)
//   FLOWTALLY_AUTH_URL  one where people log in: viewer and editor, with the password
//                       in FLOWTALLY_AUTH_PASSWORD; without it, that is not tested
//   FLOWTALLY_TLS_URL   the same by TLS, under a name in .example, with the certificate
//                       in FLOWTALLY_TLS_CERT
//   FLOWTALLY_CHROMIUM  the browser, /usr/bin/chromium by default
//   FLOWTALLY_ONLY      a pattern: only the tests whose names it finds
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
import { otherSites, resolver } from './othersites.mjs';
import { byTLS, pin } from './tls.mjs';

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

const launch = (...more) => chromium.launch({
  executablePath: browserPath,
  args: [...more, resolver, '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
});
const browser = await launch();
const overTLS = process.env.FLOWTALLY_TLS_URL ? { at: process.env.FLOWTALLY_TLS_URL.replace(/\/$/, ''), browser: await launch(pin(process.env.FLOWTALLY_TLS_CERT)) } : null;

const sizes = { wide: { width: 1280, height: 800 }, phone: { width: 390, height: 844 } };
// patience is for the slowest machine; nothing waits that long where all is well.
const patience = 60_000;

/**
 * open gives a page that remembers what it asked for and what it should not have
 * done. With clock, its time can be put forward.
 */
async function open({ size = 'wide', theme = 'light', path = '/explore', zone = 'UTC', clock = false, at = base, route } = {}) {
  const context = await (at === overTLS?.at ? overTLS.browser : browser).newContext({ viewport: sizes[size], colorScheme: theme, timezoneId: zone, hasTouch: size === 'phone' });
  context.setDefaultTimeout(patience);
  const page = await context.newPage();
  const wrong = [];
  const requested = [];
  page.on('console', (m) => m.type() === 'error' && wrong.push(`console: ${m.text()}`));
  page.on('pageerror', (e) => wrong.push(`error: ${e.stack ?? e}`));
  page.on('request', (r) => {
    requested.push(r.url());
    if (!r.url().startsWith(at) && !r.url().startsWith('data:') && !r.url().startsWith('blob:')) wrong.push(`request to ${r.url()}`);
  });
  if (clock) await page.clock.install();
  if (route) await route(page);
  await page.goto(at + path);
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
  // What an answer under way is about to replace is pale on purpose.
  await page.waitForFunction(() => !document.querySelector('.stale'));
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
const only = new RegExp(process.env.FLOWTALLY_ONLY || '');
const test = (name, fn) => only.test(name) && tests.push({ name, fn });

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

// Every other page, and every tab of Explore: it shows what it is for, axe finds
// nothing serious, nothing is wider than the window.
const pages = [
  ['overview', '/', (p) => p.getByRole('region', { name: 'Top talkers by bytes' }).locator('tbody tr').first().waitFor(), true],
  ['exporters', '/exporters', (p) => p.getByRole('region', { name: 'Exporters' }).locator('tbody a').first().waitFor()],
  ['exporter', '/exporters', async (p) => {
    await p.getByRole('region', { name: 'Exporters' }).locator('tbody a').first().click();
    await p.getByRole('heading', { name: 'Interfaces' }).waitFor();
    await p.locator('.ledger li').first().waitFor();
    await p.locator('.checks li').first().waitFor();
  }],
  ['sql', '/sql', async (p) => {
    await p.locator('.cm-content').waitFor();
    await p.getByRole('button', { name: 'Run' }).click();
    await p.getByRole('region', { name: 'Result' }).waitFor();
  }],
  ['saved', '/saved', (p) => p.getByRole('heading', { name: 'Saved views' }).waitFor()],
  ['flows', `/explore?tab=flows&${past}`, (p) => p.getByRole('region', { name: 'Flows', exact: true }).locator('tbody tr').first().waitFor()],
  ['sankey', `/explore?tab=sankey&${past}`, (p) => p.locator('svg path[stroke]').first().waitFor()],
  ['heatmap', `/explore?tab=heatmap&from=-7d&to=now`, (p) => p.getByRole('region', { name: 'Hours by day' }).waitFor()],
  ['summary', `/explore?tab=summary&${past}`, (p) => p.getByRole('rowheader', { name: 'all' }).waitFor()],
];
// Who looks at the pictures wants all four looks; every day two of them hold each theme and each size.
const looks = shots ? [['wide', 'light'], ['wide', 'dark'], ['phone', 'light'], ['phone', 'dark']] : [['wide', 'light'], ['phone', 'dark']];
for (const [name, path, ready, all] of pages) {
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

test('range and filter stay from page to page, back leads back', async (open) => {
  const { page } = await open({ path: `/explore?${past}` });
  await drawn(page);
  await page.keyboard.press('/');
  await page.keyboard.type('proto tcp');
  await page.keyboard.press('Enter');
  await becomes('proto tcp', async () => (await search(page)).get('filter'));
  for (const name of ['Overview', 'Exporters', 'SQL', 'Saved', 'Explore']) {
    await page.getByRole('navigation', { name: 'Pages' }).getByRole('link', { name }).click();
    await page.waitForFunction((n) => location.pathname === '/' + n.toLowerCase(), name);
    const q = await search(page);
    assert.deepEqual([q.get('filter'), q.get('from'), q.get('to')], ['proto tcp', iso(end - 6 * hour), iso(end)], name);
    assert.equal(await page.getByRole('combobox', { name: 'filter', exact: true }).inputValue(), 'proto tcp');
  }
  await page.goBack();
  await page.goBack();
  await page.waitForFunction(() => location.pathname === '/sql');
});

test('a value that is clicked narrows the question; its chip turns and goes', async (open) => {
  await still;
  const { page } = await open({ path: `/explore?${past}` });
  await drawn(page);
  const first = page.locator('section table tbody tr').first();
  const addr = await first.locator('.value').innerText();
  await first.locator('.value').click();
  await page.getByRole('menuitem', { name: 'not this' }).waitFor();
  assert.deepEqual(await violations(page), []);
  await shot(page, 'menu', false);
  await page.getByRole('menuitem', { name: 'only this' }).click();
  await becomes(`src ip ${addr}`, async () => (await search(page)).get('filter'));
  const filtered = async (f) => sums((await api(`top?${past}&key=src-addr&by=flows&limit=10&filter=${encodeURIComponent(f)}`)).total);
  await becomes(await filtered(`src ip ${addr}`), () => exactly(page.locator('section table tfoot')), 'only this');
  await page.getByRole('button', { name: `src ip ${addr}: turn round` }).click();
  await becomes(`not src ip ${addr}`, async () => (await search(page)).get('filter'));
  await becomes(await filtered(`not src ip ${addr}`), () => exactly(page.locator('section table tfoot')), 'not this');
  await page.getByRole('button', { name: `not src ip ${addr}: remove` }).click();
  await becomes(null, async () => (await search(page)).get('filter'));
});

test('all about an address', async (open) => {
  await still;
  const { page } = await open({ path: `/explore?${past}` });
  await drawn(page);
  const value = page.locator('section table tbody tr').first().locator('.value');
  const addr = await value.innerText();
  await value.click();
  await page.getByRole('menuitem', { name: 'all about it' }).click();
  const card = page.getByRole('dialog', { name: addr });
  await card.getByText('last seen').waitFor();
  const want = await api(`address/${addr}?${past}`);
  assert.equal(digits((await card.locator('dd[title]').last().getAttribute('title')).split(' flows')[0]), want.out.flows);
  assert.deepEqual(await violations(page), []);
  await shot(page, 'address', false);
  await page.keyboard.press('Escape');
  await card.waitFor({ state: 'hidden' });
});

test('the filter is completed, checked as it is typed, and remembered', async (open) => {
  const { page, wrong } = await open({ path: `/explore?${past}` });
  await drawn(page);
  await page.keyboard.press('/');
  const input = page.getByRole('combobox', { name: 'filter', exact: true });
  await page.keyboard.type('prot');
  await page.locator('[role=option]').first().waitFor();
  assert.deepEqual(await violations(page), []);
  await shot(page, 'filter-complete', false);
  await page.keyboard.press('Tab');
  await becomes('proto ', () => input.inputValue());
  await page.keyboard.type('udp');
  await page.keyboard.press('Enter');
  await becomes('proto udp', async () => (await search(page)).get('filter'));
  await drawn(page);
  await input.fill('prto udp');
  await page.locator('.says .bad').waitFor();
  assert.match(await page.locator('.says .bad').innerText(), /proto/);
  assert.equal(await page.locator('.mark u').innerText(), 'prto');
  assert.deepEqual(await violations(page), []);
  await shot(page, 'filter-wrong', false);
  await input.press('Enter');
  assert.equal((await search(page)).get('filter'), 'proto udp', 'what is wrong is not asked');
  await input.press('Escape');
  await input.press('Escape');
  await page.keyboard.press('/');
  await input.fill('');
  await page.keyboard.press('Escape');
  await page.keyboard.press('/');
  await input.press('ArrowUp');
  await becomes('proto udp', () => input.inputValue());
  wrong.splice(0, wrong.length, ...wrong.filter((w) => !w.includes('status of 422')));
});

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

test('a view is saved, opened, changed and deleted', async (open) => {
  const { page } = await open({ path: `/explore?${past}&filter=proto+udp` });
  await drawn(page);
  const name = `e2e ${Date.now()}`;
  await page.getByRole('button', { name: 'save', exact: true }).click();
  await page.getByLabel('Name').fill(name);
  assert.deepEqual(await violations(page), []);
  await shot(page, 'save', false);
  await page.getByRole('dialog').getByRole('button', { name: 'Save' }).click();
  await page.getByRole('dialog').waitFor({ state: 'hidden' });
  await page.getByRole('navigation', { name: 'Pages' }).getByRole('link', { name: 'Overview' }).click();
  await page.getByRole('list', { name: 'Pinned views' }).getByRole('link', { name }).click();
  await page.waitForFunction(() => location.pathname === '/explore');
  assert.equal((await search(page)).get('filter'), 'proto udp');
  await page.getByRole('navigation', { name: 'Pages' }).getByRole('link', { name: 'Saved' }).click();
  const row = page.getByRole('row').filter({ hasText: name });
  await row.getByRole('button', { name: 'Edit' }).click();
  await page.locator('tbody').getByLabel('Name', { exact: true }).fill(name + ' b');
  await page.locator('tbody').getByRole('button', { name: 'Save' }).click();
  await page.getByRole('link', { name: name + ' b' }).waitFor();
  assert.deepEqual(await violations(page), []);
  await shot(page, 'saved-one');
  await row.getByRole('button', { name: 'Delete…' }).click();
  await row.getByRole('button', { name: 'Delete', exact: true }).click();
  await row.waitFor({ state: 'detached' });
});

test('SQL: a result, its chart, and what is refused', async (open) => {
  const { page, wrong } = await open({ path: '/sql' });
  await page.locator('.cm-content').click();
  const put = async (text) => {
    await page.keyboard.press('Control+a');
    await page.keyboard.insertText(text);
    await page.keyboard.press('Control+Enter');
  };
  await put("select g as minute, 7 as flows from generate_series(now() - interval '1 hour', now(), interval '1 minute') g");
  await page.getByRole('img', { name: 'The numbers of the result over minute' }).locator('canvas').waitFor();
  await put('delete from flows');
  await page.getByRole('alert').waitFor();
  assert.deepEqual(await violations(page), []);
  await shot(page, 'sql-refused');
  wrong.splice(0, wrong.length, ...wrong.filter((w) => !/status of 4\d\d/.test(w)));
});

// What people say of an exporter is kept as a whole: who tests that is alone.
let before = Promise.resolve();
const alone = (fn) => (open) => {
  const mine = before.then(() => fn(open));
  before = mine.catch(() => {});
  return mine;
};

test('an exporter gets a name and a note', alone(async (open) => {
  const { page } = await open({ path: '/exporters' });
  await page.getByRole('region', { name: 'Exporters' }).locator('tbody a').first().click();
  const note = page.getByLabel('Note');
  await note.fill('seen by a test');
  await page.getByRole('region', { name: 'Settings' }).getByRole('button', { name: 'Save' }).click();
  await page.getByText('Saved.').waitFor();
  assert.equal((await api('exporters')).exporters.some((e) => e.note === 'seen by a test'), true);
  await note.fill('');
  await page.getByRole('region', { name: 'Settings' }).getByRole('button', { name: 'Save' }).click();
  await becomes(false, async () => (await api('exporters')).exporters.some((e) => e.note === 'seen by a test'), 'the note goes');
}));

test('an exporter gets a colour and a sampling rate, an interface a name; and all goes again', alone(async (open) => {
  const { page } = await open({ path: `/exporters?of=${(await api('exporters')).exporters[0].id}` });
  const settings = page.getByRole('region', { name: 'Settings' });
  const store = () => settings.getByRole('button', { name: 'Save' }).click();
  const now = async () => {
    const id = Number((await search(page)).get('of'));
    const e = (await api('exporters')).exporters.find((x) => x.id === id);
    return [e.color || '', e.sampling_rate_set ?? null];
  };
  const rate = settings.getByLabel('Sampling, 1 in');
  await rate.fill('many');
  await store();
  assert.match(await page.getByRole('main').getByRole('alert').innerText(), /“many” is no sampling rate/);
  await settings.getByLabel('Colour').fill('#aa3377');
  await rate.fill('1:100');
  await store();
  await becomes(['#aa3377', 100], now, 'colour and rate are kept');
  await settings.getByRole('button', { name: 'none' }).click();
  await rate.fill('');
  await store();
  await becomes(['', null], now, 'colour and rate are taken back');

  // The demo's exporter tells of no interface: one that somebody named is one, too.
  const id = Number((await where(page)).match(/\d+(?=\D*$)/)?.[0] ?? 1);
  const own = !(await api('interfaces')).interfaces.length;
  const put = (name) => page.evaluate(async ([i, n]) => (await fetch(`/api/v1/interfaces/${i}/7`, { method: 'PUT', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ name: n }) })).status, [id, name]);
  if (own) {
    assert.ok((await put('port 7')) < 300, 'an interface is named');
    await page.reload();
  }
  const field = page.getByLabel('Name of interface').first();
  await field.waitFor();
  const index = Number((await field.getAttribute('aria-label')).match(/\d+$/)[0]);
  const before = await field.inputValue();
  const named = async () => (await api('interfaces')).interfaces.find((i) => i.if_index === index)?.name;
  for (const name of ['uplink of a test', before]) {
    await field.fill(name);
    // The page asks again what it has changed, and shows that.
    const shown = page.waitForResponse((r) => r.request().method() === 'GET' && r.url().includes('/api/v1/interfaces'));
    await field.press('Tab');
    await (await shown).finished();
    await becomes(name, named, 'the name of the interface');
  }
  if (own) assert.ok((await put('')) < 300, 'its name is taken back');
}));

test('names stand beside the addresses, a hundred asked for at once', async (open) => {
  const asked = [];
  const { page } = await open({
    path: `/explore?${past}&limit=200`,
    route: (p) =>
      p.route('**/api/v1/names?*', (r) => {
        const addrs = new URL(r.request().url()).searchParams.getAll('addr');
        asked.push(addrs);
        return r.fulfill({ json: { names: Object.fromEntries(addrs.map((a) => [a, `host-${a.replaceAll(/[.:]/g, '-')}.example`])) } });
      }),
  });
  await drawn(page);
  const row = page.locator('section table tbody tr').first();
  const addr = await row.locator('.value').innerText();
  await row.getByText(`host-${addr.replaceAll(/[.:]/g, '-')}.example`).waitFor();
  assert.ok(asked.every((a) => a.length > 0 && a.length <= 100), 'at most 100 at once');
  assert.equal(new Set(asked.flat()).size, asked.flat().length, 'none twice');
  assert.deepEqual(await violations(page), []);
  await shot(page, 'names');
});

test('preferences: kept in the browser, and the address wins', async (open) => {
  const { page } = await open();
  await drawn(page);
  const set = async (label, value) => {
    await page.getByRole('button', { name: 'Preferences' }).click();
    await page.getByRole('dialog').getByLabel(label).selectOption(value);
    assert.deepEqual(await violations(page), []);
    await shot(page, 'preferences', false);
    await page.keyboard.press('Escape');
    await page.getByRole('dialog').waitFor({ state: 'hidden' });
  };
  await set('A page begins with', '-24h');
  await set('Traffic a second in', 'bytes');
  await set('Rows of a table', '20');
  await page.goto(`${base}/explore`);
  await drawn(page);
  const asked = page.waitForRequest((r) => r.url().includes('/api/v1/top?'));
  await page.reload();
  const q = new URL((await asked).url()).searchParams;
  assert.deepEqual([q.get('from'), q.get('limit')], ['-24h', '20'], 'a bare address means what is preferred');
  await page.getByText('B/s').first().waitFor();
  const other = page.waitForRequest((r) => r.url().includes('/api/v1/top?'));
  await page.goto(`${base}/explore?metric=bits`);
  const w = new URL((await other).url()).searchParams;
  assert.deepEqual([w.get('from'), w.get('limit')], ['-6h', '10'], 'one that says something means the same to everybody');
});

test('hundreds of exporters: found, sorted, summed, and each state said', async (open) => {
  const real = (await api('exporters')).exporters[0];
  const many = Array.from({ length: 230 }, (_, i) => ({
    ...real, id: 5000 + i, name: `edge-${i + 1}`, label: i % 50 ? `edge-${i + 1}` : `core-router-with-a-name-that-goes-on-and-on-${i}.frankfurt.example.net`, addr: `2001:db8:aaaa:bbbb:cccc:dddd:eeee:${(i + 1).toString(16)}`,
    last_seen: iso(Date.now() - (i % 10 === 3 ? 40 * 24 * hour : 1000)), health: i % 10 === 3 ? 'silent' : 'healthy', silent: i % 10 === 3,
  }));
  const asked = [];
  const { page } = await open({
    path: '/exporters',
    route: async (p) => {
      await json(p, 'exporters', { exporters: many, collector: { listen: ':9995' } });
      p.on('request', (r) => asked.push(r.url()));
    },
  });
  const rows = page.getByRole('region', { name: 'Exporters' }).locator('tbody tr');
  await becomes(100, () => rows.count(), 'not all at once');
  assert.equal(asked.some((u) => u.includes('/interfaces')), false, 'the list asks for nobody’s interfaces');
  await page.getByText('230 exporters', { exact: true }).waitFor();
  await page.evaluate(() => scrollTo(0, 1500));
  assert.equal(await page.locator('.list thead th').first().evaluate((e) => Math.round(e.getBoundingClientRect().top)), 0, 'the head stays in sight');
  await page.getByRole('button', { name: 'gone 23' }).click();
  await becomes(23, () => rows.count(), 'those not heard of again');
  assert.deepEqual(await violations(page), []);
  await page.getByRole('button', { name: 'all 230' }).click();
  await page.getByLabel('Find exporters').fill('edge-23');
  await becomes(['edge-23', 'edge-230'], () => rows.locator('a').allInnerTexts());
  await page.getByLabel('Find exporters').fill('');
  const name = page.getByRole('columnheader', { name: 'exporter' });
  await name.getByRole('button').click();
  await becomes('descending', () => name.getAttribute('aria-sort'));
  assert.equal(await rows.first().locator('a').innerText(), 'edge-230', 'by number, not by letter');
  for (const size of ['wide', 'phone']) {
    await page.setViewportSize(sizes[size]);
    await fits(page);
    assert.deepEqual(await violations(page), []);
    await shot(page, `exporters-many-${size}`, false);
  }
});

/** logIn fills the form in, on the server where people log in. */
const auth = { at: (process.env.FLOWTALLY_AUTH_URL || '').replace(/\/$/, ''), password: process.env.FLOWTALLY_AUTH_PASSWORD || '' };
async function logIn(page, user, password) {
  await page.locator('.login').getByLabel('Name').fill(user);
  await page.getByLabel('Password').fill(password);
  await page.getByRole('button', { name: 'Log in' }).click();
}
if (auth.at) {
  test('with a real login: a wrong password is refused, a viewer looks and an editor edits', alone(async (open) => {
    for (const [user, edits] of [['viewer', false], ['editor', true]]) {
      const { page, wrong } = await open({ at: auth.at, path: '/exporters' });
      await page.getByRole('heading', { name: 'Log in' }).waitFor();
      assert.equal(await page.getByRole('navigation', { name: 'Pages' }).count(), 0, 'nothing leads on');
      if (!edits) {
        await logIn(page, user, 'not ' + auth.password);
        await page.locator('.login').getByRole('alert').waitFor();
        assert.equal(await page.getByLabel('Password').inputValue(), '', 'a wrong password is not kept');
        assert.deepEqual(await violations(page), []);
        await shot(page, 'login-wrong', false);
      }
      await logIn(page, user, auth.password);
      await page.getByRole('region', { name: 'Exporters' }).locator('tbody a').first().click();
      await page.getByRole('heading', { name: 'Interfaces' }).waitFor();
      await page.locator('.who', { hasText: user }).waitFor();
      assert.equal(await page.getByRole('region', { name: 'Settings' }).count(), edits ? 1 : 0, `${user}: settings`);
      assert.equal(await page.getByRole('button', { name: 'save', exact: true }).count(), edits ? 1 : 0, `${user}: save`);
      if (!edits) assert.equal(await page.getByLabel('Name of interface').count(), 0, `${user}: interface names`);
      if (edits) {
        await page.getByLabel('Note').fill('');
        await page.getByRole('region', { name: 'Settings' }).getByRole('button', { name: 'Save' }).click();
        await page.getByText('Saved.').waitFor();
      } else {
        // What the page does not offer, the server refuses.
        const status = await page.evaluate(async () => (await fetch('/api/v1/exporters/1', { method: 'PUT', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ name: 'x', color: '', note: '' }) })).status);
        assert.equal(status, 403);
      }
      await shot(page, `exporter-as-${user}`, false);
      await page.getByRole('button', { name: 'Log out' }).click();
      await page.getByRole('heading', { name: 'Log in' }).waitFor();
      // The browser itself notes what was refused.
      wrong.splice(0, wrong.length, ...wrong.filter((w) => !/status of 40[13]/.test(w)));
    }
  }));
}

test('a login is asked for, and a viewer edits nothing', async (open) => {
  let me = { user: null, role: 'viewer', login: 'password' };
  const { page } = await open({
    path: '/exporters',
    route: async (p) => {
      await p.route('**/api/v1/me', (r) => r.fulfill({ json: me }));
      await p.route('**/api/v1/login', (r) => {
        me = { ...me, user: 'ann' };
        return r.fulfill({ json: me });
      });
    },
  });
  await page.locator('.login').getByLabel('Name').fill('ann');
  await page.getByLabel('Password').fill('secret');
  assert.deepEqual(await violations(page), []);
  await shot(page, 'login', false);
  await page.getByRole('button', { name: 'Log in' }).click();
  await page.getByRole('region', { name: 'Exporters' }).locator('tbody a').first().click();
  await page.getByRole('heading', { name: 'Interfaces' }).waitFor();
  assert.equal(await page.getByRole('region', { name: 'Settings' }).count(), 0);
  assert.equal(await page.getByRole('button', { name: 'save', exact: true }).count(), 0);
});

test('retention, remainder and sampling are said where they matter', async (open) => {
  const cut = { from: iso(end - 3 * hour), reason: 'raw flows reach back to yesterday' };
  const { page } = await open({
    path: `/explore?${past}`,
    route: (p) =>
      p.route(/\/api\/v1\/(top|series)\?/, async (r) => {
        const answer = await (await r.fetch()).json();
        await r.fulfill({ json: { ...answer, exact: false, cut, remainder: { share: 0.12, error: 99 }, sampling: 'unknown' } });
      }),
  });
  await drawn(page);
  await page.getByText('Only a part of this range is kept.').waitFor();
  assert.match(await page.locator('.about').last().innerText(), /12\.0\s%.*remainder.*cut at.*sampling unknown/);
  assert.deepEqual(await violations(page), []);
  await shot(page, 'state-partial');
});

test('the founding story: from the bare address to the host that owned most flows, in under five clicks', async (open) => {
  await still;
  const day = `from=-24h&to=now`;
  const { page } = await open({ path: '/' });
  let clicks = 0;
  const strip = page.locator('.share button').first();
  await strip.waitFor();
  const text = await strip.innerText();
  assert.match(text, /took part in .* of all flows/);
  // The flows themselves know best who that was.
  const want = (await api(`share?${day}&step=300s&raw=true`)).highlights?.[0];
  assert.ok(text.includes(want.addr), `${text} lacks ${want.addr}`);
  await shot(page, 'story-1');
  await strip.click();
  clicks++;
  await page.waitForFunction(() => location.pathname === '/explore');
  await drawn(page);
  const q = await search(page);
  assert.equal(q.get('filter'), `ip ${want.addr}`);
  const [from, to] = q.get('pin').split('/');
  const top = await api(`top?from=${from}&to=${to}&filter=${encodeURIComponent(`ip ${want.addr}`)}&key=src-addr`);
  await becomes(sums(top.total), () => exactly(page.locator('section table tfoot')), 'the host in its minutes');
  await shot(page, 'story-2');
  assert.ok(clicks < 5);
  return `${clicks} click, ${want.addr}`;
});

test('budgets: interactive, and a day of twenty series redrawn', async (open) => {
  const { page, requested } = await open({ path: '/explore' });
  await drawn(page);
  await page.goto(`${base}/explore`);
  await page.getByRole('button', { name: '24 h' }).waitFor();
  const interactive = await page.evaluate(() => Math.round(performance.now()));
  await page.goto(`${base}/explore?from=-24h&to=now&stack=src-addr&top=20`);
  await drawn(page);
  const box = await page.locator('.plot').boundingBox();
  const times = [];
  for (let i = 0; i < 3; i++) {
    const from = (await search(page)).get('from');
    const already = requested.length;
    await page.mouse.move(box.x + 120, box.y + 100);
    await page.mouse.down();
    await page.mouse.move(box.x + 560, box.y + 100, { steps: 3 });
    const asked = page.evaluate(
      () =>
        new Promise((done) => {
          // From letting go until the canvas has been drawn with the new answer: two frames after it came.
          const began = performance.now();
          const seen = performance.getEntriesByType('resource').filter((e) => e.name.includes('/series?')).length;
          const look = () => {
            const all = performance.getEntriesByType('resource').filter((e) => e.name.includes('/series?'));
            if (all.length > seen) requestAnimationFrame(() => requestAnimationFrame(() => done(Math.round(performance.now() - began))));
            else setTimeout(look, 2);
          };
          look();
        }),
    );
    await page.mouse.up();
    times.push(await asked);
    await page.waitForFunction((f) => new URLSearchParams(location.search).get('from') !== f, from);
    await drawn(page);
    // Of the new range everything is asked once; names and exporters are of no range.
    const questions = requested.slice(already).map((u) => new URL(u)).filter((u) => /\/(series|top|share|loss)$/.test(u.pathname) && !u.searchParams.get('raw'));
    assert.deepEqual(questions.map((u) => u.pathname.split('/').at(-1)).sort(), ['loss', 'series', 'share', 'top'], 'what a brush asks');
    await page.goBack();
    await drawn(page);
  }
  // A machine that others use says little about milliseconds: they are told, and only what is absurd fails.
  assert.ok(interactive < 10_000 && Math.min(...times) < 10_000, `${interactive} ms, ${times} ms`);
  return `interactive after ${interactive} ms, a brush over a day of 20 series drawn after ${times.join(', ')} ms`;
});

test('the table says what the API says', async (open) => {
  await still;
  const questions = [
    ['src-addr', 'flows'],
    ['dst-port', 'bytes'],
    ['src-addr,dst-addr', 'packets'],
    ['protocol', 'flows'],
  ].map(([key, by]) => ({ key, by, asked: `${past}&key=${key}&by=${by}&limit=20` }));
  // The SQL names the batches that are not summed yet: that of the page's own answer is meant.
  let said = null;
  const { page } = await open({ path: `/?${questions[0].asked}`, route: (p) => p.on('response', async (r) => r.url().includes('/api/v1/top') && (said = await r.json().catch(() => said))) });
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
    await becomes(said?.sql.trimEnd(), () => page.locator('pre').innerText(), 'the SQL of the answer');
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

// The canned answers keep nobody out.
otherSites({
  test,
  browser,
  targets: [
    ...(mock ? [] : [{ name: 'on loopback, without a login', browser, at: base }]),
    ...(auth.at ? [{ name: 'with a login', browser, at: auth.at, user: 'editor', password: auth.password }] : []),
    ...(overTLS ? [{ name: 'with a login by TLS', ...overTLS, user: 'editor', password: auth.password }] : []),
  ],
});
if (overTLS) byTLS({ test, at: overTLS.at, password: auth.password, strangers: browser, open, logIn, violations });

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
  const overview = await open({ path: '/' });
  await overview.page.getByRole('region', { name: 'Top talkers by bytes' }).locator('tbody tr').first().waitFor();
  let total = 0;
  for (const asked of [requested, overview.requested]) {
    let size = 0;
    for (const url of new Set(asked)) {
      const path = new URL(url).pathname;
      if (path.startsWith('/api/') || path.includes('/chart-') || path.includes('/editor-') || path === '/openapi.json') continue;
      const res = await fetch(url);
      assert.equal(res.status, 200, url);
      size += gzipSync(Buffer.from(await res.arrayBuffer())).length;
    }
    assert.ok(size > 0 && size <= 150 * 1024, `first page is ${size} bytes gzip`);
    total = Math.max(total, size);
  }
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
await overTLS?.browser.close();
mock?.close();
console.log(`${tests.length - failures} passed, ${failures} failed in ${((Date.now() - started) / 1000).toFixed(1)} s`);
process.exit(failures ? 1 : 0);
