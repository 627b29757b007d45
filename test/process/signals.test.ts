/** `handleSignals`: an orderly end on a signal, and the end by that signal as it would have been without. */
import { afterEach, expect, test } from 'vitest';
import { startRedis } from '../support/redis-server.js';
import type { RedisServer } from '../support/redis-server.js';
import type { WorkerProcess } from './support/worker-process.js';
import { KINDS, endWithEachTest, makeWorld } from './support/world.js';
import type { World } from './support/world.js';

let own: RedisServer | null = null;

afterEach(async () => {
  await own?.stop();
  own = null;
});
endWithEachTest();

const ID = 'gate';
const TERMINATED = { code: null, signal: 'SIGTERM' };
/** Longer than any test takes: what ends in time has not waited for it. */
const FOREVER_MS = 3_600_000;

/** A worker whose gate waits for orders, and makes no call on its context by itself. */
async function holder(world: World, options: Parameters<World['worker']>[0]): Promise<WorkerProcess> {
  const worker = await world.worker(options);
  await worker.call('startup');
  await worker.call('start', 'gate', { id: ID });
  expect(await worker.order(ID, { do: 'checkpoint', name: 'kept' })).toBe('done');
  return worker;
}

async function closing(worker: WorkerProcess): Promise<void> {
  await expect.poll(() => worker.call('plan').catch(String)).toContain('SHUT_DOWN');
}

const RELEASED = { status: 'orphaned', orphanCause: 'released', crashes: [], leaseUntilMs: null };

test.each(KINDS)('a signal gives the tasks back, and then ends the process as ever: %s', async (kind) => {
  const world = await makeWorld(kind);
  const worker = await holder(world, { handleSignals: { timeoutMs: 500 } });
  const { owner } = await world.task(ID);
  await worker.call('start', 'busy', { id: 'busy' });
  await worker.heard({ type: 'effect', id: 'busy' });
  worker.signal('SIGTERM');
  expect(await worker.exited).toEqual(TERMINATED);
  for (const id of [ID, 'busy']) expect(await world.task(id)).toMatchObject(RELEASED);
  // The busy one comes to its context by itself, the other one is told.
  expect(world.journal({ type: 'aborted' })).toMatchObject([{ id: ID, code: 'SHUT_DOWN' }]);
  // It has signed off: nobody needs to judge it.
  expect((await world.storage.read(world.home, [`w:${owner}`])).records).toEqual([null]);
});

test('a task that calls its context yields at once, without a wait for its deadline', async () => {
  const world = await makeWorld('sqlite');
  const worker = await world.worker({ handleSignals: { timeoutMs: FOREVER_MS, signals: ['SIGINT'] } });
  await worker.call('startup');
  await worker.call('start', 'busy', { id: 'busy' });
  await worker.heard({ type: 'effect', id: 'busy' });
  expect(await worker.call('listeners')).toEqual([0, 1, 0, 0]);
  worker.signal('SIGINT');
  expect(await worker.exited).toEqual({ code: null, signal: 'SIGINT' });
  expect(await world.task('busy')).toMatchObject(RELEASED);
});

test('a second signal ends a slow shutdown at once', async () => {
  const world = await makeWorld('sqlite');
  const worker = await holder(world, { handleSignals: { timeoutMs: FOREVER_MS } });
  await worker.order(ID, { do: 'hang' });
  worker.signal('SIGTERM');
  await closing(worker);
  worker.signal('SIGTERM');
  expect(await worker.exited).toEqual(TERMINATED);
  // As a kill would have left it, and as provably dead.
  expect(await world.task(ID)).toMatchObject({ status: 'processing', attempt: 1 });
  const heir = await world.worker();
  await heir.call('startup');
  expect(await heir.heard({ type: 'running', id: ID })).toMatchObject({ attempt: 2, resumedFrom: 'kept' });
});

test('with Redis down it ends by its deadline all the same', async () => {
  own = await startRedis();
  const world = await makeWorld('redis', own);
  world.checked = false;
  const worker = await holder(world, { handleSignals: { timeoutMs: 500 } });
  own.pause();
  worker.signal('SIGTERM');
  expect(await worker.exited).toEqual(TERMINATED);
  own.resume();
  // Nobody heard of its end: its lease, or the proof of its death, has to do.
  expect(await world.task(ID)).toMatchObject({ crashes: [] });
});

test('with a listener of the program’s own, it is the program that decides', async () => {
  const world = await makeWorld('sqlite');
  const worker = await holder(world, { handleSignals: { timeoutMs: 300 }, listens: true });
  expect(await worker.call('listeners')).toEqual([2, 1, 0, 0]);
  worker.signal('SIGTERM');
  await worker.heard({ type: 'listener', signal: 'SIGTERM' });
  await closing(worker);
  // The same shutdown: it resolves when that one does.
  await worker.call('shutdown');
  expect(await world.task(ID)).toMatchObject(RELEASED);
  expect(await worker.call('listeners')).toEqual([1, 0, 0, 0]);
  expect(worker.all({ type: 'listener' })).toHaveLength(1);
  // Alive to the end of its own work.
  await worker.call('leave');
  expect(await worker.exited).toEqual({ code: 0, signal: null });
});

test.each([false, true])('nothing is installed unasked, or after it was taken off: %s', async (asked) => {
  const world = await makeWorld('sqlite');
  const worker = await holder(world, asked ? { handleSignals: { timeoutMs: FOREVER_MS } } : {});
  expect(await worker.call('listeners')).toEqual(asked ? [1, 1, 0, 0] : [0, 0, 0, 0]);
  await worker.call('handlersOff');
  expect(await worker.call('listeners')).toEqual([0, 0, 0, 0]);
  worker.signal('SIGTERM');
  expect(await worker.exited).toEqual(TERMINATED);
  expect(await world.task(ID)).toMatchObject({ status: 'processing', attempt: 1 });
  expect(world.journal({ type: 'left' })).toEqual([]);
});
