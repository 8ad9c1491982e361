// Paper, the narrowest phone, and the weight of the first page.

import assert from 'node:assert/strict';
import { gzipSync } from 'node:zlib';
import { drawn, fits, past, shot, test } from '../harness.mjs';

test('print is clean, 360 px is wide enough, the first page is small', async (open) => {
  const { page, requested } = await open({ path: `/?${past}&key=src-addr,dst-addr` });
  await drawn(page);
  const overview = await open({ path: '/' });
  await overview.page.getByRole('region', { name: 'Top talkers by bytes' }).locator('tbody tr').first().waitFor();
  let total = 0;
  for (const asked of [requested, overview.requested]) {
    let size = 0;
    for (const url of new Set(asked)) {
      const path = new URL(url).pathname;
      if (path.startsWith('/api/') || path.includes('/chart-') || path.includes('/editor-') || path === '/openapi.json') continue;
      const res = await fetch(url);
      assert.equal(res.status, 200, url);
      size += gzipSync(Buffer.from(await res.arrayBuffer())).length;
    }
    assert.ok(size > 0 && size <= 150 * 1024, `first page is ${size} bytes gzip`);
    total = Math.max(total, size);
  }
  await page.setViewportSize({ width: 360, height: 740 });
  await fits(page);
  await shot(page, 'explore-360');
  await page.setViewportSize({ width: 800, height: 1100 });
  await page.emulateMedia({ media: 'print' });
  await shot(page, 'explore-print');
  return `the first page is ${(total / 1024).toFixed(1)} KiB gzip before the chart's code`;
});
