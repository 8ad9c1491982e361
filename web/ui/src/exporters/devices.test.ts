import { expect, test } from 'vitest';
import { devices } from './devices';

// docs/devices.md has the lines of the page, for a collector at 192.0.2.10.
// `npx vitest run -u devices` writes it anew.
test('the document has the lines of the page', async () => {
  const list = devices({ host: '192.0.2.10', port: '9995' });
  const text = [
    '# Send it flows',
    '',
    'Lines to paste, for a collector at 192.0.2.10, port 9995. *+* in the top bar of the page has the same with the address that your collector',
    'listens on, and then shows what arrives: the first datagram, the first template, the first flow. Words in capitals are yours to replace.',
    '',
    'What matters on any device: an **active timeout** of 60 s (else a long download is one flow at its end), **templates** repeated each minute',
    '(else nothing can be read for up to half an hour after a start), and **option data** for interface names and sampling where the device has it.',
    'flowtally, softflowd and Open vSwitch are tested so; the other lines follow the makers’ documents and were not tried on a device. When nothing comes: [missing.md](missing.md).',
    '',
    'A mirror port, a mirror tunnel or a capture instead: [mirror.md](mirror.md).',
    '',
    ...list.flatMap((d) => [`## ${d.name}`, '', d.where, '', '```text', d.lines, '```', '', d.soon, '']),
  ];
  expect(list.length).toBeGreaterThan(15);
  await expect(text.join('\n')).toMatchFileSnapshot('../../../../docs/devices.md');
});
