// Hundreds of exporters.

import assert from 'node:assert/strict';
import { api, becomes, fits, hour, iso, json, shot, sizes, test, violations } from '../harness.mjs';

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
