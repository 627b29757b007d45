/** Redis comes back from an older snapshot: it has forgotten what it acknowledged, and gives fences out again. */
import { afterEach, beforeEach, expect, test } from 'vitest';
import { redisCommand, startRedis } from '../support/redis-server.js';
import type { RedisServer } from '../support/redis-server.js';
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
  // The workers have been acknowledged more than the storage knows in the end.
  world.remembers = false;
});

const ID = 'gate';
/** No clock of a worker's own ends a lease here: what is refused, the storage refuses. */
const leaseMs = 60_000;

const snapshot = (): Promise<unknown> => redisCommand(server.port, ['SAVE']);
/** It loads the only snapshot that there is. */
const rollBack = (): Promise<void> => server.restart();

test('a zombie whose fence number is given out again is refused', async () => {
  const first = await world.worker({ leaseMs });
  await first.call('start', 'gate', { id: ID });
  expect(await first.order(ID, { do: 'checkpoint', name: 'kept' })).toBe('done');
  const { fence } = await world.task(ID);
  await snapshot();
  await first.kill();
  const zombie = await world.worker({ leaseMs });
  await zombie.call('startup');
  expect(await zombie.heard({ type: 'running', id: ID })).toMatchObject({ attempt: 2, fence: fence + 1 });
  expect(await zombie.order(ID, { do: 'checkpoint', name: 'forgotten' })).toBe('done');
  const answer = zombie.order(ID, { do: 'zombie', name: 'zombie', timersFirst: false });
  await zombie.heard({ type: 'stopping', id: ID });
  await rollBack();
  expect(await world.checkpointNames(ID)).toEqual(['kept']);
  const heir = await world.worker({ leaseMs });
  await heir.call('startup');
  // The very number that the zombie has.
  expect(await heir.heard({ type: 'running', id: ID })).toMatchObject({
    attempt: 2,
    fence: fence + 1,
    resumedFrom: 'kept',
  });
  zombie.signal('SIGCONT');
  expect(await answer).toEqual({ written: 'LEASE_LOST', later: 'LEASE_LOST', signal: 'LEASE_LOST' });
  expect(await zombie.heard({ type: 'aborted', id: ID })).toMatchObject({ code: 'LEASE_LOST' });
  expect(await heir.order(ID, { do: 'checkpoint', name: 'again' })).toBe('done');
  await heir.order(ID, { do: 'return', value: 'heir' });
  expect(await heir.heard({ type: 'event', event: 'task_completed', id: ID })).toBeDefined();
  expect(await world.checkpointNames(ID)).toEqual(['again', 'kept']);
  expect(await world.task(ID)).toMatchObject({ status: 'completed', attempt: 2, fence: fence + 1 });
});

test('who reads a lower fence than it held claims above both', async () => {
  const first = await world.worker({ leaseMs });
  await first.call('start', 'gate', { id: ID });
  expect(await first.order(ID, { do: 'checkpoint', name: 'kept' })).toBe('done');
  const { fence } = await world.task(ID);
  await snapshot();
  await first.kill();
  // The lease is what its first looks around are timed by.
  const second = await world.worker({ leaseMs: 6_000, sweepIntervalMs: 50 });
  await second.call('startup');
  expect(await second.heard({ type: 'running', id: ID })).toMatchObject({ attempt: 2, fence: fence + 1 });
  await rollBack();
  expect(await second.order(ID, { do: 'checkpoint', name: 'forgotten' })).toBe('LEASE_LOST');
  await second.heard({ type: 'event', event: 'alert', kind: 'storage_rolled_back' });
  // The storage says attempt 2 a second time, and the fence is a new one all the same.
  expect(await second.heard({ type: 'running', id: ID, fence: fence + 2 })).toMatchObject({
    attempt: 2,
    resumedFrom: 'kept',
  });
  expect(await second.order(ID, { do: 'checkpoint', name: 'again' })).toBe('done');
  await second.order(ID, { do: 'return', value: 'second' });
  await second.heard({ type: 'event', event: 'task_completed', id: ID });
});

test('tasks in full flow go on from what the snapshot has, and end', async () => {
  const ids = ['count-0', 'count-1', 'count-2'];
  const steps = 200;
  const worker = await world.worker({ leaseMs: 3_000, sweepIntervalMs: 50 });
  await worker.call('startup');
  for (const id of ids) await worker.call('start', 'steps', { id, steps, pauseMs: 4 });
  await Promise.all(ids.map((id) => worker.heard({ type: 'acknowledged', id, step: 20 })));
  await snapshot();
  const kept = new Map(ids.map((id) => [id, worker.all({ type: 'acknowledged', id }).length]));
  await Promise.all(ids.map((id) => worker.heard({ type: 'acknowledged', id, step: 60 })));
  await rollBack();
  for (const id of ids) {
    expect(await worker.heard({ type: 'result', id })).toMatchObject({ code: 'LEASE_LOST' });
    await worker.heard({ type: 'event', event: 'task_completed', id });
    const [, again, ...more] = worker.all({ type: 'running', id });
    expect(more).toEqual([]);
    expect(again?.['resumedStep']).toBeGreaterThanOrEqual(20);
    // What was acknowledged while the server saved may be in the snapshot, or not.
    expect(again?.['resumedStep']).toBeLessThanOrEqual((kept.get(id) ?? 0) + 1);
    const { status, crashes, errorCount } = await world.task(id);
    expect({ status, crashes, errorCount }).toEqual({ status: 'completed', crashes: [], errorCount: 0 });
  }
});
