/** Clocks of workers that are wrong, jump or stand still: who has a lease, and until when, the storage's clock says alone. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import type { WorkerProcess } from './support/worker-process.js';
import { ROUNDS, endWithEachTest, makeWorld } from './support/world.js';
import type { World } from './support/world.js';

endWithEachTest();

const SKEW = fileURLToPath(new URL('../fixtures/clock-skew.mjs', import.meta.url));
const HOUR = 3_600_000;
const ID = 'gate';
/** Long enough for a busy machine: a worker that is only slow must not lose its task. */
const leaseMs = 1_500;
/** 20 in the long lane. */
const LEASES = ROUNDS >= 25 ? 20 : 3;

interface Skewed {
  readonly worker: WorkerProcess;
  /** Sets its clock off by so much. */
  jump(ms: number): void;
}

async function skewed(world: World, name: string, ms: number, sweepIntervalMs = 20): Promise<Skewed> {
  const file = join(world.folder, name);
  const jump = (by: number): void => writeFileSync(file, String(by));
  jump(ms);
  const worker = await world.worker({
    leaseMs,
    sweepIntervalMs,
    under: ['env', `CLOCK_SKEW_FILE=${file}`],
    nodeArgs: ['--import', SKEW],
  });
  await worker.call('startup');
  return { worker, jump };
}

/** Until the lease that the task has now would be over, had it not been renewed. */
async function leasePasses(world: World): Promise<void> {
  const { leaseUntilMs } = await world.task(ID);
  await world.storageTimePasses((leaseUntilMs ?? 0) + 50);
}

// On Redis: the clock of SQLite is the machine's, and so is that of all its workers.
test('hours ahead or behind, and jumps: nothing is taken early', async () => {
  const world = await makeWorld('redis');
  const holder = await skewed(world, 'holder', -HOUR);
  const { worker } = holder;
  await worker.call('start', 'gate', { id: ID });
  expect(await worker.order(ID, { do: 'checkpoint', name: 'kept' })).toBe('done');
  const { fence } = await world.task(ID);
  const ahead = await skewed(world, 'ahead', HOUR);
  for (const ms of [0, HOUR, -2 * HOUR]) {
    holder.jump(ms);
    ahead.jump(-ms);
    await leasePasses(world);
    expect(await worker.order(ID, { do: 'checkpoint', name: `at ${ms}` })).toBe('done');
  }
  expect(await ahead.worker.call('plan')).toEqual([]);
  await worker.order(ID, { do: 'return', value: 'once' });
  expect(await worker.heard({ type: 'result', id: ID })).toMatchObject({ value: 'once' });
  expect(await world.task(ID)).toMatchObject({ status: 'completed', attempt: 1, fence });
  expect(ahead.worker.all({ type: 'running' })).toEqual([]);
});

test('hours behind: what is over is taken all the same, and not before', async () => {
  const world = await makeWorld('redis');
  const first = await skewed(world, 'first', HOUR);
  await first.worker.call('start', 'gate', { id: ID });
  expect(await first.worker.order(ID, { do: 'checkpoint', name: 'kept' })).toBe('done');
  await first.worker.kill();
  const left = await world.task(ID);
  await world.editWorker(left.owner, { bootId: 'another' });
  const heir = await skewed(world, 'heir', -HOUR);
  expect(await heir.worker.heard({ type: 'running', id: ID })).toMatchObject({
    attempt: 2,
    fence: left.fence + 1,
    resumedFrom: 'kept',
  });
  const claimed = (await world.events(ID)).find(({ event }) => event === 'recovery_started');
  expect(claimed).toMatchObject({ cause: 'lease_over' });
  expect(Number(claimed?.['timestamp'])).toBeGreaterThanOrEqual(left.leaseUntilMs ?? Infinity);
});

test('slow but alive, over many leases: never taken', { timeout: 120_000 }, async () => {
  const world = await makeWorld('redis');
  const slow = await world.worker({ leaseMs, sweepIntervalMs: 50 });
  await slow.call('startup');
  await slow.call('start', 'gate', { id: ID });
  const { fence, leaseUntilMs } = await world.task(ID);
  const others = await Promise.all([1, 2].map(() => world.worker({ leaseMs, sweepIntervalMs: 20 })));
  for (const other of others) await other.call('startup');
  // It writes nothing at all meanwhile.
  for (let lease = 0; lease < LEASES; lease += 1)
    await world.storageTimePasses((leaseUntilMs ?? 0) + lease * leaseMs);
  expect(await slow.order(ID, { do: 'checkpoint', name: 'at last' })).toBe('done');
  await slow.order(ID, { do: 'return', value: 'alive' });
  expect(await slow.heard({ type: 'result', id: ID })).toMatchObject({ value: 'alive' });
  expect(await world.task(ID)).toMatchObject({ status: 'completed', attempt: 1, fence });
  for (const other of others) expect(other.all({ type: 'running' })).toEqual([]);
});

test('an event loop that is blocked for longer than the lease: taken, and the late write is refused', async () => {
  const world = await makeWorld('redis');
  const blocked = await world.worker({ leaseMs, sweepIntervalMs: 50 });
  await blocked.call('startup');
  await blocked.call('start', 'gate', { id: ID });
  expect(await blocked.order(ID, { do: 'checkpoint', name: 'kept' })).toBe('done');
  const other = await world.worker({ leaseMs, sweepIntervalMs: 20 });
  await other.call('startup');
  const late = blocked.order(ID, { do: 'block', ms: 3 * leaseMs, name: 'late' });
  expect(await other.heard({ type: 'running', id: ID })).toMatchObject({ attempt: 2, resumedFrom: 'kept' });
  // By the storage, or by itself when its timers are quicker.
  expect(['LEASE_LOST', 'LEASE_UNCERTAIN']).toContain(await late);
  await blocked.heard({ type: 'event', event: 'alert', kind: 'event_loop_blocked' });
  await other.order(ID, { do: 'return', value: 'other' });
  await other.heard({ type: 'event', event: 'task_completed', id: ID });
  expect(await world.checkpointNames(ID)).toEqual(['kept']);
  expect(await world.task(ID)).toMatchObject({ status: 'completed', attempt: 2 });
});
