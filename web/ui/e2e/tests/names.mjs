// Names where numbers stand: interfaces of several exporters, exporters of one address,
// and the name that is given in place.

import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { alone, api, base, becomes, fits, mock, search, shot, sizes, test, violations } from '../harness.mjs';

// A router, in NetFlow v9: flows by the interface 7, and what it calls that.
const router = '127.0.0.51';

function message(domain, sequence, name, flows) {
  const put = (...numbers) => Buffer.concat(numbers.map(([n, size]) => { const b = Buffer.alloc(size); b.writeUIntBE(n, 0, size); return b; }));
  const shorts = (...list) => put(...list.map((n) => [n, 2]));
  const set = (id, body) => { const pad = Buffer.alloc(-body.length & 3); return Buffer.concat([shorts(id, 4 + body.length + pad.length), body, pad]); };
  const options = set(1, shorts(257, 4, 4, 2, 4, 82, 16));
  const named = set(257, Buffer.concat([put([7, 4]), Buffer.from(name.padEnd(16, '\0'))]));
  const template = set(0, shorts(300, 8, 8, 4, 12, 4, 7, 2, 11, 2, 4, 1, 1, 4, 2, 4, 10, 4));
  const records = set(300, Buffer.concat(Array.from({ length: flows }, (_, i) => Buffer.concat([Buffer.from([10, 201, domain, 1 + i, 10, 202, 0, 1]), put([1000 + i, 2], [443, 2], [6, 1], [500, 4], [5, 4], [7, 4])]))));
  return Buffer.concat([put([9, 2], [3 + flows, 2], [3_600_000, 4], [Math.floor(Date.now() / 1000), 4], [sequence, 4], [domain, 4]), options, named, template, records]);
}

async function tell(to, domain, name, flows) {
  const socket = createSocket('udp4');
  await new Promise((done) => socket.bind(0, router, done));
  const b = message(domain, 1, name, flows);
  await new Promise((done, failed) => socket.send(b, Number(to.split(':').at(-1)), '127.0.0.1', (err) => (err ? failed(err) : done())));
  socket.close();
}

const put = (id, name) => fetch(`${base}/api/v1/exporters/${id}`, { method: 'PUT', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ name }) });
const forget = (id) => fetch(`${base}/api/v1/exporters/${id}`, { method: 'DELETE', headers: { 'content-type': 'application/json' } });

/** routers are two of one address, told apart by their domains; each has flows by its interface 7. */
async function routers(run) {
  const { collector } = await api('exporters');
  await tell(collector.listen, 41, 'floor-1', 3);
  await tell(collector.listen, 42, 'floor-2', 5);
  const filter = encodeURIComponent('src net 10.201.0.0/16');
  const mine = async () => (await api('exporters')).exporters.filter((e) => e.addr === router);
  await becomes([`${router} domain 41`, `${router} domain 42`], async () => (await mine()).map((e) => e.label).sort());
  await becomes(2, async () => (await api(`top?key=in-if&from=-10m&filter=${filter}`)).rows.length, 'both have flows');
  const ids = Object.fromEntries((await mine()).map((e) => [e.observation_domain, e.id]));
  try {
    await run(filter, ids);
  } finally {
    for (const id of Object.values(ids)) {
      await put(id, '');
      await forget(id);
    }
  }
}

