import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createHttpHandler } from '../../../src/integrations/http/index.js';
import type { HttpOptions } from '../../../src/integrations/http/index.js';
import {
  ask,
  authorize,
  CANARY,
  DONE_ID,
  FAILED_ID,
  filled,
  GIVEN_UP_ID,
  ORPHAN_ID,
  ROUTES,
  served,
  SERVERS,
  TOKEN,
} from './lab.js';
import type { Filled } from './lab.js';

let all: Filled;
beforeAll(async () => {
  all = await filled();
});
afterAll(async () => {
  all.release();
  await all.recovery.shutdown();
});

const PATHS = ROUTES.map((path) => path.replace('{taskId}', DONE_ID));
const ADMIN = PATHS.filter((path) => path.startsWith('/recovery'));

async function whole(response: Response): Promise<unknown> {
  return [response.status, Object.fromEntries(response.headers), await response.text()];
}

function asked(path: string, init: RequestInit = {}): Request {
  return new Request(`http://ops.test${path}`, init);
}

describe('who may ask', () => {
  test('without authorize there are no admin routes', async () => {
    const handler = createHttpHandler(all.recovery);
    const nothing = await whole(await handler(asked('/nothing')));
    expect(ADMIN.length).toBe(11);
    for (const path of ADMIN) {
      expect(handler.handles(path)).toBe(false);
      expect(await whole(await handler(asked(path, { headers: { authorization: TOKEN } })))).toEqual(nothing);
    }
  });

  const refusals: [string, NonNullable<HttpOptions['authorize']>][] = [
    ['false', () => false],
    ['a rejection', () => Promise.reject(new Error(CANARY))],
    [
      'a throw',
      () => {
        throw new Error(CANARY);
      },
    ],
    // @ts-expect-error a user is no permission
    ['what is not true', () => ({ user: 'admin' })],
    ['a promise of false', () => Promise.resolve(false)],
  ];
  test.each(refusals)('%s refuses, the same whatever was asked for', async (_name, refuse) => {
    const handler = createHttpHandler(all.recovery, { authorize: refuse });
    const one = await whole(await handler(asked('/recovery/status')));
    expect(one).toMatchObject([403, {}, expect.stringContaining('FORBIDDEN')]);
    const others = [
      '/recovery',
      '/recovery/',
      '/recovery/nothing',
      '/recovery/tasks/nobody',
      '/recovery/tasks/%zz',
      '/recovery/tasks?limit=x',
    ];
    for (const path of [...ADMIN, ...others]) {
      for (const method of ['GET', 'POST', 'DELETE', 'OPTIONS'])
        expect(await whole(await handler(asked(path, { method })))).toEqual(one);
    }
    const large = {
      method: 'POST',
      headers: { 'content-type': 'text/plain', origin: 'http://evil.test' },
      body: 'x'.repeat(99_999),
    };
    expect(await whole(await handler(asked('/recovery/trigger', large)))).toEqual(one);
  });

  test('health asks nobody', async () => {
    const handler = createHttpHandler(all.recovery, {
      authorize: () => expect.fail('it was asked'),
    });
    expect((await handler(asked('/health/recovery'))).status).toBe(200);
    expect((await handler(asked('/health/live', { method: 'POST' }))).status).toBe(405);
  });

  test.each(SERVERS)('authorize sees the request of %s', async (kind) => {
    const natives: Readonly<Record<string, unknown>>[] = [];
    const server = await served(kind, all.recovery, {
      authorize: (request, native) => {
        natives.push(Object(native));
        return request.headers.get('authorization') === TOKEN;
      },
    });
    expect((await ask(`${server.url}/recovery/status`)).status).toBe(200);
    expect((await fetch(`${server.url}/recovery/status`)).status).toBe(403);
    const [first] = natives;
    expect(natives).toHaveLength(2);
    expect(first?.['socket']).toBeDefined();
    if (kind.startsWith('express')) expect(first?.['originalUrl']).toContain('/ops/recovery/status');
    if (kind === 'fastify') expect(first?.['id']).toBeDefined();
    await server.close();
  });

  test('authorize may read a clone of the body', async () => {
    const texts: string[] = [];
    const handler = createHttpHandler(all.recovery, {
      authorize: async (request) => {
        texts.push(await request.clone().text());
        return true;
      },
    });
    const init = {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: '{"fingerprint":"x"}',
    };
    expect((await handler(asked('/recovery/failures/redrive', init))).status).toBe(200);
    expect(texts).toEqual([init.body]);
  });
});

describe('methods', () => {
  test('the wrong one is told the right ones', async () => {
    const handler = createHttpHandler(all.recovery, { authorize: () => true });
    const answers = await Promise.all(
      (
        [
          ['/recovery/tasks', 'DELETE'],
          ['/recovery/trigger', 'GET'],
          ['/recovery/trigger', 'HEAD'],
          ['/health/live', 'OPTIONS'],
        ] as const
      ).map(([path, method]) => handler(asked(path, { method }))),
    );
    expect(answers.map(({ status }) => status)).toEqual([405, 405, 405, 405]);
    expect(answers.map(({ headers }) => headers.get('allow'))).toEqual([
      'GET, HEAD',
      'POST',
      'POST',
      'GET, HEAD',
    ]);
  });
});

