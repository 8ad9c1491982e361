// A server of canned answers, for looking at the console and for its tests
// where no collector and no database are at hand. It makes a day's rhythm and,
// now and then, one host that owns most flows; every answer is a function of
// time alone, so that asking twice gives the same numbers.
//
//   node e2e/mock.mjs [port]        then open the address it prints

import { createReadStream, existsSync, readFileSync, statSync } from 'node:fs';
import { createServer } from 'node:http';
import { extname, join, normalize, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

const dist = resolve(import.meta.dirname, '../../dist');
const csp =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const types = { '.html': 'text/html; charset=utf-8', '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml' };

// Hosts with a weight of flows, and bytes and packets for each flow.
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
  const [column, list] = groups[key.replace(/\/[\d/]+/, '')] ?? [key.replaceAll('-', '_'), [['–', 1, 900, 3, null]]];
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
// growing is from when on flows may still be added, as exporters report them after five minutes.
const growing = (from, to, now) => (to > now - 300_000 ? iso(Math.max(from, now - 300_000)) : null);
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
  const step = Number((q.get('step') ?? '').replace('s', '')) * 1000 || (steps.find((s) => (to - from) / s <= 400) ?? 86_400_000);
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
    growing_from: growing(from, to, now),
    stored: { from: iso(now - 30 * 864e5), to: iso(now - 1000) },
    took_ms: 38,
    sql: `select src_addr, count(*) filter (where flow_start >= '${iso(from)}') as flows,\n       sum(flow_share(packets, flow_start, flow_end, '${iso(from)}', '${iso(to)}')) as packets\n  from flows\n where flow_end >= '${iso(from)}' and flow_end < flows_until('${iso(to)}')\n group by src_addr\n order by flows desc\n limit ${limit};`,
    command: `flowtally ${path} --key ${key} --by ${by} --from ${iso(from)} --to ${iso(to)} --limit ${limit}${q.get('scaled') ? ' --scaled' : ''}${q.get('having') ? ` --having '${q.get('having')}'` : ''} '${q.get('filter') ?? ''}'`,
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
    clock_offset_ms: 300, sampling_at: null, sampling_provisional: false, numbering: 'records',
  })),
  collector: { listen: ':9995' },
});

// What the server says of keys, measures and words: src/vocabulary.svelte.ts describes it.
const keys = JSON.parse(readFileSync(join(import.meta.dirname, 'keys.json'), 'utf8'));

const paths = ['keys', 'top', 'series', 'flows', 'events', 'share', 'summary', 'exporters', 'exporters/{id}', 'exporters/{id}/diagnosis', 'interfaces', 'interfaces/{exporter_id}/{if_index}', 'loss', 'views', 'views/{id}', 'filter/check', 'filter/complete', 'sql', 'hunts', 'schema', 'address/{addr}', 'names', 'heatmap', 'me', 'login', 'logout', 'tokens', 'tokens/{id}'];

/** events are one of each of a few kinds, a second apart; a filter leaves those of the kind that it names. */
const events = (q, now) => {
  const one = { received_at: iso(now), exporter: 'fw-1', exporter_id: 1, exporter_addr: '192.0.2.1', observation_domain: 0, src_addr: '10.1.4.7', dst_addr: '203.0.113.5', src_port: 51234, dst_port: 443, protocol: 6, icmp_type: null, icmp_code: null, nat_src_addr: null, nat_dst_addr: null, nat_src_port: null, nat_dst_port: null, block_first: null, block_last: null, user_name: null, in_if: 1, out_if: 3, firewall_event: null, nat_event: null, extra: null, batch: 7, marks: 0 };
  const rows = [
    { ...one, kind: 'denied', firewall_event: 3, extra: { asaExtendedEvent: 1001 } },
    { ...one, kind: 'nat44 create', nat_event: 4, nat_src_addr: '198.51.100.7', nat_src_port: 41022, nat_dst_addr: '203.0.113.5', nat_dst_port: 443 },
    { ...one, kind: 'port block allocated', nat_event: 16, src_addr: '100.64.0.5', src_port: null, dst_addr: null, dst_port: null, protocol: null, nat_src_addr: '198.51.100.7', block_first: 1024, block_last: 2047 },
    { ...one, kind: 'teardown', firewall_event: 2, user_name: 'alice' },
  ].map((r, i) => ({ time: iso(now - i * 1000), ...r }));
  const wanted = q.get('filter') ?? '';
  return { ...about(q, now), source: 'events', command: 'flowtally events', order: q.get('order') ?? 'desc', limit: Number(q.get('limit') ?? 50), next: null, rows: rows.filter((r) => !wanted || (/deny|denied/.test(wanted) ? r.kind === 'denied' : wanted.includes(r.kind) || wanted.includes(r.nat_src_addr ?? '-'))) };
};

