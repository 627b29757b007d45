/** The storage dies, comes back, or forgets everything, while workers are at it. */
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { redisCommand, startRedis } from '../support/redis-server.js';
import type { RedisServer } from '../support/redis-server.js';
import { seededRandom } from './support/random.js';
import type { WorkerProcess } from './support/worker-process.js';
import { ROUNDS, ROUNDS_TIMEOUT_MS, endWithEachTest, makeWorld } from './support/world.js';
import type { World } from './support/world.js';

let server: RedisServer;
let world: World;

// Before `endWithEachTest`: hooks after a test run in reverse order, and the world ends before its server.
afterEach(() => server.stop());
endWithEachTest();
beforeEach(async () => {
  server = await startRedis({ appendonly: 'always' });
  world = await makeWorld('redis', server);
});

const ids = ['count-0', 'count-1', 'count-2'];
const STEPS = 60 * ROUNDS;

async function start(worker: WorkerProcess): Promise<void> {
  await worker.call('startup');
  for (const id of ids) await worker.call('start', 'steps', { id, steps: STEPS, pauseMs: 2 });
}

test('Redis is killed again and again, and work goes on', { timeout: ROUNDS_TIMEOUT_MS }, async () => {
  const { random, seed } = seededRandom();
  console.log(`Redis killed: REKINDLE_SEED=${seed}, ${ROUNDS} rounds`);
  const worker = await world.worker();
  await start(worker);
  const fences = await Promise.all(ids.map(async (id) => (await world.task(id)).fence));
  for (let round = 0; round < ROUNDS; round += 1) {
    const step = worker.all({ type: 'acknowledged', id: ids[0] }).length + 1 + Math.floor(random() * 20);
    await worker.heard({ type: 'acknowledged', id: ids[0], step: Math.min(step, STEPS) });
    await server.kill9();
    await server.restart();
  }
  for (const [index, id] of ids.entries()) {
    expect(await worker.heard({ type: 'result', id })).toMatchObject({ value: { steps: STEPS } });
    // A write that was lost would have cost the task its lease: each expects the one before.
    expect(await world.task(id)).toMatchObject({ status: 'completed', attempt: 1, fence: fences[index] });
    expect(worker.all({ type: 'acknowledged', id })).toHaveLength(STEPS);
  }
});

test('Redis and the worker die together; nothing acknowledged is lost', async () => {
  const first = await world.worker();
  await start(first);
  await first.heard({ type: 'acknowledged', id: ids[0], step: 20 });
  await server.kill9();
  // The worker lives on for a while, and may acknowledge nothing more.
  await delay(50);
  await first.kill();
  await server.restart();
  const second = await world.worker();
  await second.call('startup');
  for (const id of ids) {
    const acknowledged = world.journal({ type: 'acknowledged', attempt: 1, id }).length;
    const resumed = await second.heard({ type: 'running', id });
    expect([acknowledged, acknowledged + 1]).toContain(resumed['resumedStep']);
    await second.heard({ type: 'event', event: 'task_completed', id });
  }
});

test('Redis away at boot: a typed error, and a later call works', async () => {
  await server.kill9();
  const worker = await world.worker({ leaseMs: 3_000 });
  await expect(worker.call('startup')).rejects.toThrow('STORAGE_UNAVAILABLE');
  await expect(worker.call('start', 'job', { id: 'job' })).rejects.toThrow('STORAGE_UNAVAILABLE');
  await expect(worker.call('plan')).rejects.toThrow('STORAGE_UNAVAILABLE');
  await server.restart();
  await expect
    .poll(() => worker.call('startup').catch(String), { timeout: 20_000 })
    .toEqual({ postponed: null });
  await worker.call('start', 'job', { id: 'job' });
  expect(await worker.heard({ type: 'result', id: 'job' })).toMatchObject({ value: 1 });
});

test('Redis away at boot, and boot goes on: the sweeper recovers later', async () => {
  const first = await world.worker();
  await first.call('start', 'gate', { id: 'gate' });
  expect(await first.order('gate', { do: 'checkpoint', name: 'kept' })).toBe('done');
  await Promise.all([first.kill(), server.kill9()]);
  const second = await world.worker({ leaseMs: 3_000, sweepIntervalMs: 200 });
  const answer = await second.call('startup', { onUnavailable: 'continue' });
  expect(answer).toEqual({ postponed: 'STORAGE_UNAVAILABLE' });
  await second.heard({ type: 'event', event: 'alert', kind: 'recovery_postponed' });
  await second.heard({ type: 'event', event: 'alert', kind: 'sweep_failed' });
  await server.restart();
  expect(await second.heard({ type: 'running', id: 'gate' })).toMatchObject({
    attempt: 2,
    resumedFrom: 'kept',
  });
});

test('Redis forgets everything: tasks lose their lease, and the worker goes on with new ones', async () => {
  world.checked = false;
  const worker = await world.worker({ leaseMs: 3_000, sweepIntervalMs: 50 });
  await worker.call('startup');
  for (const id of ids) await worker.call('start', 'gate', { id });
  await redisCommand(server.port, ['FLUSHALL']);
  expect(await worker.order('count-0', { do: 'checkpoint', name: 'too late' })).toBe('LEASE_LOST');
  for (const id of ids) {
    // Those that write nothing hear it from their next renewal.
    expect(await worker.heard({ type: 'aborted', id })).toMatchObject({ code: 'LEASE_LOST' });
    expect(await worker.heard({ type: 'result', id })).toMatchObject({ code: 'LEASE_LOST' });
    expect(await world.observer.tasks.get(id)).toBeNull();
  }
  expect(await world.checkpointNames('count-0')).toEqual([]);
  await worker.call('start', 'gate', { id: 'new' });
  expect(await worker.order('new', { do: 'checkpoint', name: 'kept' })).toBe('done');
  // It has signed on again: its death is as provable as before.
  const { owner, fence, leaseUntilMs } = await world.task('new');
  await expect
    .poll(async () => (await world.storage.read(world.home, [`w:${owner}`])).records[0])
    .toBeTruthy();
  await worker.kill();
  const heir = await world.worker();
  await heir.call('startup');
  expect(await heir.heard({ type: 'running', id: 'new' })).toMatchObject({ attempt: 2, fence: fence + 1 });
  const claimed = (await world.events('new')).find(({ event }) => event === 'recovery_started');
  expect(claimed).toMatchObject({ cause: 'owner_dead' });
  expect(leaseUntilMs).toBeGreaterThan(0);
  expect(await heir.call('plan')).toEqual([]);
});
