/** A namespace with a bit of everything in it, and servers of three kinds in front of it. */
import { createServer } from 'node:http';
import type { Server } from 'node:http';
import express from 'express';
import fastify from 'fastify';
import type { FastifyInstance } from 'fastify';
import { createHttpHandler, openApiDocument, toNodeHandler } from '../../../src/integrations/http/index.js';
import type { HttpHandler, HttpOptions, NodeHandlerOptions } from '../../../src/integrations/http/index.js';
import { createRecovery, memoryStorage } from '../../../src/index.js';
import type { Recovery, RecoveryContext, RecoveryOptions, Storage } from '../../../src/index.js';

/** What must never leave the process unasked. */
export const CANARY = 'cAnArY-7f3a';
export const TOKEN = 'Bearer let-me-in';

export const authorize = (request: Request): boolean => request.headers.get('authorization') === TOKEN;

/** Ids that are hard to write into a path, and one that isn't. */
export const FAILED_ID = 'in/7 ä%2F?#&.pdf';
export const ORPHAN_ID = 'orphan-1';
export const DONE_ID = 'done-1';
export const GIVEN_UP_ID = 'given-up-1';

export interface Filled {
  readonly recovery: Recovery;
  readonly storage: Storage;
  /** Lets the tasks that wait for it go on. */
  readonly release: () => void;
}

interface Gate {
  open: boolean;
  readonly waiting: (() => void)[];
}

function define(recovery: Recovery, gate: Gate) {
  const userContext = (): { note: string } => ({ note: CANARY });
  const convert = recovery.withRecovery(
    async (ctx: RecoveryContext, path: string) => {
      await ctx.createCheckpoint({
        name: 'read',
        progressPercent: 40,
        recoverableData: { password: CANARY, pages: 3 },
        databaseState: { dsn: `postgres://me:${CANARY}@db/x` },
      });
      if (path === ORPHAN_ID && !gate.open) {
        await new Promise<void>((resolve) => gate.waiting.push(resolve));
        await ctx.updateProgress(50);
      }
      if (path === DONE_ID || path === ORPHAN_ID) return { secret: CANARY };
      throw Object.assign(new TypeError(`no such file: redis://me:${CANARY}@host/ ${CANARY}`), {
        code: 'ENOENT',
      });
    },
    {
      name: 'convert',
      taskId: (path) => path,
      document: (path) => path,
      query: () => `select ${CANARY}`,
      userContext,
    },
  );
  const doomed = recovery.withRecovery(
    (_ctx: RecoveryContext, _id: string): Promise<void> => Promise.reject(new Error(CANARY)),
    { name: 'doomed', taskId: (id) => id, userContext },
  );
  return { convert, doomed };
}

/** A Recovery over a storage that holds a completed task, failed documents, a cancelled task and an orphan. */
export async function filled(options: Partial<RecoveryOptions> = {}): Promise<Filled> {
  const storage = options.storage ?? memoryStorage();
  const gate: Gate = { open: false, waiting: [] };
  const first = createRecovery({ ...options, storage });
  const { convert, doomed } = define(first, gate);
  await convert(DONE_ID);
  await convert(FAILED_ID).catch(() => {});
  await doomed(GIVEN_UP_ID).catch(() => {});
  await first.failures.record({
    documentPath: '/in/by-hand.txt',
    error: new RangeError(CANARY),
    query: CANARY,
    metadata: { apiKey: CANARY, note: 'plain' },
  });
  const { result } = await convert.start(ORPHAN_ID);
  result.catch(() => {});
  await until(() => gate.waiting.length > 0);
  // Its next call on the context gives it back.
  const closed = first.shutdown({ timeoutMs: 5_000 });
  for (const go of gate.waiting.splice(0)) go();
  await closed;
  const recovery = createRecovery({ ...options, storage });
  define(recovery, gate);
  // Signs this worker on, and takes nothing back: an orphan without any worker alive is no health.
  await (
    await recovery.recover({ taskIds: ['nobody'] })
  ).finished;
  const release = (): void => {
    gate.open = true;
    for (const go of gate.waiting.splice(0)) go();
  };
  return { recovery, storage, release };
}

export async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setImmediate(resolve));
}

export interface Served {
  readonly url: string;
  readonly close: () => Promise<void>;
}

export const SERVERS = ['node:http', 'express', 'express router', 'fastify', 'fastify raw'] as const;
export type ServerKind = (typeof SERVERS)[number];

function urlOf(server: Server, prefix: string): string {
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('it does not listen on a port');
  return `http://127.0.0.1:${address.port}${prefix}`;
}

export async function listening(server: Server, prefix = ''): Promise<Served> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const close = (): Promise<void> =>
    new Promise((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
    });
  return { url: urlOf(server, prefix), close };
}

function fastifyApp(kind: ServerKind, handler: HttpHandler): FastifyInstance {
  const app = fastify();
  const node = toNodeHandler(handler, { prefix: '/ops' });
  if (kind === 'fastify') {
    app.all('/ops/*', node);
    return app;
  }
  app.register(async (inner) => {
    inner.removeAllContentTypeParsers();
    inner.addContentTypeParser('*', (_request, _payload, done) => done(null));
    inner.all('/ops/*', (request, reply) => {
      reply.hijack();
      node(request.raw, reply.raw);
    });
  });
  return app;
}

/** The handler behind a server on a loopback port. */
export async function served(
  kind: ServerKind,
  recovery: Recovery,
  options: HttpOptions = {},
  node: NodeHandlerOptions = {},
): Promise<Served> {
  const handler = createHttpHandler(recovery, options);
  if (kind === 'node:http') return listening(createServer(toNodeHandler(handler, node)), node.prefix);
  if (kind === 'express' || kind === 'express router') {
    const app = express();
    if (kind === 'express') {
      app.use(express.json());
      app.use('/ops', toNodeHandler(handler));
    } else {
      const router = express.Router();
      router.use('/ops', toNodeHandler(handler));
      app.use('/in', router);
    }
    app.use((req, res) => void res.status(418).send(`foreign: ${req.originalUrl}`));
    // Bodies that its parser refuses; its own page for them tells stacks.
    const refused: express.ErrorRequestHandler = (error: { status?: number }, _req, res, _next) =>
      void res.status(error.status ?? 500).end();
    app.use(refused);
    return listening(createServer(app), kind === 'express' ? '/ops' : '/in/ops');
  }
  const app = fastifyApp(kind, handler);
  await app.listen({ host: '127.0.0.1', port: 0 });
  return {
    url: urlOf(app.server, '/ops'),
    close: async () => {
      app.server.closeAllConnections();
      await app.close();
    },
  };
}

/** The paths of all routes, as in OpenAPI. */
export const ROUTES: readonly string[] = Object.keys(Object(openApiDocument()['paths']));

/** A request by somebody whom `authorize` lets pass. */
export function ask(url: string, init: RequestInit = {}): Promise<Response> {
  const headers = new Headers(init.headers);
  headers.set('authorization', TOKEN);
  return fetch(url, { ...init, headers });
}

export function post(url: string, body?: unknown): Promise<Response> {
  if (body === undefined) return ask(url, { method: 'POST' });
  const headers = { 'content-type': 'application/json' };
  return ask(url, { method: 'POST', headers, body: JSON.stringify(body) });
}
