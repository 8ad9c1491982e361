// Exporters as they are: their clocks, their templates, thousands of interfaces, and what is no
// exporter at all. Real datagrams go to the collector of the server that is tested.

import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { alone, api, becomes, fits, json, mock, shot, sizes, test, violations } from '../harness.mjs';

/** sender gives what sends datagrams from a port of an address of loopback to the collector. */
async function sender(addr) {
  const l = (await api('exporters')).collector.listening.find((x) => x.running && x.protocol === 'udp');
  const socket = createSocket('udp4');
  socket.unref();
  await new Promise((done) => socket.bind(0, addr, done));
  return async (...datagrams) => {
    for (const [i, d] of datagrams.entries()) {
      await new Promise((done, fail) => socket.send(d, l.port, '127.0.0.1', (err) => (err ? fail(err) : done())));
      if (i % 40 === 39) await new Promise((done) => setTimeout(done, 20)); // no faster than is read
    }
  };
}

/** from sends datagrams from an address. */
const from = async (addr, ...datagrams) => (await sender(addr))(...datagrams);

/** v5 is a datagram of flows whose exporter's clock is hours off. */
function v5(hours, n = 20) {
  const b = Buffer.alloc(24 + n * 48);
  b.writeUInt16BE(5, 0), b.writeUInt16BE(n, 2), b.writeUInt32BE(7_200_000, 4), b.writeUInt32BE(Math.floor(Date.now() / 1000) + hours * 3600, 8);
  for (let i = 0; i < n; i++) {
    const at = 24 + i * 48;
    b.set([10, 77, 0, i + 1, 10, 78, 0, i + 1], at);
    b.writeUInt16BE(1, at + 12), b.writeUInt16BE(2, at + 14), b.writeUInt32BE(10, at + 16), b.writeUInt32BE(1000, at + 20);
    b.writeUInt32BE(7_195_000, at + 24), b.writeUInt32BE(7_199_000, at + 28), b.writeUInt16BE(40_000, at + 32), b.writeUInt16BE(443, at + 34), b.writeUInt8(6, at + 38);
  }
  return b;
}

const words = (...list) => Buffer.concat(list.map((x) => (Array.isArray(x) ? (([n, size]) => (size === 4 ? Buffer.from([n >>> 24, n >>> 16, n >>> 8, n]) : Buffer.from([n >>> 8, n])))(x) : x)));
const set = (id, body) => {
  const pad = (4 - (body.length % 4)) % 4;
  return Buffer.concat([words([id, 2], [4 + body.length + pad, 2]), body, Buffer.alloc(pad)]);
};
const v9 = (sequence, domain, ...sets) => Buffer.concat([words([9, 2], [sets.length, 2], [7_200_000, 4], [Math.floor(Date.now() / 1000), 4], [sequence, 4], [domain, 4]), ...sets]);
const fields = (list) => Buffer.concat(list.map(([type, length]) => words([type, 2], [length, 2])));
const template = set(0, Buffer.concat([words([300, 2], [8, 2]), fields([[8, 4], [12, 4], [7, 2], [11, 2], [4, 1], [1, 4], [2, 4], [10, 4]])]));
const data = set(300, Buffer.concat([Buffer.from([10, 91, 0, 1, 10, 92, 0, 1, 4, 0, 1, 187, 6]), words([5000, 4], [10, 4], [1, 4])]));
const forget = async (...addrs) => {
  for (const e of (await api('exporters')).exporters.filter((x) => addrs.includes(x.addr))) await fetch(`${process.env.FLOWTALLY_URL}/api/v1/exporters/${e.id}`, { method: 'DELETE' });
};

