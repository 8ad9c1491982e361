// Ten jobs of somebody who looks after a network, on the demo of the lab. Each begins on the
// overview, as somebody who has just come, and takes at most five clicks. A field that is
// typed into counts as one click, with the key that leads to it and the Enter after it; what
// is chosen from a menu of the browser counts as two.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { alone, api, base, becomes, digits, drawn, mock, open as openPage, search, shot, still, test, where } from '../harness.mjs';

const most = 5;

/** Hand does what a person does, and counts it. */
class Hand {
  #did = [];
  constructor(page) {
    this.page = page;
  }
  get clicks() {
    return this.#did.reduce((n, d) => n + d.n, 0);
  }
  get did() {
    return this.#did.map((d) => d.what).join(' · ');
  }
  #count(what, n = 1) {
    this.#did.push({ what, n });
  }
  async click(what, locator) {
    this.#count(what);
    await locator.click();
  }
  async choose(what, locator, option) {
    this.#count(what, 2);
    await locator.selectOption(option);
  }
  /** range types two fields: from when, and until when. */
  async range(from, to) {
    this.#count(`from ${from}`), this.#count(`to ${to}`);
    await this.page.keyboard.press('t');
    await this.page.getByLabel('From', { exact: true }).waitFor();
    await becomes('From', () => this.page.evaluate(() => document.activeElement.closest('label')?.textContent.trim()), 'the first field has the focus');
    await this.page.keyboard.type(from);
    await this.page.keyboard.press('Tab');
    await this.page.keyboard.press('Control+a');
    await this.page.keyboard.type(to);
    await this.page.keyboard.press('Enter');
  }
  async filter(text) {
    this.#count(`filter ${text}`);
    await this.page.keyboard.press('/');
    await becomes(true, () => this.page.evaluate(() => !!document.activeElement.closest('input, textarea, [contenteditable]')), 'the filter has the focus');
    await this.page.keyboard.type(text);
    await this.page.keyboard.press('Enter');
    await becomes(text, async () => (await search(this.page)).get('filter'), 'the filter is applied');
  }
}

/** job is a test of one job; prepare makes what it needs before somebody comes. */
const job = (name, fn, { zone = () => 'UTC', prepare = async () => {} } = {}) =>
  test(`job: ${name}`, alone(async (open) => {
    await still;
    const given = await prepare();
    try {
      const { page } = await open({ path: '/', zone: await zone() });
      await page.getByRole('region', { name: 'Top talkers by bytes' }).locator('tbody tr').first().waitFor();
      const hand = new Hand(page);
      const says = await fn({ page, hand, given, open });
      await shot(page, `job-${name.replace(/\W+/g, '-')}`);
      assert.ok(hand.clicks > 0 && hand.clicks <= most, `${hand.clicks} clicks: ${hand.did}`);
      return `${hand.clicks} ${hand.clicks === 1 ? 'click' : 'clicks'} (${hand.did}): ${says}`;
    } finally {
      await given?.close?.();
    }
  }));

// The table under the graph, as a person reads it.
const rows = (page) => page.locator('section table tbody tr:not(.other)');
const firstCells = (page) => rows(page).evaluateAll((all) => all.map((r) => [...r.querySelectorAll('td.key')].map((c) => c.querySelector('.value, span')?.textContent.trim())));

/** answered waits until the table says what the API says to the question of its own link to JSON. */
async function answered(page, keys) {
  await drawn(page);
  let rows;
  await becomes(true, async () => {
    const link = await page.locator('section').filter({ has: page.locator('table tfoot') }).getByRole('link', { name: 'JSON', exact: true }).last().getAttribute('href');
    ({ rows } = await (await fetch(base + link)).json());
    const want = rows.map((r) => keys.map((k) => String(r.values[k])));
    const got = await firstCells(page);
    return rows.length > 0 && JSON.stringify(got) === JSON.stringify(want);
  }, `the table is the answer to its question, by ${keys}`);
  return rows;
}

