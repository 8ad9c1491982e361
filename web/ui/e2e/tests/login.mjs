// Who logs in, and what he may do then.

import assert from 'node:assert/strict';
import { alone, auth, logIn, shot, test, violations } from '../harness.mjs';

if (auth.at) {
  test('with a real login: a wrong password is refused, a viewer looks and an editor edits', alone(async (open) => {
    for (const [user, edits] of [['viewer', false], ['editor', true]]) {
      // The browser itself notes what was refused, also a moment later.
      const { page } = await open({ at: auth.at, path: '/exporters', refused: /status of 40[13]/ });
      await page.getByRole('heading', { name: 'Log in' }).waitFor();
      assert.equal(await page.getByRole('navigation', { name: 'Pages' }).count(), 0, 'nothing leads on');
      if (!edits) {
        await logIn(page, user, 'not ' + auth.password);
        await page.locator('.login').getByRole('alert').waitFor();
        assert.equal(await page.getByLabel('Password').inputValue(), '', 'a wrong password is not kept');
        assert.deepEqual(await violations(page), []);
        await shot(page, 'login-wrong', false);
      }
      await logIn(page, user, auth.password);
      await page.getByRole('region', { name: 'Exporters' }).locator('tbody a').first().click();
      await page.getByRole('heading', { name: 'Interfaces' }).waitFor();
      await page.locator('.who', { hasText: user }).waitFor();
      assert.equal(await page.getByRole('region', { name: 'Settings' }).count(), edits ? 1 : 0, `${user}: settings`);
      assert.equal(await page.getByRole('button', { name: 'save', exact: true }).count(), edits ? 1 : 0, `${user}: save`);
      if (!edits) assert.equal(await page.getByLabel('Name of interface').count(), 0, `${user}: interface names`);
      if (edits) {
        await page.getByLabel('Note').fill('');
        await page.getByRole('region', { name: 'Settings' }).getByRole('button', { name: 'Save' }).click();
        await page.getByText('Saved.').waitFor();
      } else {
        // What the page does not offer, the server refuses.
        const status = await page.evaluate(async () => (await fetch('/api/v1/exporters/1', { method: 'PUT', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ name: 'x', color: '', note: '' }) })).status);
        assert.equal(status, 403);
      }
      await shot(page, `exporter-as-${user}`, false);
      await page.getByRole('button', { name: 'Log out' }).click();
      await page.getByRole('heading', { name: 'Log in' }).waitFor();
    }
  }));
}

