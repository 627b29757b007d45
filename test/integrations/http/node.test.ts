import { once } from 'node:events';
import { createServer, request as httpRequest, Agent } from 'node:http';
import { connect } from 'node:net';
import express from 'express';
import fastify from 'fastify';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { createHttpHandler, toNodeHandler } from '../../../src/integrations/http/index.js';
import type { HttpHandler } from '../../../src/integrations/http/index.js';
import { authorize, CANARY, filled, listening, TOKEN } from './lab.js';
import type { Filled, Served } from './lab.js';
import { rawRequest } from './raw.js';

let all: Filled;
let handler: HttpHandler;
const opened: Served[] = [];
beforeAll(async () => {
  all = await filled();
  handler = createHttpHandler(all.recovery, { authorize });
});
afterEach(async () => {
  for (const server of opened.splice(0)) await server.close();
});
afterAll(async () => {
  all.release();
  await all.recovery.shutdown();
});

async function serve(given: HttpHandler = handler, prefix = ''): Promise<string> {
  const server = await listening(createServer(toNodeHandler(given, { prefix })));
  opened.push(server);
  return server.url;
}

const LINES = `\r\nauthorization: ${TOKEN}\r\nconnection: close\r\n\r\n`;
const statusOf = async (url: string, line: string, host = 'a'): Promise<number | null> =>
  (await rawRequest(url, `${line} HTTP/1.1\r\nhost: ${host}${LINES}`)).status;

test('targets of all forms', async () => {
  const url = await serve();
  const statuses = {
    'GET /health/live': 200,
    'GET http://else.where/health/live': 200,
    'GET //health/live': 404,
    'GET //evil.test/recovery/status': 404,
    'GET HTTPS://else.where:1/health/live?x=http://a/b': 200,
    'GET http://else.where': 404,
    // These are none to node.
    'GET http:/health/live': 400,
    'GET foo:/health/live': 400,
    'GET http://a#/health/live': 400,
    'GET http://a:99999999/health/live': 404,
    'GET http://u:p@a/health/live': 400,
    'GET foo://a/health/live': 404,
    'GET file:///health/live': 404,
    'GET /x/../recovery/status': 404,
    'GET /x/%2e%2e/recovery/status': 404,
    'GET /health/.%2E/recovery/status': 404,
    'GET /./recovery/status': 404,
    'GET /health\\..\\recovery/status': 404,
    'GET \\recovery/status': 400,
    'GET /\\recovery/status': 404,
    'GET http://a\\x/recovery/status': 400,
    'GET http://a\\/recovery/status': 400,
    'GET http://a/x/../recovery/status': 404,
    'GET /recovery/status#x': 404,
    'GET /recovery/status?a=/../x': 200,
    'GET /%72ecovery/status': 404,
    'GET /recovery/status/': 404,
    'GET /RECOVERY/status': 404,
    'OPTIONS *': 404,
    'TRACE /recovery/status': 405,
    'TRACE /health/live': 405,
    'GET /recovery/status?limit=%zz': 200,
  };
  const lines = Object.keys(statuses);
  const found = await Promise.all(lines.map(async (line) => [line, await statusOf(url, line)]));
  expect(Object.fromEntries(found)).toEqual(statuses);
  for (const host of ['a b', '[::1', 'x@y', '', 'a:99999999'])
    expect(await statusOf(url, 'GET /recovery/status', host), host).toBe(200);
  const refused = await rawRequest(
    url,
    'TRACE /recovery/status HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n',
  );
  expect(refused.status).toBe(403);
});

test('a prefix, and what is not under it', async () => {
  const url = await serve(handler, '/ops/v1');
  expect(await statusOf(url, 'GET /ops/v1/recovery/status')).toBe(200);
  for (const path of [
    '/recovery/status',
    '/ops/v1',
    '/ops/v1/',
    '/ops/v11/health/live',
    '/ops/v1/../../recovery/status',
  ])
    expect(await statusOf(url, `GET ${path}`), path).toBe(404);
  // What has no origin of its own, and a host that is none.
  for (const start of ['x://y', 'file://', 'foo://', 'http://a:99999999'])
    expect(await statusOf(url, `GET ${start}/ops/v1/health/live`), start).toBe(404);
  expect(await statusOf(url, 'GET http://a/ops/v1/health/live')).toBe(200);
  expect(await statusOf(url, 'GET http://a/ops/v1//health/live')).toBe(404);
  for (const prefix of ['ops', '/ops/', '/', '/a b', '/*'])
    expect(() => toNodeHandler(handler, { prefix }), prefix).toThrow('must be a path such as /ops');
  expect(() => toNodeHandler(handler, { prefx: '/ops' } as object)).toThrow('"prefx" is no option');
});

describe("a framework's guard sees the path that is answered", () => {
  const targets = [
    '/ops/health/%2e%2e/recovery/status',
    '/ops/health/.%2e/recovery/status',
    '/ops/health\\..\\recovery/status',
    '/ops/../ops/recovery/status',
    '/x/%2e%2e/ops/recovery/status',
    '/ops/./recovery/status',
    '/ops\\recovery/status',
  ];

  test('express', async () => {
    const app = express();
    app.use(['/ops/recovery', '/recovery'], (_req, res) => void res.status(401).end());
    app.use('/ops', toNodeHandler(handler));
    app.use(toNodeHandler(handler, { prefix: '/ops' }));
    app.use(toNodeHandler(handler));
    const server = await listening(createServer(app));
    opened.push(server);
    expect(await statusOf(server.url, 'GET /ops/recovery/status')).toBe(401);
    expect(await statusOf(server.url, 'GET /ops/health/live')).toBe(200);
    for (const target of targets) {
      const status = await statusOf(server.url, `GET ${target}`);
      expect([401, 404], target).toContain(status);
    }
  });

  test('fastify', async () => {
    const app = fastify();
    app.addHook('onRequest', async (request, reply) => {
      if (request.url.startsWith('/ops/recovery')) return reply.code(401).send();
      return undefined;
    });
    app.all('/ops/*', toNodeHandler(handler, { prefix: '/ops' }));
    const url = await app.listen({ host: '127.0.0.1', port: 0 });
    opened.push({ url, close: async () => app.close() });
    expect(await statusOf(url, 'GET /ops/recovery/status')).toBe(401);
    expect(await statusOf(url, 'GET /ops/health/live')).toBe(200);
    for (const target of targets) expect(await statusOf(url, `GET ${target}`), target).toBe(404);
  });
});

