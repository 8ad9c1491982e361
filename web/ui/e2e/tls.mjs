// The console by TLS, in a browser that believes one key and no other.

import assert from 'node:assert/strict';
import { createHash, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';

/** pin is the argument that makes a browser believe the key of a certificate's file. */
export function pin(file) {
  const key = new X509Certificate(readFileSync(file)).publicKey.export({ type: 'spki', format: 'der' });
  return `--ignore-certificate-errors-spki-list=${createHash('sha256').update(key).digest('base64')}`;
}

/** byTLS makes the tests of the server at an address; logIn fills its form in. */
export function byTLS({ test, at, password, strangers, open, logIn, violations }) {
  test('by TLS: a certificate nobody vouches for is refused', async () => {
    const context = await strangers.newContext();
    const page = await context.newPage();
    await assert.rejects(page.goto(at), /ERR_CERT_AUTHORITY_INVALID/);
    await context.close();
  });

  test('by TLS: the page is whole, its cookies are for TLS alone, plain HTTP is refused in words', async () => {
    const { page, wrong, close } = await open({ at, path: '/exporters' });
    await logIn(page, 'editor', password);
    await page.getByRole('region', { name: 'Exporters' }).locator('tbody a').first().waitFor();
    assert.ok(await page.evaluate(() => isSecureContext && location.protocol === 'https:'));
    assert.deepEqual(await violations(page), []);
    // The browser itself notes that nobody was logged in.
    assert.deepEqual(wrong.filter((w) => !/status of 401/.test(w)), []);
    const cookies = await page.context().cookies();
    assert.deepEqual(cookies.map((c) => c.name).sort(), ['__Host-flowtally', '__Host-flowtally-device']);
    for (const c of cookies) assert.ok(c.secure && c.httpOnly && c.sameSite === 'Strict', JSON.stringify(c));
    const plain = await page.goto(at.replace('https:', 'http:'));
    assert.equal(plain.status(), 400);
    assert.match(await plain.text(), /with https:\/\/ in front/);
    assert.equal((await plain.request().allHeaders()).cookie, undefined, 'a session by plain HTTP');
    await close();
  });
}
