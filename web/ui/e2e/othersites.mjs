// What a page of another site can do to the console through its visitor's browser:
// nothing. Each attack is tried from another name and from another port of the same
// name, with a session and without one. First it is tried on a server that lets
// everything be: an attack that does not get through there shows nothing.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { createServer } from 'node:http';

/** resolver has the browser find all names of the tests, ours and other sites', on this machine. */
export const resolver = '--host-resolver-rules=MAP *.example 127.0.0.1';

const listen = (server) => new Promise((done) => server.listen(0, '127.0.0.1', () => done(server.address().port)));

/** attacker is another site: an empty page, and a redirect to wherever one likes. */
function attacker(cookies) {
  return createServer((q, r) => {
    if (q.headers.cookie) cookies.push(`${q.headers.host}: ${q.headers.cookie}`);
    if (q.url.startsWith('/to?')) r.writeHead(307, { location: decodeURIComponent(q.url.slice(4)), 'access-control-allow-origin': '*' }).end();
    else r.writeHead(200, { 'content-type': 'text/html' }).end('<!doctype html><title>another site</title><body>');
  });
}

/** openHouse refuses nobody: what arrives there with a change in mind, changes it. */
function openHouse(changed) {
  const server = createServer((q, r) => {
    const dest = q.headers['sec-fetch-dest'];
    const type = { script: 'text/javascript', style: 'text/css', image: 'image/svg+xml', iframe: 'text/html', object: 'text/html', document: 'text/html' }[dest] ?? (q.headers.accept === 'text/event-stream' ? 'text/event-stream' : 'application/json');
    const body = { image: '<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"/>', script: '0', style: 'a{}', iframe: '<p>', object: '<p>', document: '<p>' }[dest] ?? 'data: 1\n\n';
    if (q.method !== 'GET' && q.method !== 'OPTIONS') changed.push(`${q.method} ${q.headers['content-type'] ?? ''}`);
    const origin = q.headers.origin ?? '*';
    r.writeHead(200, { 'content-type': type, 'access-control-allow-origin': origin, 'access-control-allow-credentials': 'true', 'access-control-allow-headers': 'content-type', 'access-control-allow-methods': 'PUT, DELETE' }).end(body);
  });
  server.on('upgrade', (q, socket) => {
    const key = createHash('sha1').update(q.headers['sec-websocket-key'] + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11').digest('base64');
    socket.end(`HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${key}\r\n\r\n`);
  });
  return server;
}

/** reading tries, in the other site's page, all that could bring an answer to it. */
async function reading(target) {
  const got = {};
  const attack = async (name, f) => {
    try {
      got[name] = Boolean(await f());
    } catch {
      got[name] = false;
    }
  };
  const text = async (r) => (await (await r).text()).length > 0;
  const load = (tag, attributes) =>
    new Promise((done) => {
      const e = Object.assign(document.createElement(tag), attributes);
      e.onload = () => done(true);
      e.onerror = () => done(false);
      document.body.append(e);
    });
  for (const path of ['/api/v1/exporters', '/api/v1/top?format=csv', '/api/v1/me', '/openapi.json', '/', '/theme.js']) {
    await attack(`fetch ${path}`, () => text(fetch(target + path, { credentials: 'include' })));
  }
  await attack('fetch by a redirect', () => text(fetch(`/to?${encodeURIComponent(target + '/api/v1/exporters')}`, { credentials: 'include' })));
  await attack('fetch as a simple request', () => text(fetch(target + '/api/v1/sql', { method: 'POST', credentials: 'include', body: '{"sql":"select 1"}' })));
  await attack('fetch as JSON', () => text(fetch(target + '/api/v1/sql', { method: 'POST', credentials: 'include', headers: { 'content-type': 'application/json' }, body: '{"sql":"select 1"}' })));
  for (const path of ['/api/v1/exporters', '/api/v1/top?format=csv', '/theme.js']) await attack(`script ${path}`, () => load('script', { src: target + path }));
  await attack('image', () => load('img', { src: target + '/icon.svg' }));
  await attack('image of an answer', () => load('img', { src: target + '/api/v1/top?format=csv' }));
  await attack('style sheet', () => load('link', { rel: 'stylesheet', href: target + '/api/v1/top' }));
  await attack('event source', () =>
    new Promise((done) => {
      const s = new EventSource(target + '/api/v1/series', { withCredentials: true });
      s.onopen = () => (s.close(), done(true));
      s.onerror = () => (s.close(), done(false));
    }));
  await attack('web socket', () =>
    new Promise((done) => {
      const s = new WebSocket(target.replace(/^http/, 'ws') + '/api/v1/series');
      s.onopen = () => done(true);
      s.onerror = () => done(false);
    }));
  return got;
}

/** changing sends, from the other site's page, all that could change something. */
async function changing({ target, login, mark }) {
  const json = { 'content-type': 'application/json' };
  const view = JSON.stringify({ name: mark, url: '/', pinned: true });
  const words = JSON.stringify({ name: mark });
  const send = (path, init) => fetch(target + path, { credentials: 'include', ...init }).catch(() => null);
  await send('/api/v1/views', { method: 'POST', headers: json, body: view });
  await send('/api/v1/views', { method: 'POST', headers: { 'content-type': 'text/plain' }, body: view });
  await send('/api/v1/views', { method: 'POST', mode: 'no-cors', body: view });
  await send('/api/v1/views', { method: 'POST', mode: 'no-cors', body: new Blob([view]) });
  await send(`/api/v1/exporters/1`, { method: 'PUT', headers: json, body: words });
  await send('/api/v1/interfaces/1/1', { method: 'PUT', headers: { 'content-type': 'text/plain' }, body: words });
  await send('/api/v1/views/1', { method: 'DELETE' });
  await send('/api/v1/logout', { method: 'POST', mode: 'no-cors' });
  await send('/api/v1/logout?everywhere=true', { method: 'POST', mode: 'no-cors' });
  await fetch(`/to?${encodeURIComponent(target + '/api/v1/views')}`, { method: 'POST', mode: 'no-cors', credentials: 'include', body: view }).catch(() => null);
  navigator.sendBeacon(target + '/api/v1/views', view);
  // Forms: the second is JSON to whoever does not look at its type.
  const post = (path, enctype, fields) =>
    new Promise((done) => {
      const frame = Object.assign(document.createElement('iframe'), { name: `frame${Math.random()}` });
      const form = Object.assign(document.createElement('form'), { method: 'post', action: target + path, enctype, target: frame.name });
      for (const [name, value] of fields) form.append(Object.assign(document.createElement('input'), { name, value }));
      document.body.append(frame, form);
      frame.onload = () => done();
      setTimeout(done, 5000); // an answer without a body is no load; only who lets a logout through gives one
      form.submit();
    });
  await post('/api/v1/views', 'application/x-www-form-urlencoded', [['name', mark], ['url', '/']]);
  await post('/api/v1/views', 'text/plain', [[`{"name":"${mark}","url":"/","filter":"`, '"}']]);
  await post('/api/v1/views', 'multipart/form-data', [['name', mark]]);
  await post('/api/v1/logout', 'application/x-www-form-urlencoded', []);
  await post('/api/v1/login', 'text/plain', [[`{"user":"viewer","password":"${login}","x":"`, '"}']]);
}

/** framing reports which of the paths the other site's page can hold in a frame. */
async function framing(page, target) {
  const got = {};
  for (const tag of ['iframe', 'object', 'embed']) {
    for (const path of ['/', '/api/v1/exporters']) {
      await page.evaluate(
        ([tag, url]) =>
          new Promise((done) => {
            const e = document.createElement(tag);
            e.onload = e.onerror = () => done();
            if (tag === 'object') Object.assign(e, { data: url, type: 'text/html' });
            else Object.assign(e, { src: url, ...(tag === 'embed' ? { type: 'text/html' } : {}) });
            document.body.append(e);
          }),
        [tag, target + path],
      );
      got[`${tag} ${path}`] = page.frames().some((f) => f !== page.mainFrame() && f.url() === target + path);
      await page.evaluate((tag) => document.querySelectorAll(tag).forEach((e) => e.remove()), tag);
    }
  }
  return got;
}

/** opening reports what the other site keeps of a window it has opened. */
async function opening(page, target) {
  const popup = page.context().waitForEvent('page');
  await page.evaluate((url) => void (globalThis.opened = window.open(url)), target + '/');
  const opened = await popup;
  await opened.waitForLoadState();
  const got = {
    'window of the page': await page.evaluate(() => !globalThis.opened.closed),
    'opener of the page': await opened.evaluate(() => window.opener !== null),
  };
  await opened.close();
  // A link to an answer is not followed: what it says could be a download.
  const answer = page.context().waitForEvent('page');
  await page.evaluate((url) => void window.open(url, '_blank', 'noopener'), target + '/api/v1/exporters');
  const linked = await answer;
  await linked.waitForLoadState();
  const status = await linked.evaluate(() => performance.getEntriesByType('navigation')[0].responseStatus);
  got['link to an answer'] = status === 200;
  await linked.close();
  return got;
}

/** rebinding asks under a name of the attacker's that leads to the target's address. */
async function rebinding(context, target) {
  const got = {};
  const page = await context.newPage();
  for (const path of ['/', '/api/v1/exporters', '/openapi.json', '/theme.js']) {
    const r = await page.goto(target.replace(/\/\/[^:/]+/, '//rebound.example') + path);
    got[`rebound ${path}`] = r.status() === 200;
  }
  await page.close();
  return got;
}

const kept = (outcomes) => Object.entries(outcomes).filter(([, through]) => through).map(([name]) => name);

/**
 * otherSites makes the tests. Targets are servers: the browser that goes there, their
 * address, and who is logged in there when somebody is.
 */
export function otherSites({ test, browser, targets }) {
  const attackAll = async (context, site, target, login, mark) => {
    const page = await context.newPage();
    await page.goto(site);
    const got = { ...(await page.evaluate(reading, target)), ...(await framing(page, target)), ...(await opening(page, target)), ...(await rebinding(context, target)) };
    await page.evaluate(changing, { target, login, mark });
    await page.close();
    return got;
  };

  test('other sites: the attacks get through where nobody is kept out', async () => {
    const changed = [];
    const [house, evil] = [openHouse(changed), attacker([])];
    const target = `http://127.0.0.1:${await listen(house)}`;
    const context = await browser.newContext();
    const got = await attackAll(context, `http://evil.example:${await listen(evil)}/`, target, '', 'planted');
    assert.deepEqual(Object.keys(got).filter((name) => !got[name]), [], 'attacks that are none');
    assert.ok(changed.length >= 15, `only ${changed.length} changes arrived: ${changed.join(', ')}`);
    await context.close();
    for (const s of [house, evil]) s.close();
    return `${Object.keys(got).length} ways to read, ${changed.length} to change`;
  });

  for (const { name, browser, at, user, password } of targets) {
    test(`other sites: nothing is read or changed, ${name}`, async () => {
      const cookies = [];
      const mark = `planted by another site at ${Date.now()}`;
      const evil = attacker(cookies);
      const port = await listen(evil);
      const context = await browser.newContext();
      const own = await context.newPage();
      await own.goto(at);
      const ask = (path, init) => own.evaluate(async ([p, i]) => ((r) => (r.status === 204 ? null : r.json()))(await fetch(`/api/v1/${p}`, i)), [path, init]);
      if (user) {
        const me = await ask('login', { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ user, password }) });
        assert.equal(me.user, user);
        for (const c of await context.cookies()) {
          assert.ok(c.httpOnly && c.sameSite === 'Strict' && c.path === '/' && c.domain === new URL(at).hostname, `cookie ${JSON.stringify(c)}`);
          assert.equal(c.secure, at.startsWith('https:'), c.name);
          assert.equal(c.name.startsWith('__Host-'), c.secure, c.name);
        }
        assert.equal((await context.cookies()).length, 2);
        assert.equal(await own.evaluate(() => document.cookie), '', 'scripts see no cookie');
      }
      const state = async () => ({ me: await ask('me'), views: await ask('views'), names: (await ask('exporters')).exporters.map((e) => [e.id, e.name, e.note]), interfaces: (await ask('interfaces')).interfaces.map((i) => [i.if_index, i.name]) });
      const before = await state();
      assert.ok(before.names.length > 0, 'there is something to read');
      for (const host of ['evil.example', new URL(at).hostname, 'localhost']) {
        const got = await attackAll(context, `http://${host}:${port}/`, at, password ?? '', mark);
        assert.deepEqual(kept(got), [], `from ${host}`);
        // No view that was saved meanwhile is of another site, nobody else is logged in, no name has changed.
        const after = await state();
        assert.deepEqual(after.me, before.me, `from ${host}`);
        for (const part of ['views', 'names', 'interfaces']) assert.ok(!JSON.stringify(after[part]).includes(mark), `${part}, from ${host}`);
        for (const v of before.views.views.filter((v) => v.id === 1)) assert.ok(after.views.views.some((w) => w.id === v.id), 'a view is gone');
      }
      // Cookies do not tell ports apart, which docs/api.md says; names they do, and TLS.
      assert.deepEqual(cookies.filter((c) => at.startsWith('https:') || !c.startsWith(new URL(at).hostname + ':')), []);
      await context.close();
      evil.close();
    });

    test(`no script becomes a service worker, ${name}`, async () => {
      const context = await browser.newContext();
      const page = await context.newPage();
      await page.goto(at);
      for (const path of ['/theme.js', '/api/v1/top?format=csv', '/openapi.json', '/nothing.js']) {
        const got = await page.evaluate((p) => navigator.serviceWorker.register(p).then(() => 'registered', (e) => e.name), path);
        assert.notEqual(got, 'registered', path);
      }
      assert.equal(await page.evaluate(async () => (await navigator.serviceWorker.getRegistrations()).length), 0);
      await context.close();
    });
  }
}
