// Where exporters have to send to, as far as this page can know: the port the
// collector listens on, and the name this page was reached by.

export interface Target {
  host: string;
  port: string;
  /** guessed is set when the host is only this machine's name for itself. */
  guessed: boolean;
}

const loopback = /^(localhost|127(\.\d+){3}|::1)$/;
const any = /^(|0\.0\.0\.0|::|\*)$/;

/** target joins what the collector listens on (":9995", "[::]:9995", "192.0.2.1:9995") and the page's host. */
export function target(listen: string, pageHost: string): Target {
  const m = /^(?:udp:\/\/)?(?:\[([^\]]*)\]|([^:]*)):(\d+)$/.exec(listen.trim());
  const own = (m?.[1] ?? m?.[2] ?? '').trim();
  const page = pageHost.replace(/^\[|\]$/g, '');
  const host = any.test(own) ? page : own;
  const guessed = loopback.test(host) && any.test(own);
  return { host: guessed ? 'COLLECTOR' : host, port: m?.[3] ?? '9995', guessed };
}

/** endpoint writes host and port for a command line, IPv6 in brackets. */
export const endpoint = (t: Target): string => (t.host.includes(':') ? `[${t.host}]` : t.host) + ':' + t.port;
