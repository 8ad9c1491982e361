// What a graph says is true at a glance: colours, slots that are not complete, units, and who stood out.

import assert from 'node:assert/strict';
import { api, base, becomes, drawn, end, exactly, hour, iso, mock, past, search, shot, sizes, still, test } from '../harness.mjs';

/** altered answers a path with what a server says, after a change. */
const altered = (page, path, change) =>
  page.route(`**/api/v1/${path}?*`, async (r) => {
    try {
      const res = await r.fetch();
      if (!res.ok()) return await r.fulfill({ response: res });
      const body = await res.json();
      await r.fulfill({ response: res, json: change(body, new URL(r.request().url())) ?? body });
    } catch {
      await r.abort().catch(() => {}); // the page may be gone: nobody waits for it any more
    }
  });

// The colours of a legend, by what they stand for.
const legend = (page, rows) =>
  page.locator(rows).evaluateAll((all) => Object.fromEntries(all.filter((e) => e.querySelector('i')).map((e) => [e.querySelector('span:not(:empty)')?.textContent.trim() || e.textContent.trim(), getComputedStyle(e.querySelector('i')).backgroundColor])));
const ofGraph = (page) => legend(page, '.legend .row.entry .name');
const ofOverview = (page) => legend(page, '.heading .legend > span');

test('no colour follows rank: whatever the order, a protocol, an exporter and an address keep their own', async (open) => {
  await still;
  for (const stack of ['protocol', 'exporter', 'src-addr', 'dst-port']) {
    const { page, close } = await open({
      path: `/explore?stack=${stack}&${past}`,
      route: (p) => altered(p, 'series', (a, u) => (u.searchParams.get('by') === 'bytes' ? void a.lines.reverse() : undefined)),
    });
    await drawn(page);
    const flows = await ofGraph(page);
    const order = Object.keys(flows);
    await page.getByRole('button', { name: 'bits', exact: true }).click();
    await page.getByRole('heading', { name: /^Bits per second/ }).waitFor();
    await page.waitForFunction(() => !document.querySelector('.stale'));
    const bits = await ofGraph(page);
    const both = order.filter((l) => bits[l]);
    assert.ok(both.length > 0, `${stack}: ${order} and ${Object.keys(bits)} share something`);
    if (stack === 'protocol') assert.notDeepEqual(Object.keys(bits), order, 'their order is another');
    for (const l of both) assert.equal(bits[l], flows[l], `${stack} ${l}`);
    assert.equal(new Set(Object.values(flows)).size, order.length, `${stack}: all are told apart`);
    if (stack === 'protocol') {
      await page.goto(`${base}/overview?${past}`);
      await page.locator('.small .unit').first().waitFor();
      const overview = await ofOverview(page);
      for (const l of order.filter((x) => overview[x])) assert.equal(overview[l], flows[l], `on the overview, ${l}`);
    }
    await close();
  }
});

