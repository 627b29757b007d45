/** Errors of sockets, names and HTTP, against servers of the test's own. */
import { randomBytes } from 'node:crypto';
import dns from 'node:dns/promises';
import { once } from 'node:events';
import http from 'node:http';
import https from 'node:https';
import net from 'node:net';
import { PassThrough, Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { entry, errorLike } from './error-corpus-entry.js';
import type { CorpusEntry } from './error-corpus-entry.js';

const HOST = '127.0.0.1';

async function listening(server: net.Server): Promise<number> {
  server.listen(0, HOST);
  await once(server, 'listening');
  const address = server.address();
  return typeof address === 'object' && address !== null ? address.port : 0;
}

/** A port where nobody listens any more. */
async function closedPort(): Promise<number> {
  const server = net.createServer();
  const port = await listening(server);
  server.close();
  await once(server, 'close');
  return port;
}

const errorOf = (emitter: NodeJS.EventEmitter): Promise<unknown> =>
  new Promise((resolve) => emitter.once('error', resolve));

/** Runs `call` against a server that lives no longer than the call; each has another port. */
async function against(server: net.Server, call: (port: number) => unknown): Promise<unknown> {
  const port = await listening(server);
  try {
    return await call(port);
  } finally {
    server.close();
  }
}

const withSockets = (onSocket: (socket: net.Socket) => void): net.Server =>
  net.createServer((socket) => onSocket(socket.on('error', () => {})));

const withRequests = (handler: http.RequestListener): http.Server =>
  http.createServer(handler).on('connection', (socket: net.Socket) => socket.unref());

const get = (port: number): Promise<unknown> =>
  new Promise((resolve, reject) => http.get({ host: HOST, port }, resolve).on('error', reject));

/** The error that axios makes of an answer: same name, text and code. */
async function axiosGet(port: number): Promise<never> {
  const { status } = await fetch(`http://${HOST}:${port}/${randomBytes(8).toString('hex')}`);
  const code = status < 500 ? 'ERR_BAD_REQUEST' : 'ERR_BAD_RESPONSE';
  throw errorLike('AxiosError', `Request failed with status code ${status}`, code);
}

/** The error that most programs make of an answer themselves. */
async function ownGet(port: number): Promise<never> {
  const url = `http://${HOST}:${port}/${randomBytes(8).toString('hex')}?page=1`;
  const { status, statusText } = await fetch(url);
  throw new Error(`GET ${url}: HTTP ${status} ${statusText}`);
}

const answers = (
  [
    [400, 'other'],
    [401, 'permission'],
    [403, 'permission'],
    [404, 'other'],
    [408, 'timeout'],
    [429, 'other'],
    [500, 'network'],
    [503, 'network'],
    [504, 'timeout'],
  ] as const
).flatMap(([status, category]) => {
  const server = (): http.Server => withRequests((_, response) => response.writeHead(status).end());
  return [
    entry(`axios: ${status}`, category, () => against(server(), axiosGet), 'constructed'),
    entry(`own: HTTP ${status}`, category, () => against(server(), ownGet), 'constructed'),
  ];
});

const sockets = [
  entry('connect: refused', 'network', async () => errorOf(net.connect(await closedPort(), HOST))),
  entry('fetch: refused', 'network', async () => fetch(`http://${HOST}:${await closedPort()}/a`)),
  entry('listen: taken', 'network', () =>
    against(net.createServer(), (port) => errorOf(net.createServer().listen(port, HOST))),
  ),
  entry('lookup: no such name', 'network', () => dns.lookup(`db-${randomBytes(5).toString('hex')}.invalid`)),
  entry('fetch: time', 'timeout', (round) =>
    against(
      withSockets((socket) => socket.unref()),
      (port) => fetch(`http://${HOST}:${port}`, { signal: AbortSignal.timeout(20 * round) }),
    ),
  ),
  entry('fetch: cancelled', 'other', () => fetch(`http://${HOST}:9`, { signal: AbortSignal.abort() })),
  entry('http: hang up', 'network', () =>
    against(
      withSockets((socket) => socket.destroy()),
      get,
    ),
  ),
  entry('http: reset', 'network', () =>
    against(
      withSockets((socket) => socket.once('data', () => socket.resetAndDestroy())),
      get,
    ),
  ),
  entry('http: no HTTP', 'network', () =>
    against(
      withSockets((socket) => socket.end('220 mail\r\n\r\n')),
      get,
    ),
  ),
  entry('fetch: cut off', 'network', () =>
    against(
      withRequests((_, response) => {
        response.writeHead(200, { 'content-length': '100' }).write('abc');
        setTimeout(() => response.destroy(), 20);
      }),
      async (port) => (await fetch(`http://${HOST}:${port}`)).text(),
    ),
  ),
  entry('https: no TLS', 'network', () =>
    against(
      withSockets((socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n')),
      (port) =>
        new Promise((resolve, reject) => https.get({ host: HOST, port }, resolve).on('error', reject)),
    ),
  ),
  entry('fetch: no URL', 'other', (round) => fetch(`/items/${round}`)),
  entry('stream: ended early', 'network', async () => {
    const from = new PassThrough();
    setTimeout(() => from.destroy(), 5);
    await pipeline(from, new PassThrough().resume());
  }),
  entry('stream: written after its end', 'other', async () => {
    const to = new Writable({ write: (_chunk, _encoding, done) => done() });
    to.end();
    const failed = once(to, 'error');
    to.write('x');
    throw (await failed)[0];
  }),
];

export async function wireErrors(): Promise<{ entries: CorpusEntry[]; close: () => Promise<void> }> {
  return Promise.resolve({ entries: [...sockets, ...answers], close: () => Promise.resolve() });
}
