/** When a worker counts as dead: at once with proof, by the lease without, and never while it lives. */
import { spawnSync } from 'node:child_process';
import { expect, test } from 'vitest';
import { systemProcessTable } from '../../src/runtime/identity.js';
import type { ProcessTable } from '../../src/runtime/identity.js';
import { waitFor } from '../support/redis-server.js';
import type { WorkerProcess } from './support/worker-process.js';
import { KINDS, endWithEachTest, makeWorld } from './support/world.js';
import type { World } from './support/world.js';

endWithEachTest();

const ID = 'gate';
/** Where it has to run out. Long enough for a busy machine: a storage call has a quarter of it. */
const leaseMs = 1_500;

/** A worker with one task that has one checkpoint. */
async function holder(world: World, options: Parameters<World['worker']>[0] = {}): Promise<WorkerProcess> {
  const worker = await world.worker(options);
  await worker.call('startup');
  await worker.call('start', 'gate', { id: ID });
  expect(await worker.order(ID, { do: 'checkpoint', name: 'kept' })).toBe('done');
  return worker;
}

/** It was claimed for this reason while the last holder's lease still ran. */
async function expectTakenEarly(world: World, leaseUntilMs: number | null, cause: string): Promise<void> {
  const claimed = (await world.events(ID)).find(({ event }) => event === 'recovery_started');
  expect(claimed).toMatchObject({ cause });
  expect(Number(claimed?.['timestamp'])).toBeLessThan(leaseUntilMs ?? 0);
}

test.each(KINDS)('a restart on the same machine does not wait for the lease: %s', async (kind) => {
  const world = await makeWorld(kind);
  const first = await holder(world);
  await first.kill();
  const left = await world.task(ID);
  expect(left).toMatchObject({ status: 'processing', attempt: 1, crashedAtMs: [] });
  const second = await world.worker();
  await second.call('startup');
  expect(await second.heard({ type: 'running', id: ID })).toMatchObject({
    attempt: 2,
    fence: left.fence + 1,
    resumedFrom: 'kept',
  });
  await expectTakenEarly(world, left.leaseUntilMs, 'owner_dead');
  expect((await world.task(ID)).crashedAtMs).toHaveLength(1);
  // The dead worker's record went with what it held.
  const { records } = await world.storage.read(world.home, [`w:${left.owner}`]);
  expect(records).toEqual([null]);
});

test.each(KINDS)('a call takes a dead owner at its word, too: %s', async (kind) => {
  const world = await makeWorld(kind);
  await (await holder(world)).kill();
  const { leaseUntilMs } = await world.task(ID);
  const second = await world.worker();
  await second.call('start', 'gate', { id: ID });
  expect(await second.heard({ type: 'running', id: ID })).toMatchObject({ attempt: 2 });
  await expectTakenEarly(world, leaseUntilMs, 'owner_dead');
});

test.each(KINDS)(
  'without proof it waits for the lease: another boot, namespace or host: %s',
  async (kind) => {
    const world = await makeWorld(kind);
    await (await holder(world)).kill();
    const left = await world.task(ID);
    const second = await world.worker();
    for (const part of ['host', 'bootId', 'pidNamespace', 'timeNamespace', 'startTime']) {
      // Of the start time only its absence proves nothing: another one would be another process.
      const was = await world.editWorker(left.owner, { [part]: part === 'startTime' ? '' : 'another' });
      expect(await second.call('plan'), part).toEqual([]);
      await second.call('startup');
      expect(await world.task(ID), part).toEqual(left);
      await world.editWorker(left.owner, was);
    }
    expect(await second.call('plan')).toMatchObject([
      { taskId: ID, decision: 'resume', evidence: { cause: 'owner_dead' } },
    ]);
    expect(second.all({ type: 'running' })).toEqual([]);
  },
);

test.each(KINDS)('without proof it is taken once the lease is over: %s', async (kind) => {
  const world = await makeWorld(kind);
  await (await holder(world, { leaseMs })).kill();
  const left = await world.task(ID);
  await world.editWorker(left.owner, { bootId: 'another' });
  const second = await world.worker({ leaseMs });
  await second.call('startup');
  expect(await second.heard({ type: 'running', id: ID })).toMatchObject({
    attempt: 2,
    fence: left.fence + 1,
  });
  const claimed = (await world.events(ID)).find(({ event }) => event === 'recovery_started');
  expect(claimed).toMatchObject({ cause: 'lease_over' });
  expect(Number(claimed?.['timestamp'])).toBeGreaterThanOrEqual(left.leaseUntilMs ?? Infinity);
});

/** The machine's table, but of one process there is only to be seen that it exists, or how it is. */
function tableWith(pid: number, signal0: 'gone' | 'exists', stat: string | null): ProcessTable {
  return {
    ...systemProcessTable,
    readText: (path) => (path === `/proc/${pid}/stat` ? stat : systemProcessTable.readText(path)),
    signal0: (asked) => (asked === pid ? signal0 : systemProcessTable.signal0(asked)),
  };
}