test('equal interfaces of two exporters are two rows with names, and a click finds one', alone(async (open) => {
  if (mock) return;
  await routers(async (filter) => {
    const { page } = await open({ path: `/explore?from=-10m&key=in-if&stack=in-if&by=flows&filter=${filter}` });
    const cells = () => page.locator('section[aria-labelledby="talkers-title"] tbody td.key').evaluateAll((all) => all.map((td) => [...td.querySelectorAll('button, .beside')].map((e) => e.textContent).join(' ')));
    await becomes([`floor-2 ${router} domain 42`, `floor-1 ${router} domain 41`], cells);
    await becomes(true, async () => (await page.locator('.legend, [aria-label="Legend"], .graph').allInnerTexts()).join(' ').includes(`${router} domain 42, floor-2`), 'the legend has the names, too');
    await shot(page, 'interfaces-of-two');
    assert.deepEqual(await violations(page), []);
    await page.getByRole('button', { name: 'floor-2', exact: true }).click();
    const only = page.getByRole('menuitem', { name: /only this/ });
    assert.match(await only.innerText(), /exporter "127\.0\.0\.51 domain 42" and in if 7/);
    await fits(page);
    await only.click();
    await becomes([`floor-2 ${router} domain 42`], cells);
    assert.equal((await search(page)).get('filter'), `src net 10.201.0.0/16 and exporter "${router} domain 42" and in if 7`);
    const found = await api(`top?key=protocol&from=-10m&filter=${encodeURIComponent((await search(page)).get('filter'))}`);
    const row = (await api(`top?key=in-if&from=-10m&filter=${filter}`)).rows.find((r) => r.values.exporter === `${router} domain 42`);
    assert.deepEqual([found.total.flows, row.values.in_if_name], [row.flows, 'floor-2'], 'and nothing else');
    // Of the exporter that is chosen, the interface says all.
    await page.goto(`${base}/explore?from=-10m&key=interface&filter=${filter}&exporter=${encodeURIComponent(`${router} domain 41`)}`);
    await becomes(['none', 'floor-1'], async () => (await cells()).sort().reverse());
    await page.getByRole('button', { name: 'floor-1', exact: true }).click();
    assert.equal(await page.getByRole('menuitem', { name: /only this/ }).locator('code').innerText(), 'if 7');
    await page.keyboard.press('Escape');
    // The picker has both.
    const offered = await page.getByTitle('From which exporter').locator('option').evaluateAll((all) => all.map((o) => o.value));
    for (const d of [41, 42]) assert.ok(offered.includes(`${router} domain ${d}`), `domain ${d} can be chosen`);
  });
}));

test('an exporter is renamed in place, in the list and on its page', alone(async (open) => {
  if (mock) return;
  await routers(async (_, ids) => {
    const { page } = await open({ path: '/exporters', refused: /409|422/ });
    const list = page.getByRole('region', { name: 'Exporters' });
    const label = async (domain) => (await api('exporters')).exporters.find((e) => e.id === ids[domain])?.label;
    await list.getByRole('button', { name: `Rename ${router} domain 41` }).click();
    const field = list.getByLabel(`Name of ${router} domain 41`);
    assert.equal(await field.getAttribute('placeholder'), router, 'what it is called without a name');
    await field.fill('edge of a test');
    await shot(page, 'exporter-renamed-in-place');
    assert.deepEqual(await violations(page), []);
    await field.press('Enter');
    await list.getByRole('link', { name: 'edge of a test' }).waitFor();
    assert.equal(await label(41), 'edge of a test');
    assert.equal(await label(42), `${router} domain 42`, 'the other one keeps its domain');
    // A name that somebody has, and one that is an address, are refused where they are written.
    for (const [name, says] of [['edge of a test', /taken|another|exists/i], ['192.0.2.7', /an address is no name/]]) {
      await list.getByRole('button', { name: `Rename ${router} domain 42` }).click();
      const other = list.getByLabel(`Name of ${router} domain 42`);
      await other.fill(name);
      await other.press('Enter');
      assert.match(await list.getByRole('alert').innerText(), says);
      await other.press('Escape');
      assert.equal(await page.evaluate(() => document.activeElement.getAttribute('aria-label')), `Rename ${router} domain 42`, 'the focus stays');
      assert.equal(await label(42), `${router} domain 42`);
    }
    // On its page; what else people said stays.
    await fetch(`${base}/api/v1/exporters/${ids[42]}`, { method: 'PUT', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ name: '', note: 'kept', color: '#aa3377', sampling_rate: 10, sampling_mode: 'unknown' }) });
    await page.goto(`${base}/exporters?of=${ids[42]}`);
    await page.getByRole('button', { name: `Rename ${router} domain 42` }).click();
    await page.keyboard.type('core of a test');
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { name: 'core of a test' }).waitFor();
    const e = (await api('exporters')).exporters.find((x) => x.id === ids[42]);
    assert.deepEqual([e.name, e.note, e.color, e.sampling_rate_set, e.sampling_mode, e.named_by], ['core of a test', 'kept', '#aa3377', 10, 'unknown', 'people']);
    // An empty name takes it back.
    await page.getByRole('heading', { name: 'core of a test' }).getByRole('button').click();
    await page.getByLabel('Name of core of a test').fill('');
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { name: router }).waitFor();
    for (const size of ['wide', 'phone']) {
      await page.setViewportSize(sizes[size]);
      await page.getByRole('button', { name: /^Rename / }).click();
      await fits(page);
      assert.deepEqual(await violations(page), []);
      await shot(page, `exporter-rename-${size}`, false);
      await page.keyboard.press('Escape');
    }
  });
}));
