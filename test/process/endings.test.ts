/** The ends that a worker can come to by itself: an orderly shutdown, or nothing left to do. */
import { afterEach, expect, test } from 'vitest';
import { startRedis } from '../support/redis-server.js';
import type { RedisServer } from '../support/redis-server.js';
import { KINDS, endWithEachTest, makeWorld } from './support/world.js';

let own: RedisServer | null = null;

afterEach(async () => {
  await own?.stop();
  own = null;
});
endWithEachTest();

test.each(KINDS)(
  'shutdown gives its tasks back, and the next process takes them at once: %s',
  async (kind) => {
    const world = await makeWorld(kind);
    const first = await world.worker();
    await first.call('startup');
    await first.call('start', 'gate', { id: 'gate' });
    expect(await first.order('gate', { do: 'checkpoint', name: 'kept' })).toBe('done');
    const left = await world.task('gate');
    await Promise.all([first.call('shutdown', { timeoutMs: 1_500 }), first.call('shutdown')]);
    expect(await first.heard({ type: 'aborted', id: 'gate' })).toMatchObject({ code: 'SHUT_DOWN' });
    expect(await first.heard({ type: 'result', id: 'gate' })).toMatchObject({ code: 'SHUT_DOWN' });
    expect(await world.task('gate')).toMatchObject({
      status: 'orphaned',
      orphanCause: 'released',
      crashedAtMs: [],
      leaseUntilMs: null,
    });
    // It signed off, so nobody needs to judge it.
    expect((await world.storage.read(world.home, [`w:${left.owner}`])).records).toEqual([null]);
    await expect(first.call('start', 'gate', { id: 'gate' })).rejects.toThrow('SHUT_DOWN');
    const second = await world.worker();
    await second.call('startup');
    expect(await second.heard({ type: 'running', id: 'gate' })).toMatchObject({
      attempt: 2,
      fence: left.fence + 1,
      resumedFrom: 'kept',
    });
    expect((await world.task('gate')).crashedAtMs).toEqual([]);
    // Both ended or signed off by themselves: nothing is left that keeps the old one up.
    await first.call('leave');
    expect(await first.exited).toEqual({ code: 0, signal: null });
  },
);

test.each(KINDS)(
  'a task deaf to its signal keeps its lease over a shutdown, and can write no more: %s',
  async (kind) => {
    const world = await makeWorld(kind);
    const first = await world.worker();
    await first.call('start', 'gate', { id: 'gate' });
    await first.order('gate', { do: 'hang' });
    await first.call('shutdown', { timeoutMs: 100 });
    expect(await world.task('gate')).toMatchObject({ status: 'processing', attempt: 1 });
    const second = await world.worker();
    await second.call('startup');
    // The old process lives: its task may still be at work outside.
    expect(await second.call('plan')).toEqual([]);
    await first.call('leave');
    expect(await first.exited).toEqual({ code: 0, signal: null });
    // Now it is provably dead.
    expect(await second.call('plan')).toMatchObject([{ taskId: 'gate', evidence: { cause: 'owner_dead' } }]);
  },
);

test('shutdown ends with Redis down, also when it is asked twice', async () => {
  own = await startRedis();
  const world = await makeWorld('redis', own);
  world.checked = false;
  const worker = await world.worker({ leaseMs: 2_000 });
  await worker.call('startup');
  await worker.call('start', 'gate', { id: 'gate' });
  await own.kill9();
  const checkpoint = worker.order('gate', { do: 'checkpoint', name: 'never' });
  await Promise.all([worker.call('shutdown', { timeoutMs: 300 }), worker.call('shutdown')]);
  await worker.call('shutdown');
  expect(await checkpoint).not.toBe('done');
  const { code } = await worker.heard({ type: 'result', id: 'gate' });
  expect(['SHUT_DOWN', 'LEASE_UNCERTAIN', 'STORAGE_UNAVAILABLE']).toContain(code);
  await worker.call('leave');
  expect(await worker.exited).toEqual({ code: 0, signal: null });
});

test.each(KINDS)('a program that has finished exits, without any shutdown: %s', async (kind) => {
  const world = await makeWorld(kind);
  const worker = await world.worker({ sweepIntervalMs: 60_000 });
  await worker.call('startup');
  await worker.call('start', 'job', { id: 'job' });
  expect(await worker.heard({ type: 'result', id: 'job' })).toMatchObject({ value: 1 });
  await worker.call('leave');
  expect(await worker.exited).toEqual({ code: 0, signal: null });
});
