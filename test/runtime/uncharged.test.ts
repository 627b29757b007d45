import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { RecoveryContext } from '../../src/runtime/context.js';
import { keys } from '../../src/state/keys.js';
import { settled } from '../support/manual-clock.js';
import {
  away,
  gate,
  LEASE_MS,
  rejectionOf,
  SWEEP_MS,
  trapUnhandledRejections,
  untilAborted,
  World,
} from './harness.js';
import type { Call, Proc } from './harness.js';
import { die, fieldsOf, startInTime, startQuietly, swept, watched } from './lab.js';

trapUnhandledRejections();

describe.each([1, 3])('what is not charged as a crash, on %i partitions', (partitions) => {
  let world: World;
  beforeEach(() => void (world = new World(partitions)));
  afterEach(() => world.end());

  function define({ recovery }: Proc, fn: (ctx: RecoveryContext) => unknown = untilAborted) {
    return recovery.withRecovery<[], unknown>(fn, { name: 'n', taskId: () => 't', maxCrashes: 1 });
  }

  const crashesOf = async ({ recovery }: Proc): Promise<unknown> => (await recovery.tasks.get('t'))?.crashes;

  /** The commit of a claimed attempt that says that user code is about to run. */
  const begins = ({ kind, batches }: Call): boolean =>
    kind === 'commit' &&
    batches.some(({ set = [] }) =>
      set.some(({ key, fields }) => key === keys.head('t') && fields['began'] !== undefined),
    );

  it('a clean shutdown, any number of times', async () => {
    for (let round = 0; round < 5; round += 1) {
      const proc = world.proc();
      await startQuietly(define(proc));
      await world.until(proc.recovery.shutdown({ timeoutMs: 100 }));
    }
    await expect(define(world.proc(), (ctx) => ctx.attempt)()).resolves.toBe(6);
  });

  it('a task that its own process lost, and takes back', async () => {
    const proc = world.proc();
    const attempts: number[] = [];
    const task = define(proc, (ctx) => {
      attempts.push(ctx.attempt);
      return untilAborted(ctx);
    });
    await proc.recovery.runStartupRecovery();
    await startQuietly(task);
    for (let round = 0; round < 3; round += 1) {
      proc.line.down = away();
      await world.clock.advance(LEASE_MS + 1);
      proc.line.down = null;
      await world.clock.advance(SWEEP_MS);
    }
    expect(attempts).toEqual([1, 2, 3, 4]);
    await expect(proc.recovery.tasks.get('t')).resolves.toMatchObject({ orphanCause: 'own', crashes: [] });
  });

  it('a claim for which no user code was let run, any number of times', async () => {
    const first = world.proc();
    await startQuietly(define(first));
    await world.until(first.recovery.shutdown({ timeoutMs: 100 }));
    for (let round = 0; round < 6; round += 1) {
      const proc = world.proc();
      let ran = false;
      define(proc, () => (ran = true));
      const held = proc.line.hold(begins);
      await proc.recovery.runStartupRecovery();
      await held.reached;
      await expect(proc.recovery.tasks.get('t')).resolves.toMatchObject({
        status: 'processing',
        attempt: round + 2,
      });
      await die(world, proc);
      held.release();
      await settled();
      expect(ran).toBe(false);
    }
    const last = world.proc();
    define(last, (ctx) => ctx.attempt);
    await expect(swept(world, last)).resolves.toMatchObject({ recovered: 1, deadLettered: 0 });
    expect(await crashesOf(last)).toEqual([]);
  });

  it('but one that crashes right after it was let run is', async () => {
    const first = world.proc();
    await startQuietly(define(first));
    await world.until(first.recovery.shutdown({ timeoutMs: 100 }));
    const second = world.proc();
    await startQuietly(
      define(second, () => {
        second.crash();
        return new Promise(() => {});
      }),
    );
    await world.clock.advance(LEASE_MS + 1);
    const third = world.proc();
    define(third);
    await expect(swept(world, third)).resolves.toMatchObject({ deadLettered: 1 });
  });

  it.each([true, false])(
    'a lease that ran out while the claimer could not reach the storage either: %s',
    async (saw) => {
      const old = world.proc();
      await startQuietly(define(old));
      const next = world.proc();
      define(next, (ctx) => ctx.attempt);
      await next.recovery.runStartupRecovery();
      old.crash();
      if (saw) {
        next.line.down = away();
        await rejectionOf(next.recovery.tasks.get('t'));
        next.line.down = null;
      }
      await world.clock.advance(2 * LEASE_MS);
      await expect(next.recovery.tasks.get('t')).resolves.toMatchObject(
        saw ? { status: 'completed', crashes: [] } : { status: 'dead_letter', crashes: [{ attempt: 1 }] },
      );
    },
  );

  it('an outage that was over before the lease began is no excuse', async () => {
    const next = world.proc();
    define(next, (ctx) => ctx.attempt);
    next.line.down = away();
    await rejectionOf(next.recovery.tasks.get('t'));
    next.line.down = null;
    await world.clock.advance(LEASE_MS);
    const old = world.proc();
    await startQuietly(define(old));
    await next.recovery.runStartupRecovery();
    await die(world, old);
    await world.clock.advance(SWEEP_MS);
    await expect(next.recovery.tasks.get('t')).resolves.toMatchObject({ status: 'dead_letter' });
  });

  it('an outage for everybody, longer than the lease, three times: taken back or kept, never charged', async () => {
    const procs = [world.proc(), world.proc()];
    for (const proc of procs) {
      define(proc);
      await proc.recovery.runStartupRecovery();
    }
    const [first] = procs;
    const task = procs[0] === undefined ? null : define(world.proc());
    if (first === undefined || task === null) throw new Error('two processes');
    await startQuietly(task);
    for (let outage = 0; outage < 3; outage += 1) {
      for (const proc of procs) proc.line.down = away();
      await world.clock.advance(20_000);
      for (const proc of procs) proc.line.down = null;
      await world.clock.advance(20_000);
      expect(await crashesOf(first)).toEqual([]);
    }
    await expect(first.recovery.tasks.get('t')).resolves.toMatchObject({ status: 'processing' });
  });

  it('an owner that was only slow, and is heard of again: the charge is dropped when it is looked at next', async () => {
    const slow = world.proc();
    const call = watched(
      slow.recovery.withRecovery<[], unknown>(untilAborted, { name: 'n', taskId: () => 't' })(),
    );
    await settled();
    // Its renewals are on their way for longer than the lease.
    const held = slow.line.hold(({ kind, keys: guards }) => kind === 'commit' && guards.includes('h:t'));
    await world.clock.advance(LEASE_MS + 1);
    const next = world.proc();
    const options = { name: 'n', taskId: (): string => 't', maxCrashes: 2 };
    await startInTime(world, next.recovery.withRecovery<[], unknown>(untilAborted, options));
    await expect(next.recovery.tasks.get('t')).resolves.toMatchObject({
      attempt: 2,
      crashes: [{ attempt: 1 }],
    });
    held.release();
    await slow.recovery.runStartupRecovery();
    await world.clock.advance(SWEEP_MS + LEASE_MS);
    expect(call).toMatchObject({ state: 'rejected' });
    const fence = (await next.recovery.tasks.get('t'))?.crashes[0]?.fence;
    expect(await fieldsOf(world, keys.control('t'))).toMatchObject({ [`lived:${fence}`]: '1' });
    await die(world, next);
    const last = world.proc();
    const again = last.recovery.withRecovery<[], unknown>((ctx) => ctx.attempt, options);
    // Two takeovers, one crash: the budget of two is not spent.
    expect(await world.until(again())).toBe(3);
    await expect(last.recovery.tasks.get('t')).resolves.toMatchObject({ crashes: [{ attempt: 2 }] });
  });

  it('the death of a process that tried suspects, for those that are none', async () => {
    const options = { taskId: (): string => 't', maxCrashes: 9 };
    const proc = world.proc();
    const bad = proc.recovery.withRecovery<[], unknown>(untilAborted, {
      ...options,
      name: 'bad',
      taskId: () => 'b',
    });
    await startQuietly(bad);
    await die(world, proc);
    const second = world.proc();
    await startInTime(world, bad.with(second.recovery));
    await die(world, second);
    // Twice in a crash: a suspect now. Beside it runs one that is none.
    const third = world.proc();
    const good = third.recovery.withRecovery<[], unknown>(untilAborted, { ...options, name: 'good' });
    await startQuietly(good);
    await startInTime(world, bad.with(third.recovery));
    await die(world, third);
    const last = world.proc();
    const fine = last.recovery.withRecovery<[], unknown>((ctx) => ctx.attempt, { ...options, name: 'good' });
    await expect(fine()).resolves.toBe(2);
    await expect(last.recovery.tasks.get('t')).resolves.toMatchObject({ crashes: [] });
    const found = last.recovery.withRecovery<[], unknown>((ctx) => ctx.attempt, {
      ...options,
      name: 'bad',
      taskId: () => 'b',
    });
    expect(await world.until(found())).toBe(4);
    await expect(last.recovery.tasks.get('b')).resolves.toMatchObject({
      crashes: [{ suspects: null }, { suspects: null }, { suspects: 1 }],
    });
  });

  it('its death is charged to everybody again once the suspect has lived for long enough', async () => {
    const clear = gate();
    const options = { taskId: (): string => 'b', maxCrashes: 9, name: 'bad' };
    const fn = (ctx: RecoveryContext): Promise<unknown> =>
      ctx.attempt < 3 ? untilAborted(ctx) : Promise.race([untilAborted(ctx), clear.passed]);
    const first = world.proc();
    const bad = first.recovery.withRecovery<[], unknown>(fn, options);
    await startQuietly(bad);
    await die(world, first);
    const second = world.proc();
    await startInTime(world, bad.with(second.recovery));
    await die(world, second);
    const third = world.proc();
    const good = third.recovery.withRecovery<[], unknown>(untilAborted, { name: 'good', taskId: () => 't' });
    await startQuietly(good);
    await startInTime(world, bad.with(third.recovery));
    await world.clock.advance(3 * LEASE_MS);
    await die(world, third);
    const last = world.proc();
    await startQuietly(good.with(last.recovery));
    expect(await crashesOf(last)).toMatchObject([{ attempt: 1, suspects: null }]);
  });
});
