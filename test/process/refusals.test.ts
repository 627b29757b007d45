/** A Redis that answers and refuses: a replica, no memory, evictions, no scripts. Typed errors, and work goes on after. */
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { redisCommand, startRedis } from '../support/redis-server.js';
import type { RedisServer } from '../support/redis-server.js';
import type { WorkerProcess } from './support/worker-process.js';
import { endWithEachTest, makeWorld } from './support/world.js';
import type { World } from './support/world.js';

let server: RedisServer;
let world: World;

// Before `endWithEachTest`: hooks after a test run in reverse order, and the world ends before its server.
afterEach(() => server.stop());
endWithEachTest();
beforeEach(async () => {
  server = await startRedis();
  world = await makeWorld('redis', server);
});

const ids = ['count-0', 'count-1', 'count-2'];
const steps = 120;

const tell = (...commands: readonly string[]): Promise<unknown> =>
  redisCommand(server.port, ...commands.map((each) => each.split(' ')));

async function startSteps(worker: WorkerProcess): Promise<void> {
  await worker.call('startup');
  for (const id of ids) await worker.call('start', 'steps', { id, steps, pauseMs: 4 });
  await worker.heard({ type: 'acknowledged', id: ids[0], step: 20 });
}

async function expectUntouched(worker: WorkerProcess): Promise<void> {
  for (const id of ids) {
    expect(await worker.heard({ type: 'result', id })).toMatchObject({ value: { steps } });
    expect(await world.task(id)).toMatchObject({ status: 'completed', attempt: 1, errorCount: 0 });
    expect(worker.all({ type: 'acknowledged', id })).toHaveLength(steps);
  }
}

test('a replica under live workers: a call is told STORAGE_READONLY, and the tasks go on after', async () => {
  const worker = await world.worker({ leaseMs: 4_000 });
  await startSteps(worker);
  await worker.call('start', 'job', { id: 'before' });
  await tell('REPLICAOF 127.0.0.1 1');
  // One whose name is known, and one whose name would have to be written first.
  const calls = [
    worker.call('start', 'job', { id: 'job' }),
    worker.call('start', 'together', { id: 'pair', count: 1 }),
  ];
  const codes = await Promise.all(calls.map((call) => call.catch((error: unknown) => String(error))));
  await tell('REPLICAOF NO ONE');
  expect(codes).toEqual([
    expect.stringContaining('STORAGE_READONLY'),
    expect.stringContaining('STORAGE_UNAVAILABLE'),
  ]);
  await worker.call('start', 'job', { id: 'job' });
  expect(await worker.heard({ type: 'result', id: 'job' })).toMatchObject({ value: 1 });
  await expectUntouched(worker);
});

test('no memory left: STORAGE_FULL at once, and the tasks go on after', async () => {
  const worker = await world.worker();
  await worker.call('startup');
  await worker.call('start', 'gate', { id: 'gate' });
  expect(await worker.order('gate', { do: 'checkpoint', name: 'kept' })).toBe('done');
  const { fence } = await world.task('gate');
  await tell('CONFIG SET maxmemory-policy noeviction', 'CONFIG SET maxmemory 1');
  await expect(worker.call('start', 'gate', { id: 'other' })).rejects.toThrow('STORAGE_FULL');
  expect(await worker.order('gate', { do: 'checkpoint', name: 'refused' })).toBe('STORAGE_FULL');
  await tell('CONFIG SET maxmemory 0');
  expect(await worker.order('gate', { do: 'checkpoint', name: 'after' })).toBe('done');
  await worker.order('gate', { do: 'return', value: 'once' });
  expect(await worker.heard({ type: 'result', id: 'gate' })).toMatchObject({ value: 'once' });
  expect(await world.checkpointNames('gate')).toEqual(['after', 'kept']);
  expect(await world.task('gate')).toMatchObject({ status: 'completed', attempt: 1, fence });
});

