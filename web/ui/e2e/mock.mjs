// A server of canned answers, for looking at the console and for its tests
// where no collector and no database are at hand. It makes a day's rhythm and,
// now and then, one host that owns most flows; every answer is a function of
// time alone, so that asking twice gives the same numbers.
//
//   node e2e/mock.mjs [port]        then open the address it prints

import { createReadStream, existsSync, statSync } from 'node:fs';
import { createServer } from 'node:http';
import { extname, join, normalize, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

const dist = resolve(import.meta.dirname, '../../dist');
const csp =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const types = { '.html': 'text/html; charset=utf-8', '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml' };

// Hosts with a weight of flows, and octets and packets for each flow.
const hosts = [
  ['10.1.4.7', 0.6, 140, 2],
  ['10.1.2.3', 9, 5200, 8],
  ['10.1.2.9', 7, 3100, 6],
  ['10.2.0.21', 6, 84000, 70],
  ['2001:db8:4:1f2c:9a3e:71ff:fe04:b2d8', 5, 9100, 12],
  ['192.0.2.44', 4, 1200, 5],
  ['10.2.0.33', 3.5, 640, 4],
  ['198.51.100.17', 3, 22000, 24],
  ['10.1.9.80', 2.2, 900, 4],
  ['2001:db8:4::53', 2, 180, 1],
  ['10.3.1.1', 1.5, 460, 3],
  ['203.0.113.9', 1.2, 15000, 14],
  ['10.3.1.2', 1, 700, 4],
  ['10.3.1.77', 0.8, 820, 5],
];
const groups = {
  'src-addr': ['src_addr', hosts],
  'dst-addr': ['dst_addr', hosts.map((h, i) => [hosts[(i + 3) % hosts.length][0], h[1] * (i === 0 ? 0.2 : 1), h[2], h[3]])],
  addr: ['addr', hosts],
  protocol: [
    'protocol',
    [
      ['tcp', 30, 14000, 14, 6],
      ['udp', 14, 700, 2, 17],
      ['icmp', 2, 84, 1, 1],
      ['ipv6-icmp', 1, 104, 1, 58],
      ['esp', 0.4, 9000, 10, 50],
    ],
  ],
  'dst-port': ['dst_port', [443, 53, 80, 5432, 123, 22, 8443, 25, 993, 3389, 514].map((p, i) => [String(p), 12 / (i + 1), 900 * ((i * 7) % 11) + 90, 2 + i, p])],
  exporter: [
    'exporter',
    [
      ['edge-1', 28, 9000, 10],
      ['192.0.2.1', 14, 7000, 9],
      ['2001:db8:ffff::1', 5, 4000, 6],
    ],
  ],
};

function noise(a, b) {
  let h = Math.imul(a ^ 0x9e3779b9, 0x85ebca6b) ^ Math.imul(b + 0x7f4a7c15, 0xc2b2ae35);
  h = Math.imul(h ^ (h >>> 15), 0x2c1b3c6d);
  return ((h ^ (h >>> 13)) >>> 0) / 2 ** 32;
}

// sums gives what one group did in one minute.
function sums(minute, key, i, g) {
  const hour = ((minute % 1440) + 1440) % 1440 / 60;
  const day = 0.25 + Math.exp(-((hour - 10.5) ** 2) / 8) + 0.8 * Math.exp(-((hour - 15) ** 2) / 6);
  let flows = g[1] * day * (60 + 30 * noise(minute, i + key.length));
  const size = 0.8 + 0.4 * noise(minute + 7, i);
  let [b, p] = [flows * g[2] * size, flows * g[3] * size];
  const burst = minute % 173 < 2;
  if (burst && ((key.includes('addr') && i === 0) || (key === 'protocol' && g[0] === 'udp') || (key === 'dst-port' && i === 1))) {
    flows += 22000;
    b += 22000 * 140;
    p += 22000 * 2;
  }
  return [Math.round(flows), Math.round(p), Math.round(b)];
}

function time(s, now) {
  if (s === 'now') return now;
  const m = /^-(\d+)([smhdw])$/.exec(s);
  if (m) return now - Number(m[1]) * { s: 1, m: 60, h: 3600, d: 86400, w: 604800 }[m[2]] * 1000;
  return Date.parse(s);
}

function find(key) {
  if (key === 'src-addr,dst-addr') {
    const pairs = hosts.map((h, i) => [`${h[0]} → ${hosts[(i + 5) % hosts.length][0]}`, h[1], h[2], h[3]]);
    return { list: pairs, values: (g, i) => ({ src_addr: hosts[i][0], dst_addr: hosts[(i + 5) % hosts.length][0] }) };
  }
  const [column, list] = groups[key] ?? [key.replaceAll('-', '_'), [['–', 1, 900, 3, null]]];
  return { list, values: (g) => ({ [column]: g.length > 4 ? g[4] : g[0] }) };
}

// table gives, for each group, its sums for each bucket.
function table(key, from, to, step) {
  const { list, values } = find(key || 'src-addr');
  const starts = [];
  for (let t = Math.floor(from / step) * step; t < to; t += step) starts.push(t);
  const sample = Math.max(60_000, Math.ceil((to - from) / 3000 / 60_000) * 60_000);
  const cells = list.map((g, i) => ({
    g,
    values: values(g, i),
    sums: starts.map((t) => {
      const a = Math.max(t, from);
      const b = Math.min(t + step, to);
      const out = [0, 0, 0];
      for (let m = Math.floor(a / sample) * sample; m < b; m += sample) {
        const part = (Math.min(b, m + sample) - Math.max(a, m)) / 60_000;
        sums(Math.floor(m / 60_000), key || 'src-addr', i, g).forEach((n, j) => (out[j] += n * part));
      }
      return out.map(Math.round);
    }),
  }));
  return { starts, cells };
}

const names = ['flows', 'packets', 'bytes'];
const iso = (ms) => new Date(ms).toISOString().replace('.000Z', 'Z');
const add = (a, b) => a.map((n, i) => n + b[i]);
const named = (s) => ({ flows: s[0], packets: s[1], bytes: s[2] });
const steps = [1, 5, 10, 30, 60, 300, 900, 3600, 10800, 86400].map((s) => s * 1000);

function answer(path, q, now) {
  const from = time(q.get('from') ?? '-6h', now);
  const to = time(q.get('to') ?? 'now', now);
  const key = q.get('key') ?? (path === 'top' ? 'src-addr' : '');
  const by = q.get('by') ?? 'flows';
  const limit = Number(q.get('limit') ?? 10);
  const measure = names.indexOf(by);
  if (key === 'src-adr') {
    return [422, { title: 'Unprocessable Entity', status: 422, detail: 'unknown key "src-adr": did you mean src-addr?' }];
  }
  const step = steps.find((s) => (to - from) / s <= 400) ?? 86_400_000;
  const { starts, cells } = table(key, from, to, step);
  for (const c of cells) c.total = c.sums.reduce(add, [0, 0, 0]);
  cells.sort((a, b) => b.total[measure] - a.total[measure]);
  const head = cells.slice(0, limit);
  const tail = cells.slice(limit);
  const all = cells.reduce((t, c) => add(t, c.total), [0, 0, 0]);
  const about = {
    from: iso(from),
    to: iso(to),
    key,
    by,
    source: to - from > 2 * 86_400_000 ? 'traffic_1h' : 'flows',
    exact: true,
    took_ms: 38,
    sql: `select src_addr, count(*) filter (where flow_start >= '${iso(from)}') as flows,\n       sum(flow_share(packets, flow_start, flow_end, '${iso(from)}', '${iso(to)}')) as packets\n  from flows\n where flow_end >= '${iso(from)}' and flow_end < flows_until('${iso(to)}')\n group by src_addr\n order by flows desc\n limit ${limit};`,
    command: `flowtally ${path} --key ${key} --by ${by} --from ${iso(from)} --to ${iso(to)} --limit ${limit}`,
  };
  if (path === 'top') {
    return [
      200,
      {
        ...about,
        limit,
        resolution: '1 ms',
        rows: head.map((c) => ({ values: c.values, label: c.g[0], ...named(c.total), share: all[measure] ? c.total[measure] / all[measure] : 0 })),
        other: tail.length ? { groups: tail.length + 1230, ...named(tail.reduce((t, c) => add(t, c.total), [0, 0, 0])) } : null,
        total: named(all),
      },
    ];
  }
  const line = (label, list, values) => {
    const s = starts.map((_, i) => list.reduce((t, c) => add(t, c.sums[i]), [0, 0, 0]));
    return { values, label, flows: s.map((x) => x[0]), packets: s.map((x) => x[1]), bytes: s.map((x) => x[2]) };
  };
  return [
    200,
    {
      ...about,
      step_seconds: step / 1000,
      resolution: `${step / 1000} s`,
      starts: starts.map(iso),
      lines: key ? head.map((c) => line(c.g[0], [c], c.values)) : [],
      other: key && tail.length ? line('other', tail) : null,
      total: line('total', cells),
    },
  ];
}

const rows = (now) => ({
  exporters: groups.exporter[1].map((g, i) => ({
    id: i + 1,
    name: i === 0 ? 'edge-1' : '',
    label: g[0],
    addr: i === 0 ? '192.0.2.7' : g[0],
    observation_domain: 0,
    version: [10, 9, 5][i],
    first_seen: iso(now - 864e5),
    last_seen: iso(now - 400 - i * 90_000),
    datagrams: 18244,
    records: 401233,
    packets: 5012334,
    bytes: 4112345678,
    sampling_rate: null,
    clock_offset_ms: 300,
  })),
  collector: { listen: ':9995' },
});

/** serve starts the server on loopback and gives it; port 0 takes a free one. */
export function serve(port = 0) {
  const server = createServer((req, res) => {
    const u = new URL(req.url, 'http://localhost');
    const now = Date.now();
    res.setHeader('content-security-policy', csp);
    res.setHeader('x-content-type-options', 'nosniff');
    if (u.pathname.startsWith('/api/v1/')) {
      const path = u.pathname.slice(8);
      const [status, body] =
        path === 'exporters' ? [200, rows(now)] : path === 'top' || path === 'series' ? answer(path, u.searchParams, now) : [404, { title: 'Not Found', status: 404 }];
      res.writeHead(status, { 'content-type': status === 200 ? 'application/json' : 'application/problem+json' });
      res.end(JSON.stringify(body));
      return;
    }
    let file = normalize(join(dist, u.pathname));
    if (!file.startsWith(dist) || !existsSync(file) || statSync(file).isDirectory()) file = join(dist, 'index.html');
    res.writeHead(200, { 'content-type': types[extname(file)] ?? 'application/octet-stream' });
    createReadStream(file).pipe(res);
  });
  return new Promise((done) => server.listen(port, '127.0.0.1', () => done(server)));
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const server = await serve(Number(process.argv[2] ?? 0));
  console.log(`http://127.0.0.1:${server.address().port}/`);
}