test('slots that flows may still be added to are hatched on every graph, from where the answer says, and none of what is over', async (open) => {
  for (const [size, theme] of [['wide', 'light'], ['phone', 'dark']]) {
    const { page } = await open({ size, theme, path: '/explore?from=-1h&to=now' });
    let said = null;
    page.on('response', async (r) => r.url().includes('/api/v1/series?') && (said = await r.json().catch(() => said)));
    await page.reload();
    await drawn(page);
    await page.locator('.strip .growing').waitFor();
    const hatched = page.locator('.plot .growing');
    // Where it begins, in pixels, is where the first slot that ends after growing_from begins.
    await becomes(true, async () => {
      const first = said.starts.findIndex((t) => Date.parse(t) + said.step_seconds * 1000 > Date.parse(said.growing_from));
      const plot = await page.locator('.plot').boundingBox();
      const box = await hatched.boundingBox();
      const [left, right] = [plot.x + (plot.width < 500 ? 44 : 52), plot.x + plot.width - 18];
      const want = left + ((Date.parse(said.starts[first]) - Date.parse(said.from)) / (Date.parse(said.to) - Date.parse(said.from))) * (right - left);
      return Math.abs(box.x - want) <= 1.5 && Math.abs(box.x + box.width - right) <= 1.5;
    }, 'the hatching is of these slots');
    await page.locator('.legend').getByText(/not complete from \d\d:\d\d/).waitFor();
    await page.getByRole('button', { name: 'the graph as a table' }).click();
    assert.ok((await page.getByRole('rowheader', { name: '(not complete)' }).count()) >= 5, 'the table says it too');
    await shot(page, `growing-${size}-${theme}`);
    for (const [path, marked, many] of [
      ['/overview?from=-1h&to=now', '.small .growing', 3],
      ['/overview?from=-1h&to=now', '.strip .growing', 1],
      ['/explore?tab=heatmap&from=-2d&to=now', 'td .grows', 1],
    ]) {
      await page.goto(base + path);
      await page.locator(marked).first().waitFor();
      assert.ok((await page.locator(marked).count()) >= many, `${path}: ${marked}`);
    }
    await page.getByText(/not complete from/).first().waitFor();
    // The sparkline of an address.
    await page.goto(`${base}/explore?from=-1h&to=now`);
    await drawn(page);
    await page.locator('section table .value').first().click();
    await page.getByRole('menuitem', { name: 'all about it' }).click();
    await page.locator('dialog .growing').waitFor();
    await page.getByText(/at most .* not complete from/).waitFor();
    // What is over is complete.
    for (const path of [`/explore?${past}`, `/overview?${past}`]) {
      await page.goto(base + path);
      await page.locator('.plot .unit').first().waitFor();
      await page.locator('.strip path').waitFor();
      assert.equal(await page.locator('.growing').count(), 0, path);
    }
  }
});

test('a slot without flows yet is hatched, too: the right edge looks like no outage', async (open) => {
  const { page } = await open({
    path: '/explore?from=-1h&to=now',
    route: (p) => altered(p, 'series', (a) => {
      for (const l of [a.total, a.other, ...a.lines]) if (l) for (const m of ['flows', 'packets', 'bytes']) l[m] = l[m].map((n, i, all) => (i >= all.length - 4 ? 0 : n));
    }),
  });
  await drawn(page);
  const box = await page.locator('.plot .growing').boundingBox();
  assert.ok(box.width > 40, `${box.width} px of an hour`);
  await shot(page, 'growing-empty');
});

test('the strip stands under its graph, slot under slot, with a scale', async (open) => {
  await still;
  for (const path of [`/explore?${past}`, `/overview?${past}`]) {
    for (const size of Object.keys(sizes)) {
      const steps = {};
      const { page, close } = await open({ size, path, route: (p) => p.on('request', (r) => {
        const m = /\/api\/v1\/(series|share)\?/.exec(r.url());
        const step = m && new URL(r.url()).searchParams.get('step');
        if (step) steps[m[1]] = step;
      }) });
      await page.locator('.strip path').waitFor();
      await page.locator('.plot .unit').first().waitFor();
      assert.equal(steps.share, steps.series, 'both have the same slots');
      const plot = await page.locator('.plot').first().boundingBox();
      const strip = await page.locator('.strip svg').boundingBox();
      assert.ok(Math.abs(strip.x - plot.x) < 1 && Math.abs(strip.width - plot.width) < 1, `${path} ${size}: both are as wide: ${JSON.stringify([strip, plot])}`);
      assert.ok(strip.y > plot.y + plot.height && strip.y < plot.y + plot.height + 60, 'it stands under it');
      const scale = await page.locator('.strip text').allTextContents();
      assert.deepEqual(scale, ['0', '50', '100 %']);
      // The first bar begins where the axis does, and no bar leaves it.
      const axis = await page.locator('.strip line.base').evaluate((e) => [e.x1.baseVal.value, e.x2.baseVal.value]);
      const edges = (await page.locator('.strip path').getAttribute('d')).match(/M(\d+)|H(\d+)/g).map((m) => Number(m.slice(1)));
      assert.ok(Math.min(...edges) >= axis[0] && Math.max(...edges) <= axis[1] + 1, `${edges} within ${axis}`);
      await shot(page, `strip-${path.slice(1, 4)}-${size}`);
      await close();
    }
  }
});

