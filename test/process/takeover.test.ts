/** Recovery beside others: a second recovery, new tasks of the same process, calls for what is being recovered. */
import { expect, test } from 'vitest';
import type { WorkerProcess } from './support/worker-process.js';
import { KINDS, endWithEachTest, makeWorld } from './support/world.js';
import type { World } from './support/world.js';

endWithEachTest();

const names = (prefix: string, count: number): string[] =>
  Array.from({ length: count }, (_, index) => `${prefix}-${index}`);

/** Starts jobs in a process that is killed then. */
async function leaveBehind(world: World, ids: readonly string[]): Promise<void> {
  const worker = await world.worker({ hold: true });
  await Promise.all(ids.map((id) => worker.call('start', 'job', { id })));
  await worker.kill();
}

/** How often each id ran as this attempt. */
function runsOf(world: World, attempt: number): Map<string, number> {
  const runs = new Map<string, number>();
  for (const { id } of world.journal({ type: 'running', attempt }))
    runs.set(String(id), (runs.get(String(id)) ?? 0) + 1);
  return runs;
}

const once = (ids: readonly string[]): Map<string, number> => new Map(ids.map((id) => [id, 1]));

async function finished(worker: WorkerProcess): Promise<number> {
  const report = await worker.heard({ type: 'finished' });
  expect(report).toMatchObject({ failed: 0, skipped: 0, deadLettered: 0 });
  return Number(report['recovered']);
}

test.each(KINDS)('two processes recover 200 orphans at once, each runs once: %s', async (kind) => {
  const world = await makeWorld(kind);
  const ids = names('orphan', 200);
  await leaveBehind(world, ids);
  const workers = await Promise.all([world.worker(), world.worker()]);
  await Promise.all(workers.map((worker) => worker.call('startup')));
  const [one = 0, other = 0] = await Promise.all(workers.map(finished));
  expect(one + other).toBe(200);
  console.log(`two processes on ${kind}: ${one} + ${other}`);
  expect(runsOf(world, 2)).toEqual(once(ids));
  expect(world.journal({ type: 'running', attempt: 3 })).toEqual([]);
  expect(await world.observer.tasks.counts('job')).toMatchObject({
    completed: 200,
    processing: 0,
    orphaned: 0,
  });
});

test.each(KINDS)('recovery never adopts what its own process starts meanwhile: %s', async (kind) => {
  const world = await makeWorld(kind);
  const orphans = names('orphan', 60);
  const fresh = names('fresh', 150);
  await leaveBehind(world, orphans);
  const worker = await world.worker();
  // Long enough for recovery to meet them.
  const starts = fresh.map((id) => worker.call('start', 'job', { id, pauseMs: 300 }));
  await Promise.all([worker.call('startup'), ...starts, worker.call('startup')]);
  for (let look = 0; look < 10; look += 1) await worker.call('recover');
  for (const id of fresh) expect(await worker.heard({ type: 'result', id })).toMatchObject({ value: 1 });
  for (const id of orphans) await worker.heard({ type: 'event', event: 'task_completed', id });
  expect(runsOf(world, 2)).toEqual(once(orphans));
  expect(runsOf(world, 1)).toEqual(once([...orphans, ...fresh]));
  expect(await world.task(fresh[0] ?? '')).toMatchObject({ attempt: 1, crashedAtMs: [] });
});

test.each(KINDS)('a call for a task that recovery has resumed joins it: %s', async (kind) => {
  const world = await makeWorld(kind);
  const first = await world.worker();
  await first.call('start', 'gate', { id: 'gate' });
  expect(await first.order('gate', { do: 'checkpoint', name: 'kept' })).toBe('done');
  await first.kill();
  const second = await world.worker();
  await second.call('startup');
  await second.heard({ type: 'running', id: 'gate' });
  await second.call('start', 'gate', { id: 'gate' });
  // Input that differs is refused, also where the recovered run has the arguments from the storage.
  await expect(second.call('start', 'gate', { id: 'gate', more: 1 })).rejects.toThrow('INPUT_MISMATCH');
  await second.order('gate', { do: 'return', value: 'both' });
  expect(await second.heard({ type: 'result', id: 'gate' })).toMatchObject({ value: 'both' });
  expect(await second.heard({ type: 'finished' })).toMatchObject({ recovered: 1, failed: 0 });
  expect(second.all({ type: 'running' })).toHaveLength(1);
  expect(await world.task('gate')).toMatchObject({ status: 'completed', attempt: 2 });
});

test.each(KINDS)('calls and recovery race for the same orphans, each runs once: %s', async (kind) => {
  const world = await makeWorld(kind);
  const ids = names('orphan', 60);
  await leaveBehind(world, ids);
  const worker = await world.worker();
  await Promise.all([worker.call('startup'), ...ids.map((id) => worker.call('start', 'job', { id }))]);
  for (const id of ids) expect(await worker.heard({ type: 'result', id })).toMatchObject({ value: 2 });
  expect(runsOf(world, 2)).toEqual(once(ids));
  expect(world.journal({ type: 'running', attempt: 3 })).toEqual([]);
});
