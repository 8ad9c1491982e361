// What an answer says about itself.

import assert from 'node:assert/strict';
import { api, drawn, end, hour, iso, past, shot, test, violations } from '../harness.mjs';

test('retention, remainder and sampling are said where they matter', async (open) => {
  const cut = { from: iso(end - 3 * hour), reason: 'raw flows reach back to yesterday' };
  const { page } = await open({
    path: `/explore?${past}`,
    route: (p) =>
      p.route(/\/api\/v1\/(top|series)\?/, async (r) => {
        const answer = await (await r.fetch()).json();
        await r.fulfill({ json: { ...answer, exact: false, cut, remainder: { share: 0.12, error: 99 }, sampling: 'unknown' } });
      }),
  });
  await drawn(page);
  await page.getByText('Only a part of this range is kept.').waitFor();
  assert.match(await page.locator('.about').last().innerText(), /12\.0\s%.*remainder.*cut at.*sampling unknown/);
  assert.deepEqual(await violations(page), []);
  await shot(page, 'state-partial');
});
