/** runDocumentRecovery as a program: it ends by itself, and the password of its URL is nowhere in what it says. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { Redis } from 'ioredis';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { createRecovery } from '../../src/runtime/create-recovery.js';
import type { DocumentRecoveryRunOptions } from '../../src/run-document-recovery.js';
import { redisStorage } from '../../src/storage/redis.js';
import { redisCommand, startRedis } from '../support/redis-server.js';
import type { RedisServer } from '../support/redis-server.js';

const PROGRAM = fileURLToPath(new URL('../fixtures/document-run.mjs', import.meta.url));
const PASSWORD = 'sw0rdfish-of-the-docs';
const WRONG = 'not-the-sw0rdfish';
const PATHS: readonly string[] = ['/in/1.pdf', '/in/2.pdf', '/in/3.pdf'];

let server: RedisServer;
beforeAll(async () => {
  server = await startRedis();
  const user = ['ACL', 'SETUSER', 'docs', 'on', `>${PASSWORD}`, '~*', '&*', '+@all'];
  await redisCommand(server.port, user);
  const client = new Redis({ port: server.port });
  const recovery = createRecovery({ storage: redisStorage(client) });
  for (const documentPath of PATHS) {
    const error = new Error(`there is no tax rate for ${documentPath}`);
    await recovery.failures.record({ documentPath, error });
  }
  await recovery.shutdown();
  client.disconnect();
});
afterAll(() => server.stop());

let child: ReturnType<typeof spawn> | null = null;
afterEach(() => void child?.kill('SIGKILL'));

/** Resolves once it has ended by itself, with all that it said; our logs too (ioredis logs what it sends, if asked to). */
async function ended(options: DocumentRecoveryRunOptions) {
  const env = { ...process.env, DEBUG: 'rekindle:*', DEBUG_DEPTH: '9' };
  const started = spawn(process.execPath, [PROGRAM, JSON.stringify(options)], {
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  child = started;
  const said = { stdout: '', stderr: '' };
  started.stdout.on('data', (bytes: Buffer) => (said.stdout += bytes.toString()));
  started.stderr.on('data', (bytes: Buffer) => (said.stderr += bytes.toString()));
  const [code, signal]: unknown[] = await once(started, 'close');
  const told: unknown = JSON.parse(said.stdout);
  return { code, signal, told, ...said };
}

const url = (password: string, port = server.port): string => `redis://docs:${password}@127.0.0.1:${port}`;

test('a run of its own tries what is due, and again what a filter names', async () => {
  const options = { redisUrl: url(PASSWORD), config: { minRetryIntervalMs: 1 } };
  const none = { attempted: 0, succeeded: 0, failed: 0, skipped: 0, deadLettered: 0, expired: 0 };
  const first = await ended({ ...options, filter: { taskIds: [PATHS[0] ?? ''] } });
  expect(first).toMatchObject({ code: 0, signal: null });
  expect(first.told).toMatchObject({
    report: {
      ...none,
      found: 1,
      attempted: 1,
      succeeded: 1,
      tasks: [{ taskId: PATHS[0], outcome: 'completed' }],
    },
    paths: PATHS.slice(0, 1),
  });
  const rest = await ended(options);
  expect(rest).toMatchObject({ code: 0, signal: null });
  expect(rest.told).toMatchObject({ report: { ...none, found: 2, attempted: 2, succeeded: 2 } });
  const nothing = await ended(options);
  expect(nothing.told).toMatchObject({ report: { ...none, found: 0 }, paths: [] });
  for (const { stdout, stderr } of [first, rest, nothing]) expect(stdout + stderr).not.toContain(PASSWORD);
});

test('without a server it gives up by itself, and tells no password', async () => {
  // A port that was free a moment ago.
  const gone = await startRedis();
  await gone.stop();
  const run = await ended({ redisUrl: url(PASSWORD, gone.port), leaseMs: 1_000 });
  expect(run).toMatchObject({ code: 0, signal: null, told: { code: 'STORAGE_UNAVAILABLE' } });
  expect(run.stdout + run.stderr).not.toContain(PASSWORD);
});

test('a password that is wrong is told as little', async () => {
  const run = await ended({ redisUrl: url(WRONG), leaseMs: 1_000 });
  expect(run).toMatchObject({ code: 0, signal: null, told: { code: 'STORAGE_UNAVAILABLE' } });
  expect(run.stdout + run.stderr).not.toContain(WRONG);
});

test('a URL that is none is refused, and not repeated', async () => {
  const run = await ended({ redisUrl: `http://docs:${PASSWORD}@127.0.0.1` });
  expect(run).toMatchObject({ code: 0, signal: null, told: { code: 'INVALID_OPTION' } });
  expect(run.stdout + run.stderr).not.toContain(PASSWORD);
});
