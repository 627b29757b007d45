/** Whatever is sent: no 500, no hang, no leak; without authorization nothing but health. */
import * as fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createHttpHandler } from '../../../src/integrations/http/index.js';
import type { HttpHandler } from '../../../src/integrations/http/index.js';
import { authorize, CANARY, filled, ROUTES, served, TOKEN } from './lab.js';
import type { Filled, Served, ServerKind } from './lab.js';
import { request } from './fuzz-requests.js';
import type { Sent } from './fuzz-requests.js';
import { rawRequest } from './raw.js';

const prometheus = { text: async () => 'up 1\n', contentType: 'text/plain' };
const OPTIONS = { authorize, prometheus, waitMs: 20, bodyBytes: 2_000 };

const PUBLIC = ROUTES.filter((path) => !path.startsWith('/recovery'));

function judge({ allowed }: Sent, pathname: string, status: number | null, text: string): void {
  expect(status).not.toBeNull();
  expect(status).toBeLessThan(600);
  // 501 is nobody's; 503 would be a storage that is away, or too many followers.
  expect([500, 501, 502, 503, 504]).not.toContain(status);
  expect(text).not.toContain(CANARY);
  expect(text).not.toMatch(/access-control|at \S+ \(|node_modules/i);
  if (!allowed && status === 200) expect(PUBLIC).toContain(pathname);
}

let all: Filled;
beforeAll(async () => {
  all = await filled();
  all.release();
});
afterAll(() => all.recovery.shutdown());

describe('the handler by itself', () => {
  let handler: HttpHandler;
  beforeAll(() => {
    handler = createHttpHandler(all.recovery, OPTIONS);
  });

  test('property: any request gets an answer that tells nothing to whom it may not', async () => {
    const refusals = new Set<string>();
    await fc.assert(
      fc.asyncProperty(request, async (sent) => {
        fc.pre(!['TRACE'].includes(sent.method));
        const headers = new Headers(
          sent.headers.map((line): [string, string] => [
            line.slice(0, line.indexOf(':')),
            line.slice(line.indexOf(':') + 2),
          ]),
        );
        if (sent.allowed) headers.set('authorization', TOKEN);
        const url = `http://ops.test${sent.path}${sent.query}`;
        const init =
          sent.method === 'GET' || sent.method === 'HEAD' || sent.method === 'get'
            ? {}
            : { body: Buffer.from(sent.body) };
        const answer = await handler(new Request(url, { method: sent.method, headers, ...init }));
        const goesOn = answer.headers.get('content-type')?.startsWith('text/event-stream') === true;
        const text = goesOn ? '' : await answer.text();
        if (goesOn) await answer.body?.cancel();
        const { pathname } = new URL(url);
        judge(sent, pathname, answer.status, text + JSON.stringify([...answer.headers]));
        expect(answer.headers.get('cache-control')).toContain('no-store');
        expect(answer.headers.get('x-content-type-options')).toBe('nosniff');
        if (!sent.allowed && /^\/recovery(\/|$)/.test(pathname)) {
          expect(answer.status).toBe(403);
          if (sent.method !== 'HEAD') refusals.add(text + JSON.stringify([...answer.headers]));
        }
      }),
      { numRuns: 1_000 },
    );
    expect(refusals.size).toBe(1);
  });
});

describe.each<[ServerKind, number]>([
  ['node:http', 400],
  ['express', 150],
  ['express router', 100],
  ['fastify', 150],
  ['fastify raw', 100],
])('%s', (kind, numRuns) => {
  let server: Served;
  beforeAll(async () => {
    server = await served(kind, all.recovery, OPTIONS);
  });
  afterAll(() => server.close());

  test('property: any bytes of a request get an answer', async () => {
    const base = new URL(server.url).pathname.replace(/\/$/, '');
    await fc.assert(
      fc.asyncProperty(request, async (sent) => {
        const lines = [
          `${sent.method} ${base}${sent.path}${sent.query} HTTP/1.1`,
          `host: ${sent.host}`,
          'connection: close',
          `content-length: ${sent.body.byteLength}`,
          ...(sent.allowed ? [`authorization: ${TOKEN}`] : []),
          ...sent.headers,
        ];
        const { status, text } = await rawRequest(server.url, `${lines.join('\r\n')}\r\n\r\n`, sent.body);
        const { pathname } = new URL(`http://a${sent.path}`);
        judge(sent, pathname, status, text);
        if (!sent.allowed && /^\/recovery(\/|$)/.test(pathname) && status !== 403) {
          // Before it comes to the handler: what is no HTTP to node, or no JSON to the framework's parser.
          // 418: no path as it is written in a URL is left to the others.
          const foreign = pathname === sent.path ? [] : [418];
          expect([400, 404, 405, 413, 415, 417, ...foreign]).toContain(status);
        }
      }),
      { numRuns },
    );
    expect(await (await fetch(`${server.url}/health/live`)).json()).toEqual({ status: 'live' });
  });
});
