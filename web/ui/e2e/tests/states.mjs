// What the page says when there is nothing, nothing yet, an error, or a long wait.

import assert from 'node:assert/strict';
import { drawn, end, fits, hour, iso, json, shot, test, violations } from '../harness.mjs';

for (const [size, theme] of [
  ['wide', 'light'],
  ['phone', 'dark'],
]) {
  test(`${size} ${theme}: nothing yet says how to begin`, async (open) => {
    const listening = [{ collector: 'here', protocol: 'udp', address: '[::]:9995', port: 9995, reachable: ['192.0.2.200', '2001:db8::200'], container: false, announced: '', running: true, reported_at: iso(Date.now()) }];
    const { page } = await open({ size, theme, route: (p) => json(p, 'exporters', { exporters: [], collector: { listen: '[::]:9995', told: false, listening, losses_last_hour: [], strangers: [] } }) });
    await page.getByText('Waiting for the first datagram').waitFor();
    await page.getByText('The collector listens on UDP 192.0.2.200:9995, and as well on [2001:db8::200]:9995.').waitFor();
    const kinds = page.getByRole('group', { name: 'Kind of exporter' }).getByRole('button');
    assert.ok((await kinds.count()) >= 18, 'every kind of device has its lines');
    for (const kind of await kinds.all()) {
      await kind.click();
      assert.match(await page.locator('pre').innerText(), /192\.0\.2\.200/, await kind.innerText());
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