test('no memory left for longer than a lease: fenced off, and taken back uncharged', async () => {
  const worker = await world.worker({ leaseMs: 1_500, sweepIntervalMs: 100 });
  await worker.call('startup');
  await worker.call('start', 'gate', { id: 'gate' });
  expect(await worker.order('gate', { do: 'checkpoint', name: 'kept' })).toBe('done');
  const { fence } = await world.task('gate');
  await tell('CONFIG SET maxmemory 1');
  expect(await worker.heard({ type: 'aborted', id: 'gate' })).toMatchObject({ code: 'LEASE_UNCERTAIN' });
  await tell('CONFIG SET maxmemory 0');
  expect(await worker.heard({ type: 'running', id: 'gate', attempt: 2 })).toMatchObject({
    fence: fence + 1,
    resumedFrom: 'kept',
  });
  expect(await world.task('gate')).toMatchObject({ crashes: [], orphanCause: 'own' });
});

test('a shutdown with no memory left ends by its deadline; what it could not give back is found', async () => {
  const first = await world.worker();
  await first.call('startup');
  await first.call('start', 'gate', { id: 'gate' });
  expect(await first.order('gate', { do: 'checkpoint', name: 'kept' })).toBe('done');
  await tell('CONFIG SET maxmemory 1');
  await first.call('shutdown', { timeoutMs: 500 });
  await first.call('leave');
  expect(await first.exited).toEqual({ code: 0, signal: null });
  await tell('CONFIG SET maxmemory 0');
  const heir = await world.worker();
  await heir.call('startup');
  expect(await heir.heard({ type: 'running', id: 'gate' })).toMatchObject({
    attempt: 2,
    resumedFrom: 'kept',
  });
});

test('evictions: a warning at start, and an evicted task gets no fence that it had', async () => {
  // The records that are gone are those that the invariants are about.
  world.checked = false;
  await tell('CONFIG SET maxmemory-policy allkeys-lru');
  const worker = await world.worker({ leaseMs: 3_000, sweepIntervalMs: 50 });
  await worker.call('startup');
  const alert = await worker.heard({ type: 'event', event: 'alert', kind: 'storage_settings' });
  expect(
    worker.all({ kind: 'storage_settings' }).map(({ details }) => JSON.stringify(details)),
  ).toContainEqual(expect.stringContaining('maxmemory-policy is allkeys-lru'));
  expect(alert).toBeDefined();
  await worker.call('start', 'gate', { id: 'gate' });
  expect(await worker.order('gate', { do: 'checkpoint', name: 'kept' })).toBe('done');
  const { fence } = await world.task('gate');
  // Redis throws everything out until it fits, and lets nothing in.
  await tell('CONFIG SET maxmemory 1');
  await expect.poll(() => redisCommand(server.port, ['DBSIZE'])).toEqual([0]);
  await tell('CONFIG SET maxmemory 0');
  expect(await worker.order('gate', { do: 'checkpoint', name: 'too late' })).toBe('LEASE_LOST');
  expect(await worker.heard({ type: 'aborted', id: 'gate' })).toMatchObject({ code: 'LEASE_LOST' });
  await worker.heard({ type: 'result', id: 'gate' });
  await worker.call('start', 'gate', { id: 'gate' });
  const again = await world.task('gate');
  expect(again).toMatchObject({ attempt: 1 });
  expect(again.fence).toBeGreaterThan(fence);
  expect(await worker.order('gate', { do: 'checkpoint', name: 'anew' })).toBe('done');
  expect(await world.checkpointNames('gate')).toEqual(['anew']);
});

test('scripts that are flushed all the time are not noticed', async () => {
  const worker = await world.worker();
  const done = new AbortController();
  await worker.call('startup');
  const flushing = (async () => {
    while (!done.signal.aborted) {
      await tell('SCRIPT FLUSH');
      await delay(1);
    }
  })();
  for (const id of ids) await worker.call('start', 'steps', { id, steps, pauseMs: 4 });
  await expectUntouched(worker);
  done.abort();
  await flushing;
});