test('what a middleware has put under `raw` is no request', async () => {
  const app = express();
  app.use(express.json());
  app.use((req, res, next) => {
    Object.assign(req, { raw: 'the body' });
    Object.assign(res, { raw: null });
    next();
  });
  app.use('/ops', toNodeHandler(handler));
  const server = await listening(createServer(app));
  opened.push(server);
  expect(await statusOf(server.url, 'GET /ops/health/live')).toBe(200);
  expect(await statusOf(server.url, 'GET /ops/nothing')).toBe(404);
});

test('what fails before the handler is asked ends the request, and nothing else', async () => {
  const broken = Object.assign(handler.bind(null), {
    handles: () => {
      throw new Error(CANARY);
    },
  });
  const { status, text } = await rawRequest(await serve(broken), `GET / HTTP/1.1\r\nhost: a${LINES}`);
  expect(status).toBe(400);
  expect(text).not.toContain(CANARY);
});

const parsers = {
  json: express.json(),
  text: express.text({ type: '*/*' }),
  raw: express.raw({ type: '*/*' }),
  none: ((_req, _res, next) => next()) as express.RequestHandler,
  'unread, with an empty object': ((req, _res, next) => {
    req.body = {};
    next();
  }) as express.RequestHandler,
};
test.each(Object.entries(parsers))('a body that was read by a parser: %s', async (_name, parser) => {
  const app = express();
  app.use(parser);
  app.use('/ops', toNodeHandler(handler));
  const server = await listening(createServer(app));
  opened.push(server);
  const body = '{"category":"näne"}';
  const headers = { authorization: TOKEN, 'content-type': 'application/json' };
  const send = async (text: string): Promise<number> =>
    (await fetch(`${server.url}/ops/recovery/failures/redrive`, { method: 'POST', headers, body: text }))
      .status;
  expect(await send(body)).toBe(200);
  expect(await send('{"other":1}')).toBe(400);
  expect(await send('[]')).toBe(400);
});

test('a body that is too large, or not wanted, does not cost the connection', async () => {
  const url = await serve();
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const ports = new Set<number | undefined>();
  const send = (path: string, size: number, token = TOKEN, parts = false): Promise<number | undefined> =>
    new Promise((resolve, reject) => {
      const headers = { authorization: token, 'content-type': 'application/json' };
      const request = httpRequest(url + path, { method: 'POST', agent, headers }, (response) => {
        ports.add(request.socket?.localPort);
        response.resume().once('end', () => resolve(response.statusCode));
      });
      request.once('error', reject);
      // Written in parts it says no length beforehand.
      if (parts) request.write(' ');
      request.end(Buffer.alloc(size, ' '));
    });
  expect(await send('/recovery/trigger', 200_000)).toBe(413);
  expect(await send('/recovery/trigger', 200_000, TOKEN, true)).toBe(413);
  expect(await send('/recovery/trigger', 200_000, 'none')).toBe(403);
  expect(await send('/elsewhere', 200_000)).toBe(404);
  expect(await send('/recovery/tasks/nobody/requeue', 0)).toBe(404);
  expect(ports.size).toBe(1);
  agent.destroy();
});

test('a client that goes aborts its request, also in the middle of its body', async () => {
  const signals: AbortSignal[] = [];
  let asked = (): void => {};
  const given = createHttpHandler(all.recovery, {
    authorize: (request) => {
      signals.push(request.signal);
      asked();
      return true;
    },
  });
  const url = new URL(await serve(given));
  const arrived = new Promise<void>((resolve) => (asked = resolve));
  const socket = connect(Number(url.port), url.hostname);
  socket.write(
    'POST /recovery/trigger HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 50\r\n\r\n{"na',
  );
  await arrived;
  const [signal] = signals;
  expect(signal?.aborted).toBe(false);
  const aborted = once(signal!, 'abort');
  socket.destroy();
  await aborted;
  expect((await fetch(`${url.origin}/recovery/status`)).status).toBe(200);
  expect(signals[1]?.aborted).toBe(false);
});

test('an answer that somebody else has begun is left alone', async () => {
  const app = express();
  let late: Promise<unknown> = Promise.resolve();
  app.use((_req, res, next) => {
    res.status(202).send('mine');
    late = once(res, 'finish');
    next();
  });
  app.use(toNodeHandler(handler));
  const server = await listening(createServer(app));
  opened.push(server);
  expect(await (await fetch(`${server.url}/health/live`)).text()).toBe('mine');
  await late;
});

test('a handler that fails all the same ends the request, and tells nothing', async () => {
  const broken = Object.assign(() => Promise.reject(new Error(CANARY)), { handles: () => true });
  const { status, text } = await rawRequest(await serve(broken), `GET / HTTP/1.1\r\nhost: a${LINES}`);
  expect(status).toBe(400);
  expect(text).not.toContain(CANARY);
});
