/** Requests as nobody sends them, and a few as somebody does. */
import * as fc from 'fast-check';
import { CANARY, DONE_ID, FAILED_ID, GIVEN_UP_ID, ORPHAN_ID, ROUTES } from './lab.js';

export interface Sent {
  readonly method: string;
  readonly path: string;
  readonly query: string;
  readonly body: Uint8Array;
  readonly host: string;
  readonly headers: readonly string[];
  /** Whether it carries what `authorize` asks for. */
  readonly allowed: boolean;
}

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
/** A request that may be anything. */
export const request: fc.Arbitrary<Sent> = fc.record({
  method,
  path,
  query,
  body,
  host,
  headers: fc.uniqueArray(header, { maxLength: 4, selector: (line) => line.split(':')[0] }),
  allowed: fc.boolean(),
});