const about = (q, now, more = {}) => {
  const [from, to] = [time(q.get('from') ?? '-6h', now), time(q.get('to') ?? 'now', now)];
  return { from: iso(from), to: iso(to), filter: q.get('filter') ?? '', source: 'flows', resolution: '1 ms', exact: true, sampling: 'none', cut: null, remainder: null, growing_from: growing(from, to, now), stored: { from: iso(now - 30 * 864e5), to: iso(now - 1000) }, took_ms: 12, sql: 'select count(*) from flows;', command: `flowtally flows --from ${iso(from)} --to ${iso(to)}`, ...more };
};

// share gives who took part in most flows, minute by minute: the bursts of 10.1.4.7.
function share(q, now) {
  const a = about(q, now);
  const [from, to] = [Date.parse(a.from), Date.parse(a.to)];
  const step = Number((q.get('step') ?? '300s').replace('s', '')) * 1000;
  const { starts, cells } = table('src-addr', from, to, step);
  const out = { ...a, step_seconds: step / 1000, starts: starts.map(iso), share: [], host: [], host_flows: [], flows: [], highlights: [] };
  starts.forEach((t, i) => {
    const all = cells.reduce((n, c) => n + c.sums[i][0], 0);
    const best = cells.reduce((b, c) => (c.sums[i][0] > b.sums[i][0] ? c : b));
    out.flows.push(all);
    out.host.push(all ? best.g[0] : null);
    out.host_flows.push(best.sums[i][0]);
    out.share.push(all ? best.sums[i][0] / all : 0);
    const last = out.highlights.at(-1);
    if (!all || best.sums[i][0] / all <= 0.5) return;
    if (last && last.addr === best.g[0] && last.to === iso(t)) Object.assign(last, { to: iso(Math.min(t + step, to)), flows: last.flows + best.sums[i][0] });
    else out.highlights.push({ addr: best.g[0], from: iso(Math.max(t, from)), to: iso(Math.min(t + step, to)), share: best.sums[i][0] / all, flows: best.sums[i][0] });
  });
  out.spikes = [...out.highlights];
  out.highlights.sort((x, y) => y.share - x.share).splice(5);
  return out;
}

function flows(q, now) {
  const a = about(q, now);
  const [from, to] = [Date.parse(a.from), Date.parse(a.to)];
  const limit = Number(q.get('limit') ?? 50);
  const first = Number(q.get('after') ?? 0);
  const rows = [];
  for (let i = first; i < Math.min(240, first + limit); i++) {
    const [h, p] = [hosts[Math.floor(noise(i, 1) * hosts.length)], hosts[Math.floor(noise(i, 2) * hosts.length)]];
    const end = to - Math.floor(((to - from) * i) / 240);
    const icmp = i % 17 === 0;
    rows.push({
      flow_start: new Date(end - Math.floor(noise(i, 3) * 20_000)).toISOString(), flow_end: new Date(end).toISOString(), exporter: 'edge-1', exporter_id: 1, src_addr: h[0], dst_addr: p[0],
      src_port: icmp ? null : 1024 + ((i * 7919) % 60000), dst_port: icmp ? null : [443, 53, 80, 22][i % 4], protocol: icmp ? 1 : i % 4 === 1 ? 17 : 6, icmp_type: icmp ? 8 : null, icmp_code: icmp ? 0 : null,
      tcp_flags: icmp || i % 4 === 1 ? null : 0x1b, packets: h[3], bytes: h[2], in_if: 3, out_if: null,
    });
  }
  return { ...a, rows, next: first + limit < 240 ? String(first + limit) : null, summary: { flows: 240, packets: 4711, bytes: 815000, avg_bps: 120000, avg_pps: 87, avg_bpp: 640, first: a.from, last: a.to } };
}

