// Other sites, and TLS.

import { otherSites } from '../othersites.mjs';
import { byTLS } from '../tls.mjs';
import { auth, base, browser, logIn, mock, open, overTLS, test, violations } from '../harness.mjs';

// The canned answers keep nobody out.
otherSites({
  test,
  browser,
  targets: [
    ...(mock ? [] : [{ name: 'on loopback, without a login', browser, at: base }]),
    ...(auth.at ? [{ name: 'with a login', browser, at: auth.at, user: 'editor', password: auth.password }] : []),
    ...(overTLS ? [{ name: 'with a login by TLS', ...overTLS, user: 'editor', password: auth.password }] : []),
  ],
});
if (overTLS) byTLS({ test, at: overTLS.at, password: auth.password, strangers: browser, open, logIn, violations });
