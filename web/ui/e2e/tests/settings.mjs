// What people say of an exporter and of its interfaces.

import assert from 'node:assert/strict';
import { alone, api, becomes, search, test, where } from '../harness.mjs';

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
    return [e.color || '', e.sampling_rate_set ?? null, e.sampling_mode, e.sampling_from];
  };
  const rate = settings.getByLabel('Sampling, 1 in');
  await rate.fill('many');
  await store();
  assert.match(await page.getByRole('main').getByRole('alert').innerText(), /“many” is no sampling rate/);
  await settings.getByLabel('Colour').fill('#aa3377');
  await rate.fill('1:100');
  await settings.getByLabel('holds').selectOption('unknown');
  await settings.getByLabel('from, UTC').fill('2026-01-02T03:04');
  await store();
  await becomes(['#aa3377', 100, 'unknown', '2026-01-02T03:04:00Z'], now, 'colour and rate are kept');
  await settings.getByRole('button', { name: 'none' }).click();
  await rate.fill('');
  await store();
  await becomes(['', null, 'instead', null], now, 'colour and rate are taken back');

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