function summary(q, now) {
  const a = about(q, now);
  const seconds = (Date.parse(a.to) - Date.parse(a.from)) / 1000;
  const { cells } = table('protocol', Date.parse(a.from), Date.parse(a.to), 3_600_000);
  const of = (names) => cells.filter((c) => names.includes(c.g[0])).reduce((t, c) => c.sums.reduce(add, t), [0, 0, 0]);
  const [tcp, udp, icmp, other] = [of(['tcp']), of(['udp']), of(['icmp', 'ipv6-icmp']), of(['esp'])];
  const row = (name, s) => ({ class: name, ...named(s), flows_per_s: s[0] / seconds, pps: s[1] / seconds, bps: (s[2] * 8) / seconds });
  return { ...a, rows: [row('all', [tcp, udp, icmp, other].reduce(add)), row('tcp', tcp), row('udp', udp), row('icmp', icmp), row('other', other)] };
}

function heatmap(q, now) {
  const a = about(q, now);
  const [from, to] = [Date.parse(a.from), Date.parse(a.to)];
  const days = [];
  for (let t = Math.floor(from / 86_400_000) * 86_400_000; t < to; t += 86_400_000) days.push(t);
  const { cells } = table('protocol', from, to, 3_600_000);
  const start = Math.floor(from / 3_600_000);
  const at = (t) => cells.reduce((n, c) => n + (c.sums[t / 3_600_000 - start]?.[0] ?? 0), 0);
  const hours = Array.from({ length: 24 }, (_, h) => h);
  return { ...a, days: days.map((t) => iso(t).slice(0, 10)), hours, cells: days.map((t) => hours.map((h) => at(t + h * 3_600_000))) };
}

// A word the filter does not know: enough to see the underline.
function check(text, having) {
  const wrong = having?.search(/\bbyte\b/) ?? -1;
  if (wrong >= 0) return { ok: false, canonical: '', terms: 0, error: { offset: wrong, end: wrong + 4, message: 'want flows, packets, bytes, pps, bps, bpp or duration, not "byte"', suggest: [] } };
  const at = text.search(/\bprto\b/);
  if (at >= 0) return { ok: false, canonical: '', terms: 0, error: { offset: at, end: at + 4, message: 'unknown word "prto"', suggest: ['proto'] } };
  return { ok: true, canonical: text.trim(), terms: text.split(/\b(?:and|or)\b/).filter((s) => s.trim()).length, error: null };
}

function complete(text, offset) {
  const from = text.slice(0, offset).search(/[\w.]*$/);
  const word = text.slice(from, offset);
  const all = [['src', 'direction'], ['dst', 'direction'], ['proto', 'field'], ['port', 'field'], ['bytes', 'field'], ['10.1.4.7', 'address'], ['tcp', 'protocol'], ['<address>', 'placeholder']];
  return { from, to: offset, options: all.filter(([t]) => t.startsWith(word)).map(([text, kind]) => ({ text, kind, detail: kind })) };
}