const overviewGraph = (page, name) => page.locator('a.small').filter({ has: page.getByRole('heading', { name: new RegExp(`^${name}`) }) });
const ranking = (page, by) => page.getByRole('region', { name: `Top talkers by ${by}` }).getByRole('link', { name: 'explore' });
const tab = (page, name) => page.getByRole('group', { name: 'Answers' }).getByRole('button', { name });
const nav = (page, name) => page.getByRole('navigation', { name: 'Pages' }).getByRole('link', { name });
const collectorPort = async () => (await api('exporters')).collector.listening.filter((x) => x.running && x.protocol === 'udp').sort((a, b) => Date.parse(b.reported_at) - Date.parse(a.reported_at))[0].port;
const forget = async (found) => {
  for (const e of (await api('exporters')).exporters.filter(found)) await fetch(`${base}/api/v1/exporters/${e.id}`, { method: 'DELETE' });
};
/** send sends datagrams from an address of loopback. */
async function send(addr, port, ...datagrams) {
  const socket = createSocket('udp4');
  await new Promise((done) => socket.bind(0, addr, done));
  for (const d of datagrams) await new Promise((done, fail) => socket.send(d, port, '127.0.0.1', (err) => (err ? fail(err) : done())));
  socket.close();
}

if (!mock) {
  job('who owns most flows', async ({ page, hand }) => {
    const reports = '10.20.7.66'; // the demo's secret
    const { highlights } = await api('share?from=-24h&to=now&step=300s&raw=true');
    assert.equal(highlights[0].addr, reports);
    const spike = page.locator('.share button').filter({ hasText: 'took part in' }).filter({ hasText: reports }).first();
    const said = await spike.innerText();
    await hand.click('the spike', spike);
    await page.waitForFunction(() => location.pathname === '/explore');
    await drawn(page);
    const q = await search(page);
    assert.equal(q.get('filter'), `ip ${reports}`);
    const [from, to] = q.get('pin').split('/');
    const [all, its] = await Promise.all(['', `&filter=ip+${reports}`].map((f) => api(`top?from=${from}&to=${to}&key=protocol${f}`)));
    assert.ok(its.total.flows > all.total.flows / 2, `${its.total.flows} of ${all.total.flows} flows`);
    await becomes(its.total.flows, async () => digits(await page.locator('section table tfoot td.n[title]').first().getAttribute('title')), 'its flows in these minutes');
    return said.replaceAll('\n', ' ');
  });

  job('what stalls the link', async ({ page, hand }) => {
    await hand.click('the graph of traffic', overviewGraph(page, 'Traffic'));
    await drawn(page);
    await hand.click('peak', page.getByRole('button', { name: 'peak' }));
    await page.waitForFunction(() => location.search.includes('pin='));
    await hand.click('Conversations', tab(page, 'Conversations'));
    await hand.click('bytes', page.locator('thead').getByRole('button', { name: 'bytes', exact: true }));
    await becomes('bytes', async () => (await search(page)).get('by'));
    const [from, to] = (await search(page)).get('pin').split('/');
    // No other slot of the day has more.
    const seconds = (Date.parse(to) - Date.parse(from)) / 1000;
    const day = await api(`series?from=-24h&to=now&by=bytes&step=${seconds}s`);
    const bytes = day.total.bytes.slice(0, -1);
    const at = day.starts.findIndex((s) => Date.parse(s) === Date.parse(from));
    assert.ok(bytes[at] >= 0.999 * Math.max(...bytes), `${bytes[at]} of at most ${Math.max(...bytes)} bytes`);
    const found = await answered(page, ['src_addr', 'dst_addr']);
    const want = await api(`top?from=${from}&to=${to}&key=src-addr,dst-addr&by=bytes&limit=1`);
    assert.deepEqual(found[0].values, want.rows[0].values);
    return `${from}: ${found[0].label}, ${Math.round(found[0].share * 100)} % of the bytes`;
  });

  job('the same hour last week', async ({ page, hand }) => {
    await hand.click('1 h', page.getByRole('group', { name: 'Preset ranges' }).getByRole('button', { name: '1 h', exact: true }));
    await hand.click('the graph of flows', overviewGraph(page, 'Flows'));
    await drawn(page);
    await hand.choose('lay over the week before', page.locator('.tools').getByLabel('lay over'), { label: 'the week before' });
    const { stored, previous } = await api('series?from=-1h&lay_over=1&period=1w');
    const legend = page.getByRole('group', { name: 'Legend' });
    const week = legend.locator('.row.earlier').filter({ hasText: '1 w before' });
    await week.waitFor();
    // The demo is a day old, and the page does not draw what is not stored as nothing.
    assert.ok(Date.parse(stored.from) > Date.now() - 2 * 86_400_000 && previous[0].total.flows.every((n) => n === 0), 'the demo has a day');
    await week.getByText('not stored').waitFor();
    assert.equal((await week.locator('.value').innerText()).trim(), '–');
    await legend.getByText(/Flows are stored from .*: of 1 w before there are none\./).waitFor();
    return await legend.getByText(/Flows are stored from/).innerText();
  });

  // The demo is a day old: somewhere on earth yesterday 14:00 is in it.
  let there;
  const yesterday = async () => {
    for (let hour = 9; hour >= 2; hour--) {
      // Where it is that hour now, the time in question was 10 + hour hours ago.
      const now = new Date();
      const off = ((hour - now.getUTCHours() + 36) % 24) - 12;
      const local = new Date(now.getTime() + off * 3_600_000);
      const from = Date.UTC(local.getUTCFullYear(), local.getUTCMonth(), local.getUTCDate() - 1, 14) - off * 3_600_000;
      const range = { from: new Date(from).toISOString(), to: new Date(from + 300_000).toISOString() };
      const top = await api(`top?from=${range.from}&to=${range.to}&key=addr&filter=port+443+and+net+10.20.1.0/24&limit=2`);
      const host = top.rows.find((r) => r.values.addr.startsWith('10.20.1.'));
      // Etc/GMT-5 is five hours before Greenwich: POSIX has the sign the other way.
      if (host) return (there = { ...range, host: host.values.addr, zone: `Etc/GMT${off > 0 ? '-' : '+'}${Math.abs(off)}` }).zone;
    }
    throw new Error('nobody used port 443 at any 14:00 of the demo');
  };
  job("one host's port 443 yesterday 14:00–14:05", async ({ page, hand }) => {
    const { host, from, to } = there;
    await hand.range('yesterday 14:00', 'yesterday 14:05');
    await becomes([Date.parse(from), Date.parse(to)], async () => {
      const q = await search(page);
      return ['from', 'to'].map((x) => Date.parse(q.get(x)));
    }, 'the range is that of the zone');
    await hand.filter(`host ${host} and port 443`);
    await hand.click('the graph of flows', overviewGraph(page, 'Flows'));
    await drawn(page);
    await hand.click('Flows', tab(page, 'Flows'));
    const list = page.getByRole('region', { name: 'Flows', exact: true }).locator('tbody tr');
    await list.first().waitFor();
    const want = (await api(`flows?from=${from}&to=${to}&limit=50&filter=${encodeURIComponent(`host ${host} and port 443`)}`)).rows;
    assert.ok(want.length > 0);
    await becomes(want.length, () => list.count(), 'all of them are there');
    for (const text of await list.allInnerTexts()) assert.ok(text.includes(host) && /\b443/.test(text), `${text} is of ${host}, port 443`);
    assert.match(await list.first().innerText(), /14:0[0-5]:/, 'in the time of who looks');
    return `${want.length} flows of ${host}, ${there.zone}`;
  }, { zone: yesterday });

  job('outbound by subnet', async ({ page, hand }) => {
    await hand.filter('src net 10.20.0.0/16 and not dst net 10.20.0.0/16 and not dst net 239.0.0.0/8');
    await hand.click('explore the top talkers by bytes', ranking(page, 'bytes'));
    await drawn(page);
    await hand.choose('networks of /24', page.getByLabel('networks, IPv4'), '24');
    await becomes('src-addr/24', async () => (await search(page)).get('key'));
    const found = await answered(page, ['src_addr']);
    const networks = found.map((r) => r.values.src_addr);
    assert.ok(networks.includes('10.20.1.0/24'), `the desks go out, too: ${networks}`);
    for (const n of networks) assert.match(n, /^10\.20\.\d+\.0\/24$/);
    assert.ok(found.every((r, i) => i === 0 || r.bytes <= found[i - 1].bytes), 'the largest first');
    return found.map((r) => `${r.label} ${Math.round(r.share * 100)} %`).join(', ');
  });

  job('which interface is which', async ({ page, hand }) => {
    const core = (await api('exporters')).exporters.find((e) => e.label === 'core-1');
    await hand.click('core-1', page.getByRole('region', { name: 'Exporters' }).getByRole('link', { name: 'core-1' }));
    const list = page.getByRole('region', { name: 'List of interfaces' }).locator('tbody tr');
    await list.first().waitFor();
    const { interfaces } = await api(`interfaces?exporter=${core.id}&from=-24h`);
    assert.deepEqual(interfaces.map((i) => [i.name, i.description]).slice(0, 2), [['ge-0/0/1', 'desks'], ['ge-0/0/2', 'servers']]);
    await becomes(interfaces.map((i) => [String(i.if_index), i.name, i.description]), () => list.evaluateAll((all) => all.map((r) => [r.cells[0].innerText.trim(), r.cells[1].querySelector('input').value, r.cells[2].innerText.trim()])), 'its interfaces, by name');
    // And of all exporters, beside what went by them.
    await hand.click('Explore', nav(page, 'Explore'));
    await drawn(page);
    await hand.click('Interfaces', tab(page, 'Interfaces'));
    await page.getByRole('columnheader', { name: 'input interface' }).waitFor();
    await drawn(page);
    const want = (await api('top?from=-24h&key=in-if')).rows.filter((r) => r.values.in_if_name).map((r) => [r.values.in_if_name, r.values.exporter].join(' of ')).sort();
    assert.ok(want.includes('ge-0/0/1 of core-1') && want.includes('ethernet1/1 of edge-1'), want.join(', '));
    await becomes(want, async () => (await rows(page).evaluateAll((all) => all.map((r) => [r.querySelector('.value')?.textContent.trim(), r.querySelector('.beside')?.textContent.trim()].join(' of ')))).filter((x) => /^[a-z]/.test(x)).sort(), 'each with its exporter');
    return want.join(', ');
  });

  const dark = '127.0.0.141';
  job('why does X show nothing', async ({ page, hand }) => {
    const x = page.getByRole('region', { name: 'Exporters' }).getByRole('link').filter({ hasText: dark });
    await x.getByText('no template for').waitFor(); // before any click
    await hand.click('the exporter', x);
    const e = (await api('exporters')).exporters.find((y) => y.addr === dark);
    const d = await api(`exporters/${e.id}/diagnosis`);
    const failing = d.checks.find((c) => c.ok === false);
    const check = page.locator('.checks li').filter({ hasText: failing.text });
    await check.waitFor();
    assert.ok(failing.advice, 'it says what to do');
    await check.getByText(failing.advice, { exact: false }).waitFor();
    return `${failing.text}. ${failing.advice}`;
  }, {
    prepare: async () => {
      // NetFlow v9 whose template never came: five sets of data.
      const b = Buffer.alloc(20 + 24);
      const port = await collectorPort();
      for (let i = 0; i < 5; i++) {
        b.writeUInt16BE(9, 0), b.writeUInt16BE(1, 2), b.writeUInt32BE(7_200_000, 4), b.writeUInt32BE(Math.floor(Date.now() / 1000), 8), b.writeUInt32BE(i, 12), b.writeUInt32BE(5, 16);
        b.writeUInt16BE(300, 20), b.writeUInt16BE(24, 22);
        await send(dark, port, Buffer.from(b));
      }
      await becomes('waiting', async () => (await api('exporters')).exporters.find((e) => e.addr === dark)?.health, 'it is known');
      return { close: () => forget((e) => e.addr === dark) };
    },
  });

  job('a link for a colleague', async ({ page, hand }) => {
    await page.context().grantPermissions(['clipboard-read', 'clipboard-write'], { origin: base });
    await hand.filter('proto udp');
    await hand.click('the graph of packets', overviewGraph(page, 'Packets'));
    await drawn(page);
    await hand.click('link', page.getByRole('button', { name: 'link', exact: true }));
    await page.getByRole('button', { name: 'copied' }).waitFor();
    const link = await page.evaluate(() => navigator.clipboard.readText());
    // Here it was the last day; to who opens it later, it is the day that was seen here.
    assert.match(await where(page), /^(?!.*from=\d)/);
    const q = new URL(link).searchParams;
    const [from, to] = ['from', 'to'].map((x) => Date.parse(q.get(x)));
    assert.ok(Math.abs(to - Date.now()) < 120_000 && Math.abs(to - from - 86_400_000) < 2000, link);
    const colleague = await openPage({ path: link.slice(base.length), theme: 'dark', zone: 'Asia/Tokyo', size: 'wide' });
    try {
      await drawn(colleague.page);
      assert.deepEqual([q.get('filter'), q.get('metric')], ['proto udp', 'packets']);
      await colleague.page.getByRole('heading', { name: /^Packets/ }).waitFor();
      await becomes(true, async () => {
        const { total } = await api(`top?from=${q.get('from')}&to=${q.get('to')}&key=src-addr&filter=proto+udp`);
        const read = digits(await colleague.page.locator('section table tfoot td.n[title]').first().getAttribute('title'));
        // Flows of the last minutes still come in.
        return read > 0 && Math.abs(total.flows - read) <= total.flows / 100;
      }, 'the colleague reads the same flows');
      assert.deepEqual(colleague.wrong, []);
    } finally {
      await colleague.close();
    }
    return new URL(link).search;
  });

  job('CSV and SQL', async ({ page, hand }) => {
    await hand.click('explore the top talkers by flows', ranking(page, 'flows'));
    await answered(page, ['src_addr']);
    const table = page.locator('section').filter({ has: page.locator('#talkers-title') });
    const csv = table.getByRole('link', { name: 'CSV' });
    const [file] = await Promise.all([page.waitForEvent('download'), hand.click('CSV', csv)]);
    const lines = (await readFile(await file.path(), 'utf8')).replace(/^\ufeff/, '').trim().split(/\r?\n/).map((l) => l.split(','));
    const asked = new URL(file.url());
    assert.match(file.suggestedFilename(), /\.csv$/);
    asked.searchParams.delete('format');
    const json = await (await fetch(asked)).json();
    assert.deepEqual(lines[0].slice(0, 4), ['src_addr', 'flows', 'packets', 'bytes']);
    assert.deepEqual(lines.slice(1, 4).map((l) => l[0]), json.rows.slice(0, 3).map((r) => r.label), 'the file has the rows of the table');
    await hand.click('the same in SQL', table.getByRole('button', { name: 'the same in SQL' }));
    await hand.click('open on the SQL page', table.getByRole('link', { name: 'open on the SQL page' }));
    await page.locator('.cm-content').waitFor();
    await hand.click('Run', page.getByRole('button', { name: 'Run', exact: true }));
    const result = page.getByRole('region', { name: 'Result' }).locator('tbody tr');
    await result.first().waitFor();
    const groups = (await result.evaluateAll((all) => all.map((r) => [...r.cells].map((c) => c.innerText.trim())))).filter((r) => r[0] === 'group');
    assert.deepEqual(groups.slice(0, 3).map((r) => r[1]), json.rows.slice(0, 3).map((r) => r.label), 'and so has the statement');
    for (const [i, r] of json.rows.slice(0, 3).entries()) {
      for (const n of [Number(groups[i][2]), Number(lines[i + 1][1])]) assert.ok(Math.abs(n - r.flows) <= r.flows / 100, `${r.label}: ${n} of ${r.flows} flows`);
    }
    return `${groups.length} rows, ${groups[0][1]} has ${groups[0][2]} flows`;
  });

  job('add a real exporter and a VXLAN client', async ({ page, hand }) => {
    await hand.click('+', page.getByRole('link', { name: 'Add an exporter', exact: true }));
    const wait = page.getByRole('region', { name: 'What comes in' });
    await wait.getByText('Waiting for the first datagram').waitFor();
    const port = await collectorPort();
    const lines = await page.getByLabel('flowtally exporter settings').innerText();
    assert.ok(lines.includes('--listen-vxlan') && lines.includes('--client') && lines.includes(`--to 127.0.0.1:${port}`), `${lines} says how`);
    // As somebody does elsewhere what the page says.
    const tunnel = await free();
    const name = `mirror-${process.pid}`;
    const exporter = spawn(fileURLToPath(new URL('../../../../flowtally', import.meta.url)), ['exporter', '--listen-vxlan', `127.0.0.1:${tunnel}`, '--client', '127.0.0.1/42=floor-1', '--to', `127.0.0.1:${port}`, '--name', name, '--domain', '4711', '--idle-timeout', '1s', '--active-timeout', '2s'], { stdio: ['ignore', 'ignore', 'pipe'] });
    let said = '';
    exporter.stderr.on('data', (d) => (said += d));
    const gone = new Promise((done) => exporter.once('exit', done));
    try {
      // It is sent packets until it is seen: that it listens is not told to us.
      const step = (what) => wait.getByRole('listitem').filter({ hasText: what }).and(wait.locator('.done'));
      let sent = 0;
      let seen = false;
      const sending = (async () => {
        while (!seen && exporter.exitCode === null) {
          await send('127.0.0.1', tunnel, vxlan(42, ++sent)).catch(() => {});
          await new Promise((done) => setTimeout(done, 200));
        }
      })();
      for (const what of ['first datagram from 127.0.0.1', 'first template', 'first flow']) await step(what).waitFor();
      await wait.getByText('It works').waitFor();
      await becomes(name, async () => (await wait.locator('.arrival b').first().innerText()).trim(), 'it is called what it says');
      await shot(page, 'job-added');
      await hand.click('its flows', wait.getByRole('link', { name: 'its flows' }));
      await hand.click('Interfaces', tab(page, 'Interfaces'));
      // The client, by the name that it was given.
      await rows(page).filter({ hasText: 'floor-1' }).first().waitFor();
      seen = true;
      await sending;
      const e = (await api('exporters')).exporters.find((x) => x.label === name);
      const { interfaces } = await api(`interfaces?exporter=${e.id}&from=-15m`);
      assert.ok(interfaces.some((i) => i.name === 'floor-1' && i.in_flows > 0), JSON.stringify(interfaces));
      const flows = await api(`flows?from=-15m&exporter=${e.id}&filter=${encodeURIComponent('src ip 10.93.0.1')}`);
      assert.equal(flows.rows[0].dst_addr, '10.93.0.2');
      return `${name}, ${sent} packets, client floor-1`;
    } catch (err) {
      throw new Error(`${err.message}\nthe exporter said: ${said}`, { cause: err });
    } finally {
      exporter.kill('SIGTERM');
      await gone;
      await forget((e) => e.label === name);
    }
  });
}

