// Pictures of every page of a running server, for people to look at: two sizes, two
// themes, and paper.
//
//   FLOWTALLY_URL=http://127.0.0.1:8080 node e2e/shots.mjs FOLDER [PATTERN]
//
// Addresses are given names, some of them long, for whoever has no name service.

import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { chromium } from 'playwright-core';
import { listed, shows } from './pages.mjs';

const base = process.env.FLOWTALLY_URL || 'http://127.0.0.1:8080';
const [folder, pattern = ''] = process.argv.slice(2);
if (!folder) throw new Error('usage: node e2e/shots.mjs FOLDER [PATTERN]');
mkdirSync(folder, { recursive: true });

const soon = { timeout: 20_000 };
const exporters = (await (await fetch(`${base}/api/v1/exporters`)).json()).exporters;
const rows = (p) => p.locator('section table tbody tr').first().waitFor(soon);
const browser = await chromium.launch({ executablePath: process.env.FLOWTALLY_CHROMIUM || '/usr/bin/chromium', args: ['--no-sandbox', '--disable-gpu', '--no-first-run'] });
const pages = {
  ...Object.fromEntries((await listed(browser, base)).map(({ name, path }) => [name, [path, shows(name)]])),
  bytes: ['/explore?metric=bits&stack=none', rows],
  mirror: ['/explore?mirror=net&inside=10.20.0.0/16', rows],
  views: ['/explore?stack=views', rows],
  as: ['/explore?key=src-as', rows],
  pairs: ['/explore?key=src-addr,dst-addr', rows],
  ports: ['/explore?key=dst-port', rows],
  interfaces: ['/explore?key=in-if', rows],
  flows: ['/explore?tab=flows', rows],
  sankey: ['/explore?tab=sankey', (p) => p.locator('svg path[stroke]').first().waitFor(soon)],
  heatmap: ['/explore?tab=heatmap&from=-7d&to=now', (p) => p.getByRole('region', { name: 'Hours by day' }).waitFor(soon)],
  protocols: ['/explore?tab=summary', rows],
  nomatch: ['/explore?filter=src+ip+203.0.113.99', (p) => p.getByText('No flows').first().waitFor(soon)],
  add: ['/add', (p) => p.getByText('Waiting for the first datagram').waitFor(soon)],
  exporter: [`/exporters?of=${exporters[0]?.id ?? 1}`, (p) => p.locator('.checks li').first().waitFor(soon)],
  sqlerror: ['/sql?sql=select+src_addr,%0A++nonsense%0Afrom+flows', async (p) => {
    await p.locator('.cm-content').waitFor(soon);
    await p.getByRole('button', { name: 'Run', exact: true }).click();
    await p.getByRole('alert').waitFor(soon);
  }],
  address: ['/explore', async (p) => {
    await rows(p);
    await p.locator('section table .value').first().click();
    await p.getByRole('menuitem', { name: 'all about it' }).click();
    await p.locator('dialog[open] tbody tr').first().waitFor(soon);
  }],
  help: ['/explore', async (p) => {
    await rows(p);
    await p.keyboard.press('?');
  }],
  preferences: ['/explore', async (p) => {
    await rows(p);
    await p.getByRole('button', { name: 'Preferences' }).click();
  }],
};

const name = (a) => {
  const n = [...a].reduce((s, c) => (s * 31 + c.charCodeAt(0)) % 997, 7);
  if (n % 7 === 0) return '';
  return n % 5 === 0 ? `ec2-${a.replaceAll(/[.:]/g, '-')}.eu-central-1.compute.a-very-long-provider-name.example` : ['mail', 'www', 'ns1', 'db-3', 'printer', 'nas'][n % 6] + `-${n}.example.net`;
};
for (const theme of ['light', 'dark']) {
  for (const [size, width, height] of [['wide', 1440, 900], ['phone', 390, 844]]) {
    const context = await browser.newContext({ viewport: { width, height }, colorScheme: theme, hasTouch: size === 'phone', isMobile: size === 'phone' });
    context.setDefaultTimeout(soon.timeout);
    const page = await context.newPage();
    await page.route('**/api/v1/names?*', (r) =>
      r.fulfill({ json: { names: Object.fromEntries(new URL(r.request().url()).searchParams.getAll('addr').map((a) => [a, name(a)]).filter(([, n]) => n)) } }));
    for (const [what, [path, ready]] of Object.entries(pages)) {
      if (!new RegExp(pattern).test(what)) continue;
      try {
        await page.goto(base + path);
        await ready(page);
      } catch (err) {
        console.log(`${what} ${size} ${theme}: ${String(err).split('\n')[0]}`);
      }
      await page.waitForTimeout(1500); // names, pinned views and the graph's code come a little later
      await page.screenshot({ path: join(folder, `${what}-${size}-${theme}.png`), fullPage: !/address|help|preferences/.test(what) });
    }
    if (size === 'wide' && theme === 'dark') {
      await page.setViewportSize({ width: 800, height: 1100 });
      await page.emulateMedia({ media: 'print' });
      for (const what of ['overview', 'explore', 'exporters', 'exporter']) {
        if (!new RegExp(pattern).test(what)) continue;
        await page.goto(base + pages[what][0]);
        await pages[what][1](page).catch(() => {});
        await page.waitForTimeout(700);
        await page.screenshot({ path: join(folder, `${what}-print.png`), fullPage: true });
      }
    }
    await context.close();
  }
}
await browser.close();