const loss = (q, now) => ({
  stages: [
    { name: 'seen', unit: 'packets', count: 18_204_551, losses: [{ cause: 'duplicate', unit: 'packets', count: 12_031, text: 'the same packet twice on a mirror port' }] },
    { name: 'metered', unit: 'packets', count: 18_192_520, losses: [] },
    { name: 'sent', unit: 'records', count: 911_000, losses: [{ cause: 'not_sent', unit: 'records', count: 0, text: '' }] },
    { name: 'received', unit: 'records', count: 910_998, losses: [{ cause: 'lost_on_the_way', unit: 'records', count: 2, text: 'a gap in the sequence numbers' }] },
    { name: 'decoded', unit: 'records', count: 910_998, losses: [] },
    { name: 'stored', unit: 'records', count: 910_998, losses: [] },
  ],
  minutes: [{ minute: iso(Math.floor(now / 60_000) * 60_000 - 7_200_000), exporter_id: 1, stage: 'received', cause: 'lost_on_the_way', unit: 'records', count: 2 }],
});

const diagnosis = {
  checks: [
    { name: 'datagrams arrive', ok: true, text: 'the last one 0.4 s ago', advice: '' },
    { name: 'templates known', ok: true, text: '2 templates', advice: '' },
    { name: 'records decoded', ok: true, text: '401 233 in all', advice: '' },
    { name: 'rows stored', ok: true, text: 'the last 1.2 s ago', advice: '' },
    { name: 'times inside the shown range', ok: false, text: 'its records lie 1 h ahead of the range', advice: 'Set the clock of the exporter, or widen the range.' },
    { name: 'sampling known', ok: null, text: 'it has not said', advice: 'Set the rate below if you know it.' },
  ],
  counters: {},
};