if (!mock) {
  test('a clock hours off, no templates and junk are said, in the list as in the checks', alone(async (open) => {
    const [clock, mute, junk] = ['127.0.0.122', '127.0.0.121', '127.0.0.126'];
    await from(clock, v5(-9));
    await from(mute, ...Array.from({ length: 5 }, (_, i) => v9(i, 7, data)));
    await from(junk, words([5, 4], [1, 4], [0x0a010101, 4], [0, 4], [1, 4], [1000, 4], [0, 4]));
    const { page } = await open({ path: '/exporters' });
    const row = (addr) => page.getByRole('region', { name: 'Exporters' }).getByRole('row').filter({ hasText: addr });
    for (const [addr, says] of [[clock, 'clock 9 h behind'], [mute, 'no template for 5 sets']]) {
      await row(addr).getByText(says).waitFor();
      await row(addr).getByRole('link').click();
      await page.getByRole('main').getByText(says, { exact: true }).waitFor();
      const e = (await api('exporters')).exporters.find((x) => x.addr === addr);
      const d = await api(`exporters/${e.id}/diagnosis`);
      assert.deepEqual([d.health, d.health_text, d.ok], [e.health, e.health_text, false], 'list and diagnosis agree');
      // It never spoke of what it lost: that is not "nothing".
      const ledger = page.getByRole('region', { name: 'Ledger' });
      await ledger.getByText('not told what was lost here').first().waitFor();
      assert.equal(await ledger.getByRole('listitem').filter({ hasText: 'metered' }).getByText('nothing lost').count(), 0);
      assert.deepEqual(await violations(page), []);
      await shot(page, `sender-${e.health}`);
      await page.goBack();
    }
    await page.getByRole('region', { name: 'The collector' }).getByText(`${junk} sent`).waitFor();
    for (const size of ['wide', 'phone']) {
      await page.setViewportSize(sizes[size]);
      await fits(page);
      assert.deepEqual(await violations(page), []);
      await shot(page, `senders-${size}`);
    }
    // The junk marks nobody's graph, and all is in one unit each.
    const loss = await api('loss?from=-1h');
    assert.ok(loss.minutes.some((m) => m.cause === 'version' && m.owner === 'stranger' && !m.drawn), 'junk is in the ledger, and not drawn');
    assert.ok(loss.minutes.filter((m) => m.exporter === mute).every((m) => !m.drawn), 'of an exporter of which nothing was ever read, neither');
    await forget(clock, mute);
  }));

  test('thousands of interfaces are searched, paged and named', alone(async (open) => {
    const addr = '127.0.0.123';
    const [count, each, length] = [5000, 8, 48];
    const options = set(1, Buffer.concat([words([257, 2], [4, 2], [8, 2]), fields([[2, 4], [82, length], [83, length]])]));
    const text = (s) => Buffer.concat([Buffer.from(s.slice(0, length)), Buffer.alloc(Math.max(0, length - s.length))]);
    const named = (a) => set(257, Buffer.concat(Array.from({ length: each }, (_, k) => Buffer.concat([words([a + k, 4]), text(`HundredGigE0/0/0/${a + k}`), text(`Customer ${a + k} <b>& co</b>`)]))));
    await from(addr, ...Array.from({ length: count / each }, (_, i) => v9(i, 9, options, named(1 + i * each))));
    let id = 0;
    await becomes(count, async () => {
      id = (await api('exporters')).exporters.find((e) => e.addr === addr)?.id ?? 0;
      return id ? (await api(`interfaces?exporter=${id}&limit=1&traffic=false`)).total : 0;
    }, 'all are known');
    const { page } = await open({ path: `/exporters?of=${id}` });
    const list = page.getByRole('region', { name: 'Interfaces', exact: true });
    const rows = list.locator('tbody tr');
    await list.getByText('1–50 of 5 000').waitFor();
    assert.equal(await rows.count(), 50, 'a page of them');
    const [a, b] = await Promise.all([page.getByRole('region', { name: 'Settings' }).boundingBox(), list.boundingBox()]);
    assert.ok(a.y < b.y, 'the settings stand above them');
    await list.getByRole('button', { name: 'Next page' }).click();
    await list.getByText('51–100 of 5 000').waitFor();
    await becomes('51', () => rows.first().locator('td').first().innerText(), 'the rows are those of the page');
    await list.getByLabel('Find interfaces').fill('4999');
    await becomes(1, () => rows.count(), 'found by name, or number');
    await list.getByText('1 found').waitFor();
    const name = list.getByLabel('Name of interface 4999');
    await name.fill('uplink of a test');
    await name.press('Tab');
    await becomes('uplink of a test', async () => (await api(`interfaces?exporter=${id}&find=uplink+test&traffic=false`)).interfaces[0]?.name, 'it is named');
    await list.getByLabel('Find interfaces').fill('nothing like it');
    await list.getByText('No interface has').waitFor();
    await list.getByLabel('Find interfaces').fill('');
    await list.getByRole('columnheader', { name: 'in', exact: true }).getByRole('button').click();
    await list.getByText('1–50 of 5 000').waitFor();
    for (const size of ['wide', 'phone']) {
      await page.setViewportSize(sizes[size]);
      await fits(page);
      assert.deepEqual(await violations(page), []);
      await shot(page, `interfaces-5000-${size}`);
    }
    await forget(addr);
  }));

  test('an exporter is added: first datagram, first template, first flow; a stranger is named', alone(async (open) => {
    const addr = '127.0.0.124';
    const { page } = await open({ path: '/explore' });
    await page.getByRole('link', { name: 'Add an exporter' }).click();
    const wait = page.getByRole('region', { name: 'What comes in' });
    await wait.getByText('Waiting for the first datagram').waitFor();
    const port = (await api('exporters')).collector.listening[0].port;
    await page.getByText(`The collector listens on UDP 127.0.0.1:${port}`).waitFor();
    await page.getByText('Only this machine itself reaches that.').waitFor();
    await from('127.0.0.125', words([5, 4], [1, 4], [0x0a010101, 4], [0, 4], [1, 4], [1000, 4], [0, 4]));
    await wait.getByText('Something arrives from 127.0.0.125 that is sFlow v5, not NetFlow or IPFIX.').waitFor();
    const step = (name) => wait.getByRole('listitem').filter({ hasText: name });
    const send = await sender(addr);
    await send(v9(0, 3, data));
    await step(`first datagram from ${addr}`).and(wait.locator('.done')).waitFor();
    await step('first template').getByText('not yet').waitFor();
    await shot(page, 'add-half');
    await send(v9(1, 3, template));
    await step('first template').and(wait.locator('.done')).waitFor();
    await send(v9(2, 3, data));
    await step('first flow').and(wait.locator('.done')).waitFor();
    await wait.getByText('It works').waitFor();
    for (const size of ['wide', 'phone']) {
      await page.setViewportSize(sizes[size]);
      await fits(page);
      assert.deepEqual(await violations(page), []);
      await shot(page, `add-${size}`);
    }
    await wait.getByRole('link', { name: 'name it' }).click();

    // And away with it again: first its losses, then itself.
    const leave = page.getByRole('region', { name: 'Leave out or forget' });
    const known = async () => (await api('exporters')).exporters.find((e) => e.addr === addr);
    await leave.getByRole('checkbox').check();
    await becomes(true, async () => (await known()).left_out_of_loss, 'left out');
    await leave.getByRole('checkbox').uncheck();
    await becomes(false, async () => (await known()).left_out_of_loss, 'left out no more');
    await leave.getByRole('button', { name: 'Forget this exporter' }).click();
    await leave.getByRole('button', { name: 'Keep it' }).click();
    assert.ok(await known(), 'who is asked may say no');
    await leave.getByRole('button', { name: 'Forget this exporter' }).click();
    assert.deepEqual(await violations(page), []);
    await leave.getByRole('button', { name: 'Forget it' }).click();
    await page.getByRole('heading', { name: 'Exporters', exact: true }).waitFor();
    await becomes(undefined, known, 'it is forgotten');
  }));
}