test('all who stood out are listed, in order of time, by host; a click looks at one', async (open) => {
  await still;
  const spikes = Array.from({ length: 14 }, (_, i) => ({ addr: ['10.1.4.7', '2001:db8:4:1f2c:9a3e:71ff:fe04:b2d8', '10.2.0.21'][i % 3], from: iso(end - 6 * hour + i * 20 * 60_000), to: iso(end - 6 * hour + (i * 20 + 2) * 60_000), share: 0.5 + ((i * 7) % 10) / 21, flows: 1000 + i }));
  for (const size of ['wide', 'phone']) {
    const { page, close } = await open({ size, path: `/explore?${past}`, route: (p) => altered(p, 'share', (a) => ({ ...a, spikes, highlights: spikes.slice(0, 10) })) });
    const list = page.getByRole('list', { name: 'Who stood out, in order of time' });
    const rows = list.getByRole('button');
    await becomes(14, () => rows.count(), 'none is left out');
    const hours = (await list.locator('.time').allTextContents()).map((t) => t.match(/\d\d:\d\d/)[0]);
    assert.deepEqual(hours, spikes.map((h) => h.from.slice(11, 16)), 'in order of time');
    await page.getByText('14 times one host took part in at least half of all flows').waitFor();
    const host = page.getByRole('button', { name: '2001:db8:4:1f2c:9a3e:71ff:fe04:b2d8 5×' });
    await host.click();
    await becomes(5, () => rows.count(), 'only its own');
    await shot(page, `spikes-${size}`);
    await rows.nth(1).click();
    await becomes(`ip ${spikes[4].addr}`, async () => (await search(page)).get('filter'));
    assert.equal((await search(page)).get('pin'), `${spikes[4].from}/${spikes[4].to}`);
    await close();
  }
});

test('units stand on the axes, and an empty answer says from when there are flows', async (open) => {
  await still;
  const { page } = await open({ path: `/overview?${past}` });
  await page.locator('.small .unit').nth(2).waitFor();
  assert.deepEqual(await page.locator('.small .unit').allTextContents(), ['flows/s', 'packets/s', 'bit/s']);
  assert.match(await page.locator('.small').nth(2).innerText(), /^Traffic[^]*bit\/s[^]* in all/);
  const nothing = 'from=2001-01-01T00:00:00Z&to=2001-01-01T06:00:00Z';
  const said = (await api(`series?${nothing}`)).stored;
  assert.ok(said.from < said.to);
  // The mock makes flows at any time.
  const none = (p) => mock && Promise.all(['series', 'top', 'share', 'flows', 'heatmap', 'summary'].map((path) => altered(p, path, (a) => {
    for (const l of [a.total].flat()) for (const m of ['flows', 'packets', 'bytes']) if (l) l[m] = Array.isArray(l[m]) ? l[m].map(() => 0) : 0;
    if (a.rows) a.rows = path === 'summary' ? a.rows.map((r) => ({ ...r, flows: 0, packets: 0, bytes: 0 })) : [];
    if (a.lines) a.lines = [];
    if (a.cells) a.cells = a.cells.map((d) => d.map(() => 0));
    if (a.flows) a.flows = a.flows.map(() => 0);
    Object.assign(a, { other: null, spikes: [], highlights: [] });
  })));
  for (const path of [`/explore?${nothing}`, `/explore?tab=flows&${nothing}`, `/explore?tab=sankey&${nothing}`, `/explore?tab=heatmap&${nothing}`, `/explore?tab=summary&${nothing}`, `/overview?${nothing}`]) {
    const x = await open({ path, route: none });
    const where = path.startsWith('/explore') ? x.page.locator('section:last-of-type') : x.page.locator('main');
    await where.getByText(/No flows in this range\.\s+There are flows from .* to /).first().waitFor();
    if (path.startsWith('/overview')) await x.page.locator('.small').first().getByText('no flows').waitFor();
    await shot(x.page, `empty-${path.slice(1).replace(/\W.*tab=/, '-').replace(/\W.*/, '')}`);
    await x.close();
  }
  if (mock) return;
  await page.goto(`${base}/explore?${nothing}`);
  await page.getByRole('button', { name: 'the last of them', exact: true }).click();
  await becomes(true, async () => Date.parse((await search(page)).get('to')) >= Date.parse(said.to), 'it leads to where there are some');
});

