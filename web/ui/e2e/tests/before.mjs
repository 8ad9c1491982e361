// A database that is away, and a filter with an error: what stands from before is dimmed
// and says of when it is, and what could not be loaded does not look like nothing.

import assert from 'node:assert/strict';
import { base, becomes, drawn, exactly, past, shot, sizes, still, test, violations } from '../harness.mjs';

const away = { title: 'Service Unavailable', status: 503, detail: 'The database does not answer. Is PostgreSQL running? The page asks again by itself.' };
/** fails answers each question as a server without its database, while on says so. */
const fails = (page, on) =>
  page.route('**/api/v1/**', (r) => (on() && !/\/api\/v1\/(keys|me|preferences)/.test(r.request().url()) ? r.fulfill({ status: 503, contentType: 'application/problem+json', body: JSON.stringify(away) }) : r.fallback()));

const panels = [
  ['overview', '/overview?from=-6h&to=now', [['.small.stale', 3], ['.strip.stale', 1], ['table.stale', 2], ['.exporters.stale', 1]]],
  ['explore', '/explore?from=-6h&to=now', [['.drawings .stale .plot', 1], ['.legend.stale', 1], ['.strip.stale', 1], ['table.stale tfoot', 1]]],
  ['flows', '/explore?tab=flows&from=-6h&to=now', [['.scroll.stale', 1]]],
  ['sankey', '/explore?tab=sankey&from=-6h&to=now', [['.scroll.stale', 1]]],
  ['heatmap', '/explore?tab=heatmap&from=-3d&to=now', [['.scroll.stale', 1]]],
  ['summary', '/explore?tab=summary&from=-6h&to=now', [['.stale table', 1]]],
  ['events', '/events?from=-6h&to=now', [['.scroll.stale', 1]]],
  ['saved', '/saved', []],
];

for (const [size, theme] of [['wide', 'light'], ['phone', 'dark']]) {
  test(`${size} ${theme}: with the database away, what stands is dimmed and says of when it is, on every page and panel`, async (open) => {
    for (const [name, path, stale] of panels) {
      let gone = false;
      const { page, wrong, close } = await open({ size, theme, path, refused: /status of 503/, route: (p) => fails(p, () => gone) });
      await page.waitForLoadState('networkidle');
      await page.waitForFunction(() => !document.querySelector('.stale, main .bone'));
      gone = true;
      // Each question is asked anew: of the next hour back, or the same once more.
      if (name === 'saved') {
        await page.reload();
        await page.getByRole('alert').getByText('The database does not answer.').first().waitFor();
        assert.equal(await page.getByText('Nothing is saved yet').count(), 0);
        await close();
        continue;
      }
      await page.getByRole('button', { name: 'Half a range back' }).click();
      if (name === 'overview') await page.waitForTimeout(5500); // the exporters are asked every five seconds
      for (const [what, n] of stale) await becomes(true, async () => (await page.locator(what).count()) >= n, `${name}: ${what}`);
      await becomes(true, async () => /What is shown is of \d\d:\d\d:\d\d\./.test(await page.locator('main').innerText()), `${name}: of when it is`);
      // What is dimmed may have been nothing; all else must not say that there is.
      const said = await page.locator('main').evaluate((e) => [...e.querySelectorAll('p, td, li, h2, span, strong')].filter((x) => !x.closest('.stale')).map((x) => x.textContent).join(' '));
      assert.doesNotMatch(said, /No flows|No events|no flows|Nothing is saved|Nothing was lost|No host stood out|does not tell/, name);
      await becomes('no answer', () => page.locator('header .state').innerText(), 'the light');
      assert.deepEqual(await violations(page, { before: true }), [], name);
      await shot(page, `away-${name}-${size}-${theme}`);
      // It is there again: what is shown is of now.
      gone = false;
      await page.getByRole('button', { name: 'Ask again' }).first().click();
      assert.deepEqual(wrong, []);
      await close();
    }
  });

  test(`${size} ${theme}: with the database away from the start, nothing looks like there were none`, async (open) => {
    for (const [name, path] of [...panels, ['address', '/explore']]) {
      const { page, close } = await open({ size, theme, path, refused: /status of 503/, route: (p) => fails(p, () => true) });
      await page.getByRole('alert').first().waitFor();
      await becomes('no answer', () => page.locator('header .state').innerText(), 'the light');
      const said = await page.locator('main').innerText();
      assert.match(said, /Could not load|could not be loaded|Could not be loaded/, name);
      assert.doesNotMatch(said, /No flows|No events|no flows|Nothing is saved|Nothing was lost|No host stood out|does not tell|keeps no views|answers no SQL|Waiting for the first/, name);
      assert.deepEqual(await violations(page), [], name);
      await shot(page, `away-first-${name}-${size}-${theme}`);
      await close();
    }
  });
}

