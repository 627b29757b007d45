/** Orphans that are claimed as they are found, and what stands in the way of that. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { keys } from '../../src/state/keys.js';
import type { Storage } from '../../src/storage/storage.js';
import { settled } from '../support/manual-clock.js';
import { DeadWorkers } from './dead-workers.js';
import { alertsOf, gate, LEASE_MS, rejectionOf, trapUnhandledRejections, World } from './harness.js';
import type { Proc } from './harness.js';

trapUnhandledRejections();

describe.each([1, 3])('orphans for which there are slots enough, on %i partitions', (partitions) => {
  let world: World;
  let dead: DeadWorkers;
  beforeEach(() => {
    world = new World(partitions);
    dead = new DeadWorkers(world);
  });
  afterEach(() => world.end());

  const define: DeadWorkers['define'] = (...args) => dead.define(...args);
  const died: DeadWorkers['died'] = (...args) => dead.died(...args);

  /** Writes over a record, as a bug would. */
  async function put(key: string, fields: Record<string, string>): Promise<void> {
    for (let at = 0; at < partitions; at += 1) {
      const { records } = await world.memory.read(`rekindle:${at}`, [key]);
      const expect = records[0]?.get('token');
      if (expect === undefined) continue;
      await world.memory.commit(`rekindle:${at}`, [
        { guard: { key, expect, next: `${expect}1` }, set: [{ key, fields }] },
      ]);
    }
  }

  const statuses = ({ line }: Proc): unknown[] =>
    line.commits.flatMap(({ set = [] }) => set.flatMap(({ fields }) => fields['status'] ?? []));

  it('are claimed without a stay in the queue, their crash with them, and the dead is forgotten', async () => {
    await died(['a', 'b']);
    const next = world.proc({ born: '2', concurrency: 2 });
    define(next, 'n');
    const run = await next.recovery.runStartupRecovery();
    await expect(world.until(run.finished)).resolves.toMatchObject({ discovered: 2, recovered: 2 });
    expect(statuses(next)).toEqual(['processing', 'processing', 'completed', 'completed']);
    for (const id of ['a', 'b'])
      await expect(next.recovery.tasks.get(id)).resolves.toMatchObject({
        attempt: 2,
        crashes: [{ cause: 'owner_dead', attempt: 1 }],
      });
    const { entries } = await world.memory.range('rekindle:0', 'workers', { limit: 9 });
    expect(entries).toHaveLength(1);
  });

  it('one more than there are slots for, and all go through the queue', async () => {
    await died(['a', 'b', 'c']);
    const next = world.proc({ born: '2', concurrency: 2 });
    define(next, 'n');
    await world.until((await next.recovery.runStartupRecovery()).finished);
    expect(statuses(next).filter((status) => status === 'orphaned')).toHaveLength(3);
  });

  it('overtake nobody who waits in the queue already', async () => {
    await died(['urgent'], 'high', { priority: 9 });
    const finder = world.proc({ born: '2' });
    // It puts it into the queue, and can't claim it.
    finder.recovery.withRecovery(async () => 1, {
      name: 'high',
      taskId: () => 'urgent',
      strategies: [{ name: 'later', decide: () => ({ action: 'skip', reason: 'no', evidence: {} }) }],
    });
    await world.until((await world.until(finder.recovery.recover())).finished);
    await expect(finder.recovery.tasks.get('urgent')).resolves.toMatchObject({
      status: 'orphaned',
      crashes: [{ cause: 'owner_dead' }],
    });
    await died(['a', 'b'], 'low');
    const door = gate();
    const next = world.proc({ born: '3', concurrency: 2 });
    define(next, 'high', { priority: 9 }, door.passed);
    define(next, 'low', {}, door.passed);
    await next.recovery.runStartupRecovery();
    await settled();
    expect(dead.began).toContain('urgent');
    door.open();
    await settled();
    expect(dead.began).toHaveLength(3);
  });

  it('one that has crashed before waits in the queue, as long as it has to', async () => {
    await died(['a']);
    const second = world.proc({ born: '2' });
    define(second, 'n', {}, untilNever());
    await second.recovery.runStartupRecovery();
    await settled();
    expect(dead.began).toEqual(['a']);
    second.crash();
    const third = world.proc({ born: '3' });
    define(third, 'n');
    await third.recovery.runStartupRecovery();
    await settled();
    expect(statuses(third)).toEqual(['orphaned']);
    await expect(third.recovery.tasks.get('a')).resolves.toMatchObject({ status: 'orphaned' });
    expect(dead.began).toEqual(['a']);
  });

  it('nor one of the same look that has crashed before, long ago', async () => {
    const urgent = { priority: 9, maxCrashes: { count: 3, windowMs: 1_000 } };
    await died(['urgent'], 'high', urgent);
    const second = world.proc({ born: '2' });
    define(second, 'high', urgent, untilNever());
    await second.recovery.runStartupRecovery();
    await settled();
    const low = define(second, 'low');
    for (const id of ['a', 'b']) (await low.start(id)).result.catch(() => {});
    await world.clock.advance(5_000);
    second.crash();
    dead.began = [];
    const third = world.proc({ born: '3', concurrency: 2 });
    const door = gate();
    define(third, 'high', urgent, door.passed);
    define(third, 'low', {}, door.passed);
    await third.recovery.runStartupRecovery();
    await settled();
    expect(dead.began).toContain('urgent');
    door.open();
    await settled();
    expect(dead.began).toHaveLength(3);
  });

  it('one that another one than a suspect of its owner may have killed is not charged', async () => {
    await died(['a']);
    const { entries } = await world.memory.range('rekindle:0', 'workers', { limit: 1 });
    await put(keys.worker(entries[0]?.id ?? ''), { suspects: '1' });
    const next = world.proc({ born: '2' });
    define(next, 'n');
    await world.until((await next.recovery.runStartupRecovery()).finished);
    await expect(next.recovery.tasks.get('a')).resolves.toMatchObject({ attempt: 2, crashes: [] });
  });

  it('one whose input is damaged is put aside, and its owner forgotten', async () => {
    await died(['a']);
    await put(keys.head('a'), { input: '{' });
    const next = world.proc({ born: '2' });
    define(next, 'n');
    await world.until((await next.recovery.runStartupRecovery()).finished);
    expect(alertsOf(next.heard)).toContain('corrupt_record');
    expect(dead.began).toEqual([]);
    const { entries } = await world.memory.range('rekindle:0', 'workers', { limit: 9 });
    expect(entries).toHaveLength(1);
  });

  it('one that only others can decode is seen waiting for them, with its crash', async () => {
    const codec = { encode: (text: string) => `x${text}`, decode: (text: string) => text.slice(1) };
    const first = world.proc({ codec });
    (await define(first, 'n').start('a')).result.catch(() => {});
    await settled();
    first.crash();
    const next = world.proc({ born: '2' });
    define(next, 'n');
    await world.until((await next.recovery.runStartupRecovery()).finished);
    expect(alertsOf(next.heard)).toContain('codec_failed');
    await expect(next.recovery.tasks.get('a')).resolves.toMatchObject({
      status: 'orphaned',
      crashes: [{ cause: 'owner_dead' }],
    });
  });

  it('a wish to cancel one, read along with it, is followed', async () => {
    await died(['a']);
    const next = world.proc({ born: '2' });
    const task = define(next, 'n');
    await next.recovery.tasks.cancel('a', { reason: 'no longer needed' });
    await world.until((await next.recovery.runStartupRecovery()).finished);
    expect(dead.began).toEqual([]);
    await expect(rejectionOf(task('a'))).resolves.toMatchObject({ code: 'TASK_CANCELLED' });
  });

  it('one that its owner held and whose lease is over is one orphan', async () => {
    await died(['a']);
    await world.clock.advance(LEASE_MS + 1);
    const next = world.proc({ born: '2', concurrency: 1 });
    define(next, 'n');
    const run = await next.recovery.runStartupRecovery();
    await expect(world.until(run.finished)).resolves.toMatchObject({ discovered: 1, recovered: 1 });
    expect(statuses(next)).toEqual(['processing', 'completed']);
  });

  it('the first of many is claimed before the last is looked at', async () => {
    const ids = Array.from({ length: 120 }, (_, at) => `t${at}`);
    await died(ids);
    // As a server would: it answers in a later turn of the event loop.
    const commit: Storage['commit'] = async (...args) => {
      await new Promise((resolve) => void setImmediate(resolve));
      return world.memory.commit(...args);
    };
    const next = world.proc({ born: '2', concurrency: 200, over: { ...world.memory, commit } });
    let planned = 0;
    let plannedAtFirst = 0;
    next.recovery.on('recovery_started', () => (plannedAtFirst ||= planned));
    const decide = (): null => {
      planned += 1;
      return null;
    };
    next.recovery.withRecovery<[string], number>(() => 1, {
      name: 'n',
      taskId: (id) => id,
      strategies: [{ name: 'count', decide }],
    });
    await world.until((await next.recovery.runStartupRecovery()).finished);
    expect(planned).toBe(120);
    expect(plannedAtFirst).toBeLessThan(120);
  });
});

function untilNever(): Promise<void> {
  return new Promise(() => {});
}
