/** Whatever is sent: no 500, no hang, no leak; without authorization nothing but health. */
import * as fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createHttpHandler } from '../../../src/integrations/http/index.js';
import type { HttpHandler } from '../../../src/integrations/http/index.js';
import {
  authorize,
  CANARY,
  DONE_ID,
  FAILED_ID,
  filled,
  GIVEN_UP_ID,
  ORPHAN_ID,
  ROUTES,
  served,
  TOKEN,
} from './lab.js';
import type { Filled, Served, ServerKind } from './lab.js';
import { rawRequest } from './raw.js';

const prometheus = { text: async () => 'up 1\n', contentType: 'text/plain' };
const OPTIONS = { authorize, prometheus, waitMs: 20, bodyBytes: 2_000 };

const PUBLIC = ROUTES.filter((path) => !path.startsWith('/recovery'));

const id = fc.oneof(
  fc
    .constantFrom(DONE_ID, FAILED_ID, GIVEN_UP_ID, ORPHAN_ID, '__proto__', 'constructor', 'rekindle')
    .map(encodeURIComponent),
  fc.constantFrom(
    '..',
    '%2e%2e',
    '%2F',
    '%00',
    '%',
    '%zz',
    '%c3%28',
    '%F0%9F%98%80',
    '%ED%A0%80',
    '{x}',
    'a//b',
    '%7Bx%7D',
  ),
  fc.string({ maxLength: 300, unit: 'binary' }).map((text) => encodeURIComponent(text.toWellFormed())),
);
const path = fc.oneof(
  {
    weight: 6,
    arbitrary: fc
      .tuple(fc.constantFrom(...ROUTES), id)
      .map(([route, some]) => route.replace('{taskId}', some)),
  },
  {
    weight: 1,
    arbitrary: fc.tuple(fc.constantFrom(...ROUTES), id).map(([route, some]) => `${route}/${some}`),
  },
  {
    weight: 1,
    arbitrary: fc
      .tuple(fc.constantFrom('/', '//', '/./', '/x/../', '/%2e/', '/%72'), fc.constantFrom(...ROUTES))
      .map(([a, b]) => a + b.slice(1)),
  },
  { weight: 1, arbitrary: fc.array(id, { maxLength: 5 }).map((parts) => `/${parts.join('/')}`) },
);
const parameter = fc.tuple(
  fc.constantFrom(
    'limit',
    'after',
    'name',
    'status',
    'category',
    'fingerprint',
    'worker',
    'minAgeMs',
    'maxAgeMs',
    'eligible',
    '__proto__',
    'x',
    '',
  ),
  fc.oneof(
    fc.constantFrom(
      '1',
      '0',
      '-1',
      '1e9',
      'NaN',
      'true',
      'failed',
      'convert',
      'bnVsbA',
      'W10',
      'WzEsMl0',
      'WyJhIl0',
      '%',
      '%00',
      '%ff',
    ),
    fc.string({ maxLength: 50 }).map(encodeURIComponent),
  ),
);
const query = fc.array(parameter, { maxLength: 3 }).map((all) => {
  const text = all.map(([name, value]) => `${name}=${value}`).join('&');
  return text === '' ? '' : `?${text}`;
});
const method = fc.oneof(
  { weight: 8, arbitrary: fc.constantFrom('GET', 'POST', 'HEAD') },
  { weight: 2, arbitrary: fc.constantFrom('PUT', 'PATCH', 'DELETE', 'OPTIONS', 'TRACE', 'PROPFIND', 'get') },
);
const field = fc.oneof(
  fc.constantFrom(
    'x',
    'lone \ud800',
    '',
    CANARY.length,
    null,
    true,
    ['a'],
    {},
    [],
    '\u0000',
    'convert',
    ORPHAN_ID,
  ),
  fc.jsonValue({ maxDepth: 2 }),
);
const object = fc
  .dictionary(
    fc.constantFrom(
      'names',
      'taskIds',
      'documents',
      'reason',
      'fingerprint',
      'category',
      'afterVersion',
      '__proto__',
      'x',
    ),
    field,
    { maxKeys: 3 },
  )
  .map((value) => JSON.stringify(value));
const body = fc.oneof(
  fc.constant(new Uint8Array()),
  object.map((text) => Buffer.from(text)),
  fc.json({ maxDepth: 3 }).map((text) => Buffer.from(text)),
  fc
    .constantFrom(
      '[',
      '{"__proto__":{"x":1}}',
      '"',
      'null',
      '1e999',
      '{"names":["\\ud800"]}',
      '['.repeat(1_900),
      ' '.repeat(2_001),
    )
    .map((text) => Buffer.from(text)),
  fc.uint8Array({ maxLength: 2_100 }),
);
const header = fc.oneof(
  { weight: 6, arbitrary: fc.constant('content-type: application/json') },
  {
    weight: 4,
    arbitrary: fc.constantFrom(
      'content-type: text/plain',
      'content-type: application/json; charset=utf-16',
      'content-type: APPLICATION/JSON;charset="utf-8"',
      'content-type: ;',
      'content-encoding: gzip',
      'content-encoding: identity',
      'origin: http://evil.test',
      'origin: null',
      'sec-fetch-site: cross-site',
      'last-event-id: nonsense',
      'last-event-id: ',
      'accept-encoding: gzip',
      'expect: 100-continue',
      'range: bytes=0-1',
      'x-http-method-override: DELETE',
      'x-forwarded-host: evil.test',
      `x-odd: ${'\u00ff'.repeat(20)}`,
    ),
  },
);
const host = fc.constantFrom('a', 'ops.test:80', '127.0.0.1', 'a b', '[::1', '', 'x@y/z', '\u00e4');
const request = fc.record({
  method,
  path,
  query,
  body,
  host,
  headers: fc.uniqueArray(header, { maxLength: 4, selector: (line) => line.split(':')[0] }),
  allowed: fc.boolean(),
});
type Sent = typeof request extends fc.Arbitrary<infer T> ? T : never;

function judge(
  { allowed, method: given }: Sent,
  pathname: string,
  status: number | null,
  text: string,
): void {
  expect(status).not.toBeNull();
  expect(status).toBeLessThan(600);
  // 501 is nobody's; 503 would be a storage that is away, or too many followers.
  expect([500, 501, 502, 503, 504]).not.toContain(status);
  expect(text).not.toContain(CANARY);
  expect(text).not.toMatch(/access-control|at \S+ \(|node_modules/i);
  if (allowed || !given) return;
  if (status === 200) expect(PUBLIC).toContain(pathname);
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
          expect([400, 404, 405, 413, 415, 417]).toContain(status);
        }
      }),
      { numRuns },
    );
    expect(await (await fetch(`${server.url}/health/live`)).json()).toEqual({ status: 'live' });
  });
});