test('a database that hangs and refuses nothing: what stands is dimmed once an answer is late', async (open) => {
  let hangs = false;
  const { page } = await open({ clock: true, path: '/explore?from=-1h&to=now', route: (p) => p.route('**/api/v1/**', (r) => (hangs ? undefined : r.fallback())) });
  await drawn(page);
  await page.locator('.drawings .stale').waitFor({ state: 'detached' });
  hangs = true;
  for (let i = 0; i < 20 && !(await page.locator('.drawings .stale .plot').count()); i++) await page.clock.fastForward(10_000);
  await page.locator('.drawings .stale .plot').waitFor();
  await page.getByText(/a shorter range answers sooner\. What is shown is of \d\d:\d\d:\d\d\./).first().waitFor();
  await becomes('answers late', () => page.locator('header .state').innerText(), 'the light');
});

test('SQL: what failed leaves the result of before dimmed, and a list that could not be loaded says so', async (open) => {
  let gone = false;
  const { page } = await open({ path: '/sql', refused: /status of 503/, route: (p) => fails(p, () => gone) });
  await page.locator('.cm-content').waitFor();
  await page.getByRole('button', { name: 'Run', exact: true }).click();
  await page.getByRole('region', { name: 'Result' }).waitFor();
  gone = true;
  await page.getByRole('button', { name: 'Run', exact: true }).click();
  await page.locator('.result.stale').waitFor();
  await page.getByText(/What is shown is of \d\d:\d\d:\d\d\./).waitFor();
  await page.reload();
  await page.getByText('Could not load the hunts and what there is to ask').or(page.getByText('Could not load what there is to ask and the hunts')).waitFor();
});

test('an address card whose graph fails says so', async (open) => {
  let gone = false;
  const { page } = await open({ path: `/explore?${past}`, refused: /status of 503/, route: (p) => fails(p, () => gone) });
  await drawn(page);
  gone = true;
  await page.locator('section table .value').first().click();
  await page.getByRole('menuitem', { name: 'all about it' }).click();
  await page.locator('dialog').getByText('Could not load what is known of it').waitFor();
  assert.equal(await page.locator('dialog').getByText('none in this range').count(), 0);
});

test('a filter with an error leaves what stands, dimmed, and says what is wrong', async (open) => {
  await still;
  for (const size of Object.keys(sizes)) {
    const { page, close } = await open({ size, path: `/explore?${past}`, refused: /status of 422/, route: (p) => p.route('**/api/v1/*', (r) => (new URL(r.request().url()).searchParams.get('filter') === 'prto tcp' ? r.fulfill({ status: 422, contentType: 'application/problem+json', body: JSON.stringify({ title: 'Unprocessable Entity', status: 422, detail: 'unknown word "prto": did you mean proto?' }) }) : r.fallback())) });
    await drawn(page);
    const before = await exactly(page.locator('section table tfoot'));
    await page.evaluate((to) => (history.pushState(null, '', to), dispatchEvent(new PopStateEvent('popstate'))), `${base}/explore?filter=prto+tcp&${past}`);
    await page.getByText('did you mean proto?').first().waitFor();
    await page.locator('.drawings .stale .plot').waitFor();
    await page.locator('table.stale tfoot').waitFor();
    assert.deepEqual(await exactly(page.locator('section table tfoot')), before, 'the numbers are those of before');
    await page.getByText(/What is shown is of \d\d:\d\d:\d\d\./).first().waitFor();
    assert.equal(await page.getByText(/No flows/).count(), 0);
    await shot(page, `filter-wrong-${size}`);
    await close();
  }
});
