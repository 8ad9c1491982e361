// The console in a real browser.
//
//   FLOWTALLY_URL       the server to test; without it, canned answers (mock.mjs)
//   FLOWTALLY_AUTH_URL  one where people log in: viewer and editor, with the password
//                       in FLOWTALLY_AUTH_PASSWORD; without it, that is not tested
//   FLOWTALLY_TLS_URL   the same by TLS, under a name in .example, with the certificate
//                       in FLOWTALLY_TLS_CERT
//   FLOWTALLY_CHROMIUM  the browser, /usr/bin/chromium by default
//   FLOWTALLY_ONLY      a pattern: only the tests whose names it finds
//   FLOWTALLY_SHOTS     a folder for screenshots; without it, none are taken
//
// Whatever the server is, its numbers are compared with what the page says: over a
// range in the past, where they stand still. Nothing here waits for time to pass,
// only for what the page is to show.

import { runAll } from './harness.mjs';

// One file of tests/ a subject, in the order in which their tests are run.
const subjects = [
  'looks',
  'filter',
  'tabs',
  'graph',
  'groups',
  'phone',
  'saved',
  'sql',
  'events',
  'settings',
  'people',
  'manyexporters',
  'senders',
  'login',
  'provenance',
  'story',
  'glance',
  'before',
  'small',
  'budgets',
  'numbers',
  'explore',
  'security',
  'states',
  'live',
  'paper',
  'names',
  'jobs',
];
for (const subject of subjects) await import(`./tests/${subject}.mjs`);
await runAll();