test('the zone of the page goes along: the heat map follows it, and an hour that is clicked is that hour', async (open) => {
  await still;
  const asked = [];
  const { page } = await open({ zone: 'Asia/Kolkata', path: '/explore?tab=heatmap&from=-3d&to=now', route: (p) => p.on('request', (r) => /\/api\/v1\/(heatmap|series|share|top)\?/.test(r.url()) && asked.push(new URL(r.url()).searchParams.get('zone'))) });
  await page.getByText('by the clock of UTC+5:30').waitFor();
  await page.getByRole('group', { name: /^Scale: 0 up to/ }).waitFor();
  assert.ok(asked.length > 2 && asked.every((z) => /^Asia\/(Kolkata|Calcutta)$/.test(z ?? '')), String(asked));
  const cell = page.locator('td button:not(:disabled)').first();
  const [, day, at] = /^(\S+) (\d\d):00/.exec(await cell.getAttribute('aria-label'));
  await cell.click();
  // The mock knows no zone, the page does.
  const want = Date.parse(`${day}T${at}:00:00+05:30`);
  await becomes([iso(want), iso(want + hour)], async () => ['from', 'to'].map((k) => new URL(page.url()).searchParams.get(k)));
  await page.getByLabel('time zone').selectOption('utc');
  asked.length = 0;
  await page.goto(`${base}/explore?tab=heatmap&from=-3d&to=now`);
  await page.getByText('by the clock of UTC.').waitFor();
  assert.ok(asked.every((z) => z === null), String(asked));
});

test('‹ and › go by whole minutes, there and back', async (open) => {
  await still;
  const { page } = await open({ path: '/explore?from=-15m&to=now' });
  const ends = async () => ['from', 'to'].map((k) => new URL(page.url()).searchParams.get(k));
  const whole = (t) => Date.parse(t) % 60_000 === 0;
  await page.getByRole('button', { name: 'Half a range back' }).click();
  await becomes(true, async () => (await ends()).every(whole), 'both ends are whole minutes');
  await page.getByRole('button', { name: 'Half a range back' }).click();
  await becomes(true, async () => (await ends()).every(whole));
  const here = await ends();
  await page.getByRole('button', { name: 'Half a range back' }).click();
  await page.getByRole('button', { name: 'Half a range on' }).click();
  await becomes(here, ends, 'and back is where it was');
});

test('a protocol has one name, in the graph, the table, the flows and the tab of its own', async (open) => {
  await still;
  const { page } = await open({ path: `/explore?key=protocol&${past}` });
  await drawn(page);
  await page.getByRole('group', { name: 'Answers' }).getByRole('button', { name: 'Protocols', pressed: true }).waitFor();
  const want = (await api(`top?${past}&key=protocol`)).rows;
  const names = await page.locator('section table tbody tr:not(.other) .value').allTextContents();
  assert.deepEqual(names.map((n) => n.trim()), want.map((r) => r.label));
  assert.deepEqual(Object.keys(await ofGraph(page)).filter((l) => l !== 'other').sort(), want.slice(0, 8).map((r) => r.label).sort());
  assert.deepEqual(await exactly(page.locator('section table tbody tr').first()), [want[0].flows, want[0].packets, want[0].bytes]);
  await page.goto(`${base}/explore?tab=summary&${past}`);
  await page.getByRole('columnheader', { name: 'class' }).waitFor();
  assert.equal(await page.getByRole('columnheader', { name: 'protocol', exact: true }).count(), 0);
});
