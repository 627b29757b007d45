/** Jobs of BullMQ whose workers are killed or stopped: real processes on a real Redis. */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Queue, Worker } from 'bullmq';
import type { WorkerOptions } from 'bullmq';
import { Redis } from 'ioredis';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import type { Recovery } from '../../src/index.js';
import { createRecovery } from '../../src/index.js';
import { recoverableProcessor } from '../../src/integrations/bullmq/index.js';
import { deferred } from '../../src/runtime/deferred.js';
import { redisStorage } from '../../src/storage/redis.js';
import { redisCommand, startRedis, waitFor } from '../support/redis-server.js';
import type { RedisServer } from '../support/redis-server.js';

const fixture = (name: string): string => fileURLToPath(new URL(`../fixtures/${name}`, import.meta.url));

interface Note {
  readonly pid: number;
  readonly what: string;
  readonly id?: string;
  readonly step?: number;
  readonly attempt?: number;
  readonly atBoot?: boolean;
  readonly state?: string;
  readonly code?: string;
  readonly reason?: string;
}

let server: RedisServer;
let folder = '';
let count = 0;
const ends: (() => unknown)[] = [];

beforeAll(async () => {
  server = await startRedis();
  folder = mkdtempSync(join(tmpdir(), 'rekindle-bullmq-'));
});
afterEach(async () => {
  for (const end of ends.splice(0).toReversed()) await end();
});
afterAll(async () => {
  await server.stop();
  rmSync(folder, { recursive: true, force: true });
});

