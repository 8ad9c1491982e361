import { expect, test } from 'vitest';
import type { Collector } from './api';
import { endpoint, target } from './listen';

type Listener = Collector['listening'][number];
const at = (x: Partial<Listener>): Listener =>
  ({ collector: 'a', protocol: 'udp', address: '[::]:9995', port: 9995, reachable: ['192.0.2.5', '10.0.0.5', '2001:db8::5'], container: false, announced: '', running: true, reported_at: '2026-11-21T12:00:00Z', ...x }) as Listener;
const own = (x: Partial<Listener>): Partial<Collector> => ({ told: false, listen: x.address ?? '[::]:9995', listening: [at(x)] });

test.each([
  // What somebody said outranks what is found out.
  ['told', { told: true, listen: 'flows.example.net:2055', listening: [at({})] }, 'localhost', 'flows.example.net:2055', ''],
  ['told, of this machine alone', { told: true, listen: '127.0.0.1:9995', listening: [] }, 'localhost', '127.0.0.1:9995', 'local'],
  ['a port is told', { told: true, listen: ':2055', listening: [] }, '10.0.0.5', '10.0.0.5:2055', ''],
  ['announced', own({ announced: '[2001:db8::9]:9996' }), 'localhost', '[2001:db8::9]:9996', ''],
  // The collector's own word.
  ['everywhere', own({}), 'localhost', '192.0.2.5:9995', ''],
  ['everywhere, and the page was reached by one of them', own({}), '10.0.0.5', '10.0.0.5:9995', ''],
  ['everywhere, and the page was reached by a name', own({}), 'flows.example.net', '192.0.2.5:9995', ''],
  ['one address', own({ address: '10.0.0.5:2055', port: 2055, reachable: ['10.0.0.5'] }), 'localhost', '10.0.0.5:2055', ''],
  ['loopback alone', own({ address: '127.0.0.1:2055', port: 2055, reachable: ['127.0.0.1'] }), 'flows.example.net', '127.0.0.1:2055', 'local'],
  ['in a container, by name', own({ container: true, reachable: ['172.18.0.3'] }), 'flows.example.net', 'flows.example.net:9995', 'container'],
  ['in a container, on this machine', own({ container: true, reachable: ['172.18.0.3'] }), 'localhost', 'COLLECTOR:9995', 'unknown'],
  ['in a container, on loopback', own({ container: true, address: '127.0.0.1:2055', port: 2055, reachable: ['127.0.0.1'] }), 'localhost', '127.0.0.1:2055', 'local'],
  ['started again at another port', { listening: [at({ port: 2055, address: '[::]:2055' }), at({ reported_at: '2026-11-21T12:01:30Z' })] }, 'localhost', '192.0.2.5:9995', ''],
  ['two that run', { listening: [at({ port: 2055, address: '[::]:2055' }), at({ reported_at: '2026-11-21T12:00:30Z' })] }, 'localhost', '192.0.2.5:2055', ''],
  // Nothing is known.
  ['an older server', { listen: ':9995' }, '127.0.0.1', 'COLLECTOR:9995', 'unknown'],
  ['nothing, by name', undefined, '[2001:db8::1]', '[2001:db8::1]:9995', ''],
])('%s', (_, collector, page, want, why) => {
  const t = target(collector as Partial<Collector> | undefined, page);
  expect([endpoint(t), t.why]).toEqual([want, why]);
});

test('a collector that has ended is said to be away', () => {
  expect(target(own({ running: false }), 'localhost').away).toBe('2026-11-21T12:00:00Z');
  expect(target({ listening: [at({ running: false }), at({})] }, 'localhost').away).toBe('');
  expect(target(own({}), 'localhost').others).toEqual(['10.0.0.5', '2001:db8::5']);
});
