// How long the page may take.

import assert from 'node:assert/strict';
import { base, drawn, search, test } from '../harness.mjs';

test('budgets: interactive, and a day of twenty series redrawn', async (open) => {
  const { page, requested } = await open({ path: '/explore' });
  await drawn(page);
  await page.goto(`${base}/explore`);
  await page.getByRole('button', { name: '24 h' }).waitFor();
  const interactive = await page.evaluate(() => Math.round(performance.now()));
  await page.goto(`${base}/explore?from=-24h&to=now&stack=src-addr&top=20`);
  await drawn(page);
  const box = await page.locator('.plot').boundingBox();
  const times = [];
  for (let i = 0; i < 3; i++) {
    const from = (await search(page)).get('from');
    const already = requested.length;
    await page.mouse.move(box.x + 120, box.y + 100);
    await page.mouse.down();
    await page.mouse.move(box.x + 560, box.y + 100, { steps: 3 });
    const asked = page.evaluate(
      () =>
        new Promise((done) => {
          // From letting go until the canvas has been drawn with the new answer: two frames after it came.
          const began = performance.now();
          const seen = performance.getEntriesByType('resource').filter((e) => e.name.includes('/series?')).length;
          const look = () => {
            const all = performance.getEntriesByType('resource').filter((e) => e.name.includes('/series?'));
            if (all.length > seen) requestAnimationFrame(() => requestAnimationFrame(() => done(Math.round(performance.now() - began))));
            else setTimeout(look, 2);
          };
          look();
        }),
    );
    await page.mouse.up();
    times.push(await asked);
    await page.waitForFunction((f) => new URLSearchParams(location.search).get('from') !== f, from);
    await drawn(page);
    // Of the new range everything is asked once; names and exporters are of no range.
    const questions = requested.slice(already).map((u) => new URL(u)).filter((u) => /\/(series|top|share|loss)$/.test(u.pathname) && !u.searchParams.get('raw'));
    assert.deepEqual(questions.map((u) => u.pathname.split('/').at(-1)).sort(), ['loss', 'series', 'share', 'top'], 'what a brush asks');
    await page.goBack();
    await drawn(page);
  }
  // A machine that others use says little about milliseconds: they are told, and only what is absurd fails.
  assert.ok(interactive < 10_000 && Math.min(...times) < 10_000, `${interactive} ms, ${times} ms`);
  return `interactive after ${interactive} ms, a brush over a day of 20 series drawn after ${times.join(', ')} ms`;
});
