// The story this program began with.

import assert from 'node:assert/strict';
import { api, becomes, drawn, exactly, search, shot, still, sums, test } from '../harness.mjs';

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