/** serve starts the server on loopback and gives it; port 0 takes a free one. */
export function serve(port = 0) {
  const wires = new Map([['1/1', 'uplink']]);
  let views = [{ id: 1, name: 'DNS', url: '/explore?filter=port+53', filter: 'port 53', color: '#009a70', sign: '+', pinned: true }];
  let next = 2;
  const named = new Map([[1, { name: 'edge-1', color: '#d07c00', note: '', sampling_rate_set: null }]]);
  const handle = (path, method, q, body, now) => {
    const list = () => {
      const r = rows(now);
      r.exporters = r.exporters.map((e, i) => ({ ...e, color: '', note: '', silent: i === 2, templates: 2, sampling_state: i === 1 ? 'unknown' : 'announced', sampling_rate: i === 1 ? null : 1, health: ['healthy', 'losing', 'silent'][i], lost_last_hour: i === 1 ? 2 : 0, sampling_rate_set: null, sampling_from: null, sampling_mode: 'instead', ...named.get(e.id) }));
      return r;
    };
    const [head, id, sub] = path.split('/');
    if (path === 'top' || path === 'series') {
      const [status, a] = answer(path, q, now);
      const over = Number(q.get('lay_over') ?? 0);
      if (status === 200 && over > 0) {
        const period = -time(q.get('period') === '1d' ? '-1d' : '-1w', 0);
        a.previous = Array.from({ length: over }, (_, i) => {
          const moved = new URLSearchParams(q);
          const shift = (t) => iso(Date.parse(t) - period * (i + 1));
          moved.set('from', shift(a.from));
          moved.set('to', shift(a.to));
          return { offset_seconds: (period / 1000) * (i + 1), total: answer('series', moved, now)[1].total, lines: [], cut: null };
        });
      }
      if (status === 200) Object.assign(a, { filter: q.get('filter') ?? '', sampling: 'none', cut: null, remainder: null });
      return [status, a];
    }
    if (path === 'keys') return [200, keys];
    if (path === 'exporters') return [200, list()];
    if (head === 'exporters' && sub === 'diagnosis') return [200, diagnosis];
    if (head === 'exporters' && method === 'PUT') {
      named.set(Number(id), { name: body.name, color: body.color, note: body.note, sampling_rate_set: body.sampling_rate, sampling_from: body.sampling_from ?? null, sampling_mode: body.sampling_mode ?? 'instead' });
      return [200, list().exporters.find((e) => e.id === Number(id))];
    }
    if (path === 'flows') return [200, flows(q, now)];
    if (path === 'events') return [200, events(q, now)];
    if (path === 'share') return [200, share(q, now)];
    if (path === 'summary') return [200, summary(q, now)];
    if (path === 'heatmap') return [200, heatmap(q, now)];
    if (path === 'loss') return [200, loss(q, now)];
    if (path === 'interfaces') return [200, { interfaces: [1, 3].map((n) => ({ exporter_id: 1, exporter: 'edge-1', if_index: n, name: wires.get(`1/${n}`) ?? '', description: 'ge-0/0/' + n, speed: 1e9, in_bytes: 4e9, out_bytes: 1e9 })) }];
    if (head === 'interfaces') {
      wires.set(`${id}/${sub}`, body.name);
      return [200, {}];
    }
    if (path === 'filter/check') return [200, check(body.filter ?? '', body.having)];
    if (path === 'filter/complete') return [200, complete(q.get('text') ?? '', Number(q.get('offset') ?? 0))];
    if (path === 'names') return [200, { names: {} }];
    if (path === 'me') return [200, { user: null, role: 'editor', login: 'none', token: null }];
    if (path === 'hunts') return [200, { hunts: [{ name: 'Who owned most flows', question: 'Which host took part in most flows of the last hour?', sql: "select date_trunc('minute', flow_start) as minute, count(*) as flows from flows group by 1 order by 1;" }] }];
    if (path === 'schema') return [200, { tables: [{ table: 'flows', columns: [{ name: 'src_addr', type: 'inet', comment: 'source address' }, { name: 'bytes', type: 'bigint', comment: 'IP bytes' }] }] }];
    if (path === 'sql') {
      if (/\b(delete|insert|update|drop)\b/i.test(body.sql)) return [422, { title: 'Unprocessable Entity', status: 422, detail: 'cannot execute DELETE in a read-only transaction' }];
      return [200, { columns: [{ name: 'minute', type: 'timestamptz' }, { name: 'flows', type: 'int8' }], rows: Array.from({ length: 60 }, (_, i) => [iso(now - (60 - i) * 60_000), Math.round(400 + 300 * noise(i, 9))]), truncated: false, took_ms: 21 }];
    }
    if (head === 'address') {
      const top = (key) => answer('top', new URLSearchParams({ key, limit: '10' }), now)[1].rows;
      return [200, { ...about(q, now), addr: decodeURIComponent(id), names: ['reports.lab'], private: true, first_seen: iso(now - 864e5), last_seen: iso(now - 4000), in: { flows: 4000, packets: 8000, bytes: 900000 }, out: { flows: 48211, packets: 96000, bytes: 7100000 }, peers: top('dst-addr'), ports: top('dst-port') }];
    }
    if (path === 'views' && method === 'POST') {
      const made = { id: next++, ...body };
      views = [...views, made];
      return [200, made];
    }
    if (path === 'views') return [200, { views }];
    if (head === 'views') {
      views = method === 'DELETE' ? views.filter((x) => x.id !== Number(id)) : views.map((x) => (x.id === Number(id) ? { ...x, ...body } : x));
      return method === 'DELETE' ? [204, null] : [200, views.find((x) => x.id === Number(id))];
    }
    return [404, { title: 'Not Found', status: 404 }];
  };
  const server = createServer(async (req, res) => {
    const u = new URL(req.url, 'http://localhost');
    const now = Date.now();
    res.setHeader('content-security-policy', csp);
    res.setHeader('x-content-type-options', 'nosniff');
    if (u.pathname === '/openapi.json') {
      res.writeHead(200, { 'content-type': 'application/json' });
      res.end(JSON.stringify({ paths: Object.fromEntries(paths.map((p) => ['/api/v1/' + p, {}])) }));
      return;
    }
    if (u.pathname.startsWith('/api/v1/')) {
      let text = '';
      for await (const part of req) text += part;
      const [status, body] = handle(u.pathname.slice(8), req.method, u.searchParams, text ? JSON.parse(text) : {}, now);
      res.writeHead(status, { 'content-type': status === 200 ? 'application/json' : 'application/problem+json' });
      res.end(status === 204 ? undefined : JSON.stringify(body));
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
