/** Behind Sentinel: the master dies or freezes, a replica takes its place, and the workers follow. */
import type { RedisOptions } from 'ioredis';
import { afterEach, expect, test } from 'vitest';
import { startSentinel } from '../support/redis-groups.js';
import type { RedisSentinel } from '../support/redis-groups.js';
import { redisCommand, waitFor } from '../support/redis-server.js';
import type { WorkerProcess } from './support/worker-process.js';
import { endWithEachTest, makeWorldAt } from './support/world.js';
import type { World } from './support/world.js';

let group: RedisSentinel;

// Before `endWithEachTest`: hooks after a test run in reverse order, and the world ends before its servers.
afterEach(() => group.stop());
endWithEachTest();

const ids = ['count-0', 'count-1', 'count-2'];
const steps = 150;

/** Two replicas, so that one is left to wait for; both have all that the other one has, once a master is dead. */
async function sentinelWorld(waitReplicas: number, more: RedisOptions = {}): Promise<World> {
  group = await startSentinel(2);
  const redis: RedisOptions = { ...group.options, ...more, sentinelRetryStrategy: () => 50 };
  return makeWorldAt({ redis, storage: { waitReplicas } });
}

async function startSteps(worker: WorkerProcess): Promise<void> {
  await worker.call('startup');
  for (const id of ids) await worker.call('start', 'steps', { id, steps, pauseMs: 5 });
}

/** The port of the new master, once Sentinel tells clients of it. */
async function promoted(): Promise<string> {
  const { sentinel, options, master } = group;
  let port = '';
  await waitFor('the failover', async () => {
    const ask = ['SENTINEL', 'GET-MASTER-ADDR-BY-NAME', options.name];
    const [address] = await redisCommand(sentinel.port, ask);
    port = Array.isArray(address) ? String(address[1]) : '';
    return port !== '' && port !== String(master.port);
  });
  return port;
}

/** From now on the replicas hear nothing of what their master does. */
async function cutOffReplicas(): Promise<void> {
  const deaf = ['ACL', 'SETUSER', 'default', '-psync', '-sync'];
  await redisCommand(group.master.port, deaf, ['CLIENT', 'KILL', 'TYPE', 'replica']);
}

/** How many steps of the first task were acknowledged by now. */
const acknowledged = (world: World): number => world.journal({ type: 'acknowledged', id: ids[0] }).length;

test('a failover with waitReplicas: nothing acknowledged is lost', async () => {
  const world = await sentinelWorld(1);
  const worker = await world.worker();
  await startSteps(worker);
  await worker.heard({ type: 'acknowledged', id: ids[0], step: 20 });
  await group.master.kill9();
  await promoted();
  const fences = await Promise.all(ids.map(async (id) => (await world.task(id)).fence));
  for (const [index, id] of ids.entries()) {
    // What was not acknowledged is sent again; not even the lease is lost.
    expect(await worker.heard({ type: 'result', id })).toMatchObject({ value: { steps } });
    expect(await world.task(id)).toMatchObject({ status: 'completed', attempt: 1, fence: fences[index] });
    expect(worker.all({ type: 'acknowledged', id })).toHaveLength(steps);
  }
});

test('a failover with waitReplicas that takes the worker along: the heir has all of it', async () => {
  const world = await sentinelWorld(1);
  const first = await world.worker();
  await startSteps(first);
  await first.heard({ type: 'acknowledged', id: ids[0], step: 20 });
  await Promise.all([first.kill(), group.master.kill9()]);
  await promoted();
  const heir = await world.worker();
  await expect
    .poll(() => heir.call('startup').catch(String), { timeout: 20_000 })
    .toEqual({ postponed: null });
  for (const id of ids) {
    // From where, `journalViolations` checks.
    expect(await heir.heard({ type: 'running', id })).toMatchObject({ attempt: 2 });
    await heir.heard({ type: 'event', event: 'task_completed', id });
  }
});

test('a failover without waitReplicas loses what no replica had, and the tasks go on from there', async () => {
  const world = await sentinelWorld(0);
  world.remembers = false;
  const worker = await world.worker({ leaseMs: 6_000, sweepIntervalMs: 50 });
  await startSteps(worker);
  await worker.heard({ type: 'acknowledged', id: ids[0], step: 20 });
  await cutOffReplicas();
  const kept = acknowledged(world);
  await worker.heard({ type: 'acknowledged', id: ids[0], step: kept + 20 });
  await group.master.kill9();
  for (const id of ids) {
    // The new master has an older token than the worker: refused, and taken up again by whoever finds it.
    expect(await worker.heard({ type: 'result', id })).toMatchObject({ code: 'LEASE_LOST' });
    await worker.heard({ type: 'event', event: 'task_completed', id });
    expect(await world.task(id)).toMatchObject({ status: 'completed', crashes: [], errorCount: 0 });
  }
  const again = worker.all({ type: 'running', id: ids[0] })[1];
  expect(again?.['resumedStep']).toBeLessThan(kept + 20);
  expect(again?.['resumedStep']).toBeGreaterThan(0);
});

test('a master that was frozen: what it still says is not acknowledged, and nothing is accepted twice', async () => {
  // Without it ioredis would wait for the frozen one for ever.
  const world = await sentinelWorld(1, { failoverDetector: true });
  const worker = await world.worker({ leaseMs: 30_000 });
  await startSteps(worker);
  await worker.heard({ type: 'acknowledged', id: ids[0], step: 20 });
  group.master.pause();
  const successor = await promoted();
  // On the new master, while the old one still sleeps.
  const step = acknowledged(world) + 10;
  await worker.heard({ type: 'acknowledged', id: ids[0], step });
  group.master.resume();
  for (const id of ids) {
    expect(await worker.heard({ type: 'result', id })).toMatchObject({ value: { steps } });
    expect(await world.task(id)).toMatchObject({ status: 'completed', attempt: 1 });
    expect(worker.all({ type: 'acknowledged', id })).toHaveLength(steps);
  }
  expect(await promoted()).toBe(successor);
});