test('sixty exporters in all their states: the word of each, counted and found', async (open) => {
  const real = (await api('exporters')).exporters[0];
  const states = [['healthy', 'healthy'], ['clock', 'clock 3 h ahead, silent for 6 min'], ['times', 'all times impossible'], ['waiting', 'no template for 5 sets'], ['losing', '5 sets without template, 3 datagrams missing'], ['silent', 'silent for 2 h']];
  const many = Array.from({ length: 60 }, (_, i) => {
    const [health, health_text] = states[i % states.length];
    return { ...real, id: 6000 + i, label: `edge-${i + 1}`, name: `edge-${i + 1}`, addr: `192.0.2.${i + 1}`, last_seen: new Date().toISOString(), health, health_text, losses_last_hour: [], left_out_of_loss: false };
  });
  const { page } = await open({ path: '/exporters', route: (p) => json(p, 'exporters', { exporters: many, collector: { listen: '192.0.2.5:9995', told: true, listening: [], losses_last_hour: [], strangers: [] } }) });
  const rows = page.getByRole('region', { name: 'Exporters' }).locator('tbody tr');
  await becomes(60, () => rows.count());
  for (const [i, [, text]] of states.entries()) await rows.nth(i).getByText(text, { exact: true }).waitFor();
  await page.getByRole('button', { name: 'clock off 10' }).click();
  await becomes(10, () => rows.count(), 'those whose clock is off');
  await page.getByRole('button', { name: 'all 60' }).click();
  await page.getByLabel('Find exporters').fill('without template');
  await becomes(10, () => rows.count(), 'found by what ails them');
  for (const size of ['wide', 'phone']) {
    await page.setViewportSize(sizes[size]);
    await fits(page);
    assert.deepEqual(await violations(page), []);
    await shot(page, `exporters-60-${size}`, false);
  }
});