/** free gives a port of loopback that nobody has. */
async function free() {
  const s = createSocket('udp4');
  await new Promise((done) => s.bind(0, '127.0.0.1', done));
  const { port } = s.address();
  await new Promise((done) => s.close(done));
  return port;
}

/** vxlan is a frame in a tunnel: a UDP packet from 10.93.0.1 to 10.93.0.2. */
function vxlan(id, n) {
  const payload = Buffer.alloc(40, n);
  const b = Buffer.alloc(8 + 14 + 20 + 8 + payload.length);
  b.writeUInt8(0x08, 0), b.writeUInt32BE(id << 8, 4);
  b.set([2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0], 8);
  const ip = 22;
  b.set([0x45, 0], ip), b.writeUInt16BE(28 + payload.length, ip + 2), b.writeUInt8(64, ip + 8), b.writeUInt8(17, ip + 9);
  b.set([10, 93, 0, 1, 10, 93, 0, 2], ip + 12);
  let sum = 0;
  for (let i = 0; i < 20; i += 2) sum += b.readUInt16BE(ip + i);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  b.writeUInt16BE(~sum & 0xffff, ip + 10);
  b.writeUInt16BE(40_000, ip + 20), b.writeUInt16BE(5000, ip + 22), b.writeUInt16BE(8 + payload.length, ip + 24);
  payload.copy(b, ip + 28);
  return b;
}