test.each(KINDS)('a process table that hides others proves nothing: %s', async (kind) => {
  const world = await makeWorld(kind);
  const first = await holder(world);
  const stat = systemProcessTable.readText(`/proc/${first.pid}/stat`);
  const planUnder = async (table: ProcessTable): Promise<unknown[]> => {
    const recovery = world.recovery({}, table);
    recovery.withRecovery(() => null, { name: 'gate' });
    return recovery.planRecovery();
  };
  await first.kill();
  // hidepid: the pid is somebody's, and its stat can't be read.
  expect(await planUnder(tableWith(first.pid, 'exists', null))).toEqual([]);
  expect(await planUnder(tableWith(first.pid, 'exists', 'no stat at all'))).toEqual([]);
  expect(await planUnder(tableWith(first.pid, 'exists', stat))).toEqual([]);
  // Another process has the pid now; or it is dead and nobody has asked for its end yet.
  const reused = stat?.split(' ') ?? [];
  reused[21] = '1';
  expect(await planUnder(tableWith(first.pid, 'exists', reused.join(' ')))).toHaveLength(1);
  expect(await planUnder(tableWith(first.pid, 'exists', stat?.replace(/\) \w /, ') Z ') ?? ''))).toHaveLength(
    1,
  );
  expect(await planUnder(systemProcessTable)).toHaveLength(1);
});

test.each(KINDS)('the task of a living owner is never taken: %s', async (kind) => {
  const world = await makeWorld(kind);
  const first = await holder(world, { leaseMs });
  const start = await world.task(ID);
  const second = await world.worker({ leaseMs, sweepIntervalMs: 20 });
  await second.call('startup');
  await waitFor('the lease to be over, had it not been renewed', async () => {
    return ((await world.task(ID)).leaseUntilMs ?? 0) > (start.leaseUntilMs ?? 0) + leaseMs;
  });
  expect(await second.call('plan')).toEqual([]);
  expect(await first.order(ID, { do: 'checkpoint', name: 'alive' })).toBe('done');
  await expect(second.call('start', 'gate', { id: ID })).rejects.toThrow('TASK_RUNNING_ELSEWHERE');
  await first.order(ID, { do: 'return', value: 7 });
  expect(await first.heard({ type: 'result', id: ID })).toMatchObject({ value: 7 });
  expect(await world.task(ID)).toMatchObject({ status: 'completed', attempt: 1, fence: start.fence });
  expect(second.all({ type: 'running' })).toEqual([]);
});

test.each(KINDS)(
  'a worker whose record was removed signs on again, so that its death can be proven: %s',
  async (kind) => {
    const world = await makeWorld(kind);
    // Without a sweeper, which would do it too.
    const first = await world.worker({ leaseMs });
    await first.call('start', 'gate', { id: ID });
    const { owner } = await world.task(ID);
    const key = `w:${owner}`;
    const record = async (): Promise<string | null> =>
      (await world.storage.read(world.home, [key])).records[0]?.get('token') ?? null;
    const expected = await record();
    await expect
      .poll(async () => {
        const guard = { key, expect: await record(), next: null };
        return (await world.storage.commit(world.home, [{ guard }])).outcomes[0]?.status;
      })
      .toBe('applied');
    await expect.poll(record, { timeout: 20_000 }).not.toBeNull();
    expect(await record()).not.toBe(expected);
    await first.kill();
    await (await world.worker()).call('startup');
    // The lease is too short here to be over only later on a busy machine.
    const claimed = (await world.events(ID)).find(({ event }) => event === 'recovery_started');
    expect(claimed).toMatchObject({ cause: 'owner_dead' });
  },
);

test.each(KINDS)('two Recovery instances in one process do not take from each other: %s', async (kind) => {
  const world = await makeWorld(kind);
  const [one, other] = [world.recovery({ leaseMs }), world.recovery({ leaseMs, sweepIntervalMs: 20 })];
  let finish = (): void => {};
  const runs: string[] = [];
  const wrapOn = (recovery: typeof one, name: string): ((id: string) => Promise<string>) =>
    recovery.withRecovery(
      async (_ctx, _id: string) => {
        runs.push(name);
        await new Promise<void>((resolve) => (finish = resolve));
        return name;
      },
      { name: 'shared', taskId: (id) => id },
    );
  const [onOne, onOther] = [wrapOn(one, 'one'), wrapOn(other, 'other')];
  const result = onOne(ID);
  await waitFor('the run', () => runs.length > 0);
  expect(await other.planRecovery()).toEqual([]);
  const run = await other.runStartupRecovery();
  expect(await run.finished).toMatchObject({ discovered: 0, recovered: 0 });
  await expect(onOther(ID)).rejects.toMatchObject({ code: 'TASK_RUNNING_ELSEWHERE' });
  finish();
  expect(await result).toBe('one');
  expect(runs).toEqual(['one']);
});

const UNSHARE = ['unshare', '--pid', '--fork', '--mount-proc', '--kill-child'];
const canUnshare = spawnSync(UNSHARE[0] ?? '', [...UNSHARE.slice(1), 'true']).status === 0;
if (!canUnshare) console.log('Not tested: a real pid namespace (unshare is missing, or not permitted here).');

test.skipIf(!canUnshare)('a worker of another pid namespace is not judged by its pid', async () => {
  const world = await makeWorld('sqlite');
  const first = await holder(world, { under: UNSHARE });
  const left = await world.task(ID);
  const { records } = await world.storage.read(world.home, [`w:${left.owner}`]);
  // As in a container: a low pid, which is somebody else's here.
  expect(records[0]?.get('pid')).toBe('1');
  const outside = await world.worker();
  await outside.call('startup');
  expect(await outside.call('plan')).toEqual([]);
  await first.kill();
  await outside.call('startup');
  expect(await outside.call('plan')).toEqual([]);
  // The next container has the same pid in a namespace of its own.
  const next = await world.worker({ under: UNSHARE });
  await next.call('startup');
  expect(await next.call('plan')).toEqual([]);
  expect(await world.task(ID)).toMatchObject({ status: 'processing', attempt: 1, fence: left.fence });
});