describe('other sites', () => {
  const cases: [string, Record<string, string>, number][] = [
    ['no browser', {}, 200],
    ['the same origin', { origin: 'http://ops.test' }, 200],
    ['the same origin, as Host says', { origin: 'https://Public.test', host: 'public.TEST' }, 200],
    ['another origin', { origin: 'http://evil.test' }, 403],
    ['another port', { origin: 'http://ops.test:81' }, 403],
    ['an opaque origin', { origin: 'null' }, 403],
    ['no origin at all', { origin: 'ops.test' }, 403],
    ['Sec-Fetch-Site: same-origin', { 'sec-fetch-site': 'same-origin', origin: 'http://x.test' }, 200],
    ['Sec-Fetch-Site: none', { 'sec-fetch-site': 'none' }, 200],
    ['Sec-Fetch-Site: same-site', { 'sec-fetch-site': 'same-site', origin: 'http://ops.test' }, 403],
    ['Sec-Fetch-Site: cross-site', { 'sec-fetch-site': 'cross-site' }, 403],
  ];
  test.each(cases)('%s', async (_name, headers, status) => {
    const handler = createHttpHandler(all.recovery, { authorize: () => true });
    const init = { method: 'POST', headers: { ...headers, 'content-type': 'application/json' } };
    const answer = await handler(
      asked('/recovery/failures/redrive', { ...init, body: '{"category":"none"}' }),
    );
    expect(answer.status).toBe(status);
    expect(answer.headers.get('access-control-allow-origin')).toBeNull();
  });
});

describe('what is shown on request', () => {
  const paths = [
    `tasks/${encodeURIComponent(FAILED_ID)}`,
    `tasks/${ORPHAN_ID}`,
    `tasks/${GIVEN_UP_ID}`,
    'tasks',
    'failures',
    'failures/groups',
    'plan',
  ];
  const text = async (options: HttpOptions): Promise<string> => {
    const handler = createHttpHandler(all.recovery, { ...options, authorize });
    const answers = paths.map((path) =>
      handler(asked(`/recovery/${path}`, { headers: { authorization: TOKEN } })),
    );
    return (await Promise.all((await Promise.all(answers)).map((answer) => answer.text()))).join('');
  };

  test('messages with showErrors, without passwords of URLs', async () => {
    const shown = await text({ showErrors: true });
    expect(shown).toContain(`"errorMessage":"no such file: redis://me:***@host/ ${CANARY}"`);
    expect(shown).toContain(`"message":"no such file: redis://me:***@host/ ${CANARY}"`);
    expect(shown).not.toContain('recoverableData');
  });

  test('payloads with showPayloads, without what sounds secret', async () => {
    const shown = await text({ showPayloads: true });
    expect(shown).toContain('"recoverableData":{"password":"***","pages":3}');
    expect(shown).toContain('"databaseState":{"dsn":"postgres://me:***@db/x"}');
    expect(shown).toContain('"metadata":{"apiKey":"***","note":"plain"}');
    expect(shown).toContain(`"query":"select ${CANARY}"`);
    expect(shown).not.toContain('errorMessage');
  });

  test('payloads as redactPayload leaves them; not at all when it throws, or leaves what is no JSON', async () => {
    const mine = await text({ showPayloads: true, redactPayload: () => 'mine' });
    expect(mine).toContain('"recoverableData":"mine"');
    expect(mine).not.toContain(CANARY);
    const broken = [
      () => 10n,
      () => {
        throw new Error(CANARY);
      },
      // Nobody waits for it; what becomes of it must not end the process.
      async (value: unknown) => value,
      () => Promise.reject(new Error(CANARY)),
      () =>
        new Proxy(
          {},
          {
            get: () => {
              throw new Error(CANARY);
            },
          },
        ),
    ];
    for (const redactPayload of broken) {
      const shown = await text({ showPayloads: true, redactPayload });
      for (const field of ['recoverableData', 'databaseState', 'metadata', 'query'])
        expect(shown).not.toContain(`"${field}"`);
      expect(shown).not.toContain(CANARY);
    }
    expect(await text({ redactPayload: () => 'mine' })).not.toContain('recoverableData');
  });
});

test('options are checked, all of them at once', () => {
  const make = (options: object) => () => createHttpHandler(all.recovery, options);
  expect(make({ authorise: () => true, pageSize: 0 })).toThrow(/"authorise" is no option[^]*|"pageSize"/);
  expect(make({ thresholds: { stalled: -1 } })).toThrow('stalled');
  expect(make({ thresholds: { stuck: 1 } })).toThrow('has no "stuck"');
  expect(make({ prometheus: { text: () => '' } })).toThrow('contentType');
  expect(make({ thresholds: { stalled: null, queue: 7 } })).not.toThrow();
});