if (auth.at) {
  test('with a real login: a token is made, shown once, works as far as its role goes, and is revoked', alone(async (open) => {
    for (const [user, may] of [['viewer', 403], ['editor', 404]]) {
      const { page } = await open({ at: auth.at, path: '/exporters', refused: /status of 40[13]/ });
      await logIn(page, user, auth.password);
      await page.locator('.who', { hasText: user }).waitFor();
      await page.getByRole('button', { name: 'Preferences' }).click();
      const tokens = page.getByRole('region', { name: 'Tokens for scripts' });
      const name = `script of ${user}`;
      const make = async (password) => {
        await tokens.getByLabel('What uses it').fill(name);
        if (user === 'editor') await tokens.getByLabel('It may').selectOption('editor');
        else assert.equal(await tokens.getByLabel('It may').count(), 0, 'a viewer has no choice');
        await tokens.getByLabel('It ends after').selectOption('7');
        await tokens.getByLabel('Your password').fill(password);
        await tokens.getByRole('button', { name: 'Make the token' }).click();
      };
      await tokens.getByRole('button', { name: 'New token…' }).click();
      if (user === 'viewer') {
        await make('not ' + auth.password);
        await tokens.getByRole('alert').waitFor();
        assert.equal(await page.getByRole('heading', { name: 'Log in' }).count(), 0, 'a wrong password logs nobody out');
        assert.deepEqual(await violations(page), []);
      }
      await make(auth.password);
      const token = await tokens.locator('pre').innerText();
      assert.match(token, /^flowtally_[0-9a-f]{64}$/);
      assert.deepEqual(await violations(page), []);
      await shot(page, `token-of-${user}`, false);
      const ask = (path, init = {}) => fetch(auth.at + path, { ...init, headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' } });
      assert.equal((await ask('/api/v1/top')).status, 200);
      assert.equal((await ask('/api/v1/exporters/77777', { method: 'PUT', body: JSON.stringify({ name: 'x' }) })).status, may);
      assert.equal((await ask('/api/v1/tokens')).status, 403);
      await page.keyboard.press('Escape');
      await page.getByRole('button', { name: 'Preferences' }).click();
      await tokens.getByText('last used').waitFor();
      assert.equal(await tokens.locator('pre').count(), 0, 'it is shown once');
      assert.ok(!(await page.content()).includes(token), 'and nowhere else');
      await tokens.getByRole('button', { name: `Revoke ${name}`, exact: true }).click();
      await tokens.getByRole('button', { name: `Revoke ${name}, really` }).click();
      await tokens.getByText('None.').waitFor();
      assert.equal((await ask('/api/v1/top')).status, 401);
    }
  }));
}

test('a login is asked for, and a viewer edits nothing', async (open) => {
  let me = { user: null, role: 'viewer', login: 'password', token: null };
  const { page } = await open({
    path: '/exporters',
    route: async (p) => {
      await p.route('**/api/v1/me', (r) => r.fulfill({ json: me }));
      await p.route('**/api/v1/login', (r) => {
        me = { ...me, user: 'ann' };
        return r.fulfill({ json: me });
      });
    },
  });
  await page.locator('.login').getByLabel('Name').fill('ann');
  await page.getByLabel('Password').fill('secret');
  assert.deepEqual(await violations(page), []);
  await shot(page, 'login', false);
  await page.getByRole('button', { name: 'Log in' }).click();
  await page.getByRole('region', { name: 'Exporters' }).locator('tbody a').first().click();
  await page.getByRole('heading', { name: 'Interfaces' }).waitFor();
  assert.equal(await page.getByRole('region', { name: 'Settings' }).count(), 0);
  assert.equal(await page.getByRole('button', { name: 'save', exact: true }).count(), 0);
});

test('tokens are listed with what became of them, and one is revoked by two clicks', async (open) => {
  const token = (id, name, more) => ({ id, name, role: 'viewer', made_at: '2026-11-01T10:00:00Z', expires_at: '2027-01-30T10:00:00Z', used_at: null, state: 'valid', ...more });
  const all = [
    token(1, 'nightly report', { used_at: '2026-11-21T10:01:00Z' }),
    token(2, 'a script with a name that is as long as somebody made it, to see where it goes', { role: 'editor' }),
    token(3, 'old', { state: 'expired', expires_at: '2026-11-02T10:00:00Z' }),
    token(4, 'of the password before', { state: 'ended' }),
  ];
  for (const [width, colorScheme] of [[1440, 'light'], [390, 'dark']]) {
    let tokens = all;
    const { page } = await open({
      route: async (p) => {
        await p.route('**/api/v1/me', (r) => r.fulfill({ json: { user: 'ann', role: 'editor', login: 'password', token: null } }));
        await p.route('**/api/v1/tokens', (r) => (r.request().method() === 'POST' ? r.fulfill({ status: 201, json: { ...token(9, 'new'), token: 'flowtally_' + '0123456789abcdef'.repeat(4) } }) : r.fulfill({ json: { tokens } })));
        await p.route('**/api/v1/tokens/*', (r) => {
          tokens = tokens.filter((t) => !r.request().url().endsWith(`/${t.id}`));
          return r.fulfill({ status: 204 });
        });
      },
    });
    await page.setViewportSize({ width, height: 900 });
    await page.emulateMedia({ colorScheme });
    await page.getByRole('button', { name: 'Preferences' }).click();
    const box = page.getByRole('region', { name: 'Tokens for scripts' });
    for (const text of ['last used 2026-11-21 10:01 UTC', 'until 2027-01-30, never used', 'viewer, expired', 'ended with the password']) await box.getByText(text).first().waitFor();
    await box.getByRole('button', { name: 'New token…' }).click();
    assert.deepEqual(await violations(page), []);
    await shot(page, `tokens-new-${width}-${colorScheme}`, false);
    await box.getByLabel('What uses it').fill('new');
    await box.getByLabel('Your password').fill('secret');
    await box.getByRole('button', { name: 'Make the token' }).click();
    await box.locator('pre').waitFor();
    assert.equal(await box.getByLabel('Your password').count(), 0);
    // The button that copies covers nothing of the token.
    const [secret, copy] = [await box.locator('pre').boundingBox(), await box.getByRole('button', { name: 'copy' }).boundingBox()];
    assert.ok(copy.y + copy.height <= secret.y + 1, 'the button is above the token');
    assert.deepEqual(await violations(page), []);
    await shot(page, `tokens-made-${width}-${colorScheme}`, false);
    const last = tokens.at(-1);
    await box.getByRole('button', { name: `Revoke ${last.name}`, exact: true }).click();
    assert.ok(tokens.includes(last), 'one click revokes nothing');
    await box.getByRole('button', { name: `Revoke ${last.name}, really` }).click();
    await box.getByText(last.name, { exact: true }).waitFor({ state: 'detached' });
  }
});
