// What every test in the browser uses: the browser and the server, a page that is watched,
// what waits until the page shows something, and what runs the tests.

import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import { chromium } from 'playwright-core';
import { serve } from './mock.mjs';
import { resolver } from './othersites.mjs';
import { listed } from './pages.mjs';
import { pin } from './tls.mjs';

const browserPath = process.env.FLOWTALLY_CHROMIUM || '/usr/bin/chromium';
if (!existsSync(browserPath)) {
  console.log(`skipped: no browser at ${browserPath}; install chromium, or name one in FLOWTALLY_CHROMIUM`);
  process.exit(0);
}
export const shots = process.env.FLOWTALLY_SHOTS || '';
if (shots) mkdirSync(shots, { recursive: true });
export const mock = process.env.FLOWTALLY_URL ? null : await serve();
export const base = (process.env.FLOWTALLY_URL || `http://127.0.0.1:${mock.address().port}`).replace(/\/$/, '');
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

const launch = (...more) => chromium.launch({
  executablePath: browserPath,
  args: [...more, resolver, '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
});
export const browser = await launch();
export const overTLS = process.env.FLOWTALLY_TLS_URL ? { at: process.env.FLOWTALLY_TLS_URL.replace(/\/$/, ''), browser: await launch(pin(process.env.FLOWTALLY_TLS_CERT)) } : null;

export const sizes = { wide: { width: 1280, height: 800 }, phone: { width: 390, height: 844 } };
// patience is for the slowest machine; nothing waits that long where all is well.
export const patience = 60_000;

/**
 * open gives a page that remembers what it asked for and what it should not have
 * done. With clock, its time can be put forward. What the browser notes of answers that
 * refused matches is as it should be.
 */
export async function open({ size = 'wide', theme = 'light', path = '/explore', zone = 'UTC', clock = false, at = base, route, refused } = {}) {
  const context = await (at === overTLS?.at ? overTLS.browser : browser).newContext({ viewport: sizes[size], colorScheme: theme, timezoneId: zone, hasTouch: size === 'phone' });
  context.setDefaultTimeout(patience);
  const page = await context.newPage();
  const wrong = [];
  const requested = [];
  page.on('console', (m) => m.type() === 'error' && !refused?.test(m.text()) && wrong.push(`console: ${m.text()}`));
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
export const drawn = async (page) => {
  await page.locator('.plot .unit').waitFor();
  await page.locator('section table tfoot').waitFor();
};

/** becomes waits until ask gives what is wanted, and else says what it gave. */
export async function becomes(want, ask, what) {
  const until = Date.now() + patience;
  for (;;) {
    const got = await ask();
    if (isDeepStrictEqual(got, want)) return;
    if (Date.now() > until) assert.deepEqual(got, want, what);
    await sleep(25);
  }
}

/** violations gives all that axe finds. With before, the page shows what is of before, which is pale and not looked at. */
export async function violations(page, { before = false } = {}) {
  // What an answer under way is about to replace is pale on purpose.
  if (!before) await page.waitForFunction(() => !document.querySelector('.stale'));
  // evaluate runs through the debugger, which the Content-Security-Policy lets be.
  await page.evaluate(axe);
  const found = await page.evaluate(() => globalThis.axe.run({ exclude: ['.stale'] }, { resultTypes: ['violations'] }));
  return found.violations.map((v) => `${v.impact} ${v.id}: ${v.nodes.map((n) => n.target.join(' ') + ' ' + (n.any[0]?.message ?? '')).join('; ')}`);
}

export const shot = (page, name, full = true) => (shots ? page.screenshot({ path: join(shots, name + '.png'), fullPage: full }) : null);
export const digits = (s) => Number((s ?? '').replace(/[^\d]/g, ''));
// The page's own word: what the debugger believes of the URL comes a little later.
export const where = (page) => page.evaluate(() => location.href);
export const search = async (page) => new URL(await where(page)).searchParams;

/** exactly reads the whole numbers behind the short ones of a row. */
export const exactly = async (row) => (await row.locator('td.n[title]').evaluateAll((cells) => cells.map((c) => c.title))).slice(0, 3).map(digits);
export const sums = (s) => [s.flows, s.packets, s.bytes];

/** fits waits until the page is no wider than the window: the layout follows a new width in steps. */
export const fits = (page) => becomes(0, () => page.evaluate(() => Math.max(0, document.documentElement.scrollWidth - document.documentElement.clientWidth)), 'px wider than the window');

const tests = [];
let failures = 0;
const only = new RegExp(process.env.FLOWTALLY_ONLY || '');
export const test = (name, fn) => only.test(name) && tests.push({ name, fn });

// A range in the past. It ends an hour ago or earlier, so that no flow of it is
// still in an exporter's cache.
export const hour = 3_600_000;
export const end = Math.floor(Date.now() / hour - 1) * hour;
export const iso = (ms) => new Date(ms).toISOString().replace('.000Z', 'Z');
export const past = `from=${iso(end - 6 * hour)}&to=${iso(end)}`;
export const api = async (path) => {
  const res = await fetch(`${base}/api/v1/${path}`);
  assert.equal(res.status, 200, `${path}: ${res.status}`);
  return res.json();
};

/** still waits until the past is stored: a batch may wait a second for its writing. */
export const still = (async () => {
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

/** pages are those that the console’s navigation leads to. */
export const pages = await listed(browser, base);

// What people say of an exporter is kept as a whole: who tests that is alone.
let before = Promise.resolve();
export const alone = (fn) => (open) => {
  const mine = before.then(() => fn(open));
  before = mine.catch(() => {});
  return mine;
};

/** auth is the server where people log in. */
export const auth = { at: (process.env.FLOWTALLY_AUTH_URL || '').replace(/\/$/, ''), password: process.env.FLOWTALLY_AUTH_PASSWORD || '' };

/** logIn fills its form in. */
export async function logIn(page, user, password) {
  await page.locator('.login').getByLabel('Name').fill(user);
  await page.getByLabel('Password').fill(password);
  await page.getByRole('button', { name: 'Log in' }).click();
}

/** json answers a path of the API with a body. */
export const json = (page, path, body, status = 200, type = 'application/json') => page.route(`**/api/v1/${path}*`, (r) => r.fulfill({ status, contentType: type, body: JSON.stringify(body) }));

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

/** runAll runs the tests, says how each went, and ends the program. */
export async function runAll() {
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
}
