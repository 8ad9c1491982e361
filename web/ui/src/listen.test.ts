import { expect, test } from 'vitest';
import { endpoint, target } from './listen';

test.each([
  [':9995', 'flows.example.net', 'flows.example.net:9995'],
  ['0.0.0.0:2055', '10.0.0.5', '10.0.0.5:2055'],
  ['[::]:9995', '[2001:db8::1]', '[2001:db8::1]:9995'],
  ['192.0.2.1:9995', 'localhost', '192.0.2.1:9995'],
  ['[2001:db8::2]:9995', 'localhost', '[2001:db8::2]:9995'],
  ['127.0.0.1:9995', 'localhost', '127.0.0.1:9995'],
  [':9995', '127.0.0.1', 'COLLECTOR:9995'],
  ['', 'flows.example.net', 'flows.example.net:9995'],
])('%s as seen from %s', (listen, host, want) => expect(endpoint(target(listen, host))).toBe(want));