/** A queue, a namespace and a journal of one test. */
function setUp() {
  const name = `jobs${(count += 1)}`;
  const connection = { host: server.host, port: server.port };
  const queue = new Queue(name, { connection });
  const place = { port: server.port, namespace: name, queue: name, journal: join(folder, name) };
  const client = new Redis(connection);
  const observer = createRecovery({ storage: redisStorage(client), namespace: name });
  ends.push(
    () => client.disconnect(),
    () => observer.shutdown(),
    () => queue.close(),
  );
  const notes = (what: string): Note[] =>
    (existsSync(place.journal) ? readFileSync(place.journal, 'utf8') : '')
      .split('\n')
      .filter((line) => line.endsWith('}'))
      .map((line): Note => JSON.parse(line))
      .filter((note) => note.what === what);
  const worker = (
    options: Partial<WorkerOptions>,
    more: { readonly leaseMs?: number; readonly stepsToHold?: number } = {},
  ): ChildProcess => {
    const config = JSON.stringify({ ...place, options, ...more });
    const child = spawn(process.execPath, [fixture('bullmq-worker.mjs'), config], {
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    ends.push(() => kill(child));
    return child;
  };
  return { queue, connection, observer, place, notes, worker };
}

async function kill(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGKILL');
  await gone;
}

const JOBS = 200;
const STEPS = 10;
const CONCURRENCY = 20;

test.each<[string, Partial<WorkerOptions>]>([
  ['with the default settings of BullMQ, long before its stall check', {}],
  ['with its stall check at work', { lockDuration: 2_500, stalledInterval: 400 }],
])('a worker is killed in the middle of its jobs, and another one goes on %s', async (_, options) => {
  const { queue, observer, notes, worker } = setUp();
  const added = await queue.addBulk(
    Array.from({ length: JOBS }, () => ({ name: 'job', data: { steps: STEPS, stepMs: 2 } })),
  );
  const first = worker({ concurrency: CONCURRENCY, ...options }, { stepsToHold: (JOBS * STEPS) / 2 });
  await waitFor('half of the steps', () => notes('in hand').length === CONCURRENCY);
  await kill(first);
  const done = new Set(notes('done').map(({ id, step }) => `${id} ${step}`));
  const held = await observer.tasks.list({ status: 'processing', limit: 100 });
  expect(held.tasks).toHaveLength(CONCURRENCY);
  worker({ concurrency: CONCURRENCY, ...options });
  await waitFor('all tasks', async () => (await observer.tasks.counts()).completed === JOBS);
  // Whatever was in hand was resumed at boot, while BullMQ still took it for active.
  const again = notes('running').filter(({ attempt }) => attempt === 2);
  expect(again.map(({ id }) => `${queue.name}:${id}`).toSorted()).toEqual(
    held.tasks.map(({ taskId }) => taskId).toSorted(),
  );
  for (const note of again) expect(note).toMatchObject({ atBoot: true, state: 'active' });
  if (options.stalledInterval === undefined) {
    for (const { id } of again) expect(await queue.getJobState(id ?? '')).toBe('active');
    expect(await queue.getCompletedCount()).toBeLessThanOrEqual(JOBS - again.length);
  } else {
    await waitFor('all jobs', async () => (await queue.getCompletedCount()) === JOBS);
    const jobs = await Promise.all(added.map(({ id }) => queue.getJob(id ?? '')));
    for (const job of jobs) expect(job).toMatchObject({ returnvalue: `${job?.id}!`, attemptsMade: 1 });
  }
  const begun = notes('begun').map(({ id, step }) => `${id} ${step}`);
  expect(new Set(begun).size).toBe(JOBS * STEPS);
  const twice = begun.filter((step, index) => begun.indexOf(step) !== index);
  expect(new Set(twice).size).toBe(twice.length);
  expect(twice.length).toBeLessThanOrEqual(CONCURRENCY);
  expect(twice.filter((step) => done.has(step))).toEqual([]);
  expect(notes('unhandled')).toEqual([]);
});

test('a worker that stands still past lock and lease is refused, where BullMQ alone lets it write', async () => {
  const { queue, notes, worker } = setUp();
  const options = { lockDuration: 500, stalledInterval: 200 };
  const first = worker(options, { leaseMs: 1_000 });
  const { id = '' } = await queue.add('job', { steps: 3, stepMs: 1, hold: 1 });
  await waitFor('its second step', () => notes('held').length === 1);
  first.kill('SIGSTOP');
  worker(options, { leaseMs: 1_000 });
  await waitFor('the end of the job', async () => (await queue.getJobState(id)) === 'completed');
  const begun = notes('begun').length;
  expect(begun).toBe(4);
  first.kill('SIGUSR2');
  first.kill('SIGCONT');
  await waitFor('its refusal', () => notes('left').length > 0);
  // By the storage, or by its own clock before that.
  const code = expect.stringMatching(/^LEASE_(LOST|UNCERTAIN)$/);
  expect(notes('refused')).toMatchObject([{ pid: first.pid, id, code }]);
  expect(notes('begun')).toHaveLength(begun);
  expect(notes('unhandled')).toEqual([]);
  const job = await queue.getJob(id);
  expect(job).toMatchObject({ returnvalue: `${id}!`, data: { by: 'zombie' } });
});

/** A worker with the sandboxed processor. */
function sandbox(
  { connection, place }: ReturnType<typeof setUp>,
  options: Partial<WorkerOptions> = {},
): Worker {
  process.env['SANDBOX'] = JSON.stringify(place);
  const worker = new Worker(place.queue, fixture('bullmq-sandbox.mjs'), { connection, ...options });
  worker.on('error', () => {});
  ends.push(() => worker.close(true));
  return worker;
}

test('a sandboxed processor goes on after its process was killed, and hears of cancellation', async () => {
  const given = setUp();
  const { queue, notes } = given;
  const worker = sandbox(given);
  const killed = await queue.add('job', { kill: true }, { attempts: 2 });
  await waitFor('its end', async () => (await queue.getJobState(killed.id ?? '')) === 'completed');
  expect(await queue.getJob(killed.id ?? '')).toMatchObject({ returnvalue: 2, progress: 50 });
  expect(notes('first')).toHaveLength(1);
  const cancelled = await queue.add('job', {});
  await waitFor('its run', () => notes('running').length === 3);
  worker.cancelJob(cancelled.id ?? '', 'not wanted');
  await waitFor('its end', async () => (await queue.getJobState(cancelled.id ?? '')) === 'completed');
  expect(notes('aborted')).toMatchObject([{ reason: 'not wanted' }]);
});

test('a sandboxed processor puts its job off while the task runs elsewhere', async () => {
  const given = setUp();
  const { queue, connection, observer, notes } = given;
  const { processor, running, ready } = holding(observer);
  const worker = new Worker(queue.name, processor, { connection, skipStalledCheck: true });
  worker.on('error', () => {});
  ends.push(() => worker.close(true));
  const { id = '' } = await queue.add('job', { kill: true });
  await running.promise;
  await worker.pause(true);
  await redisCommand(server.port, ['DEL', `bull:${queue.name}:${id}:lock`]);
  sandbox(given, { stalledInterval: 50 });
  await waitFor('its delay', async () => (await queue.getJobState(id)) === 'delayed');
  ready.resolve('from elsewhere');
  await waitFor('its end', async () => (await queue.getJobState(id)) === 'completed');
  expect(await queue.getJob(id)).toMatchObject({ returnvalue: 'from elsewhere', attemptsMade: 1 });
  expect(notes('first')).toEqual([]);
});

/** The same task in this process; it ends when it is told to. */
function holding(recovery: Recovery) {
  const running = deferred<void>();
  const ready = deferred<string>();
  const processor = recoverableProcessor(
    recovery,
    () => {
      running.resolve();
      return ready.promise;
    },
    { name: 'sandboxed' },
  );
  return { processor, running, ready };
}
