import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { RecoveryContext } from '../../src/runtime/context.js';
import type { TaskOptions } from '../../src/runtime/task-options.js';
import { keys } from '../../src/state/keys.js';
import { settled } from '../support/manual-clock.js';
import {
  alertsOf,
  gate,
  LEASE_MS,
  namesOf,
  rejectionOf,
  SWEEP_MS,
  trapUnhandledRejections,
  untilAborted,
  World,
} from './harness.js';
import type { Proc } from './harness.js';
import { die, fieldsOf, startQuietly, swept, watched, written } from './lab.js';

trapUnhandledRejections();

const CANCELLED = {
  code: 'TASK_CANCELLED',
  message: expect.stringContaining('withdrawn'),
  details: { taskId: 't' },
};
const BY = { reason: 'withdrawn' };

describe.each([1, 3])('tasks.cancel, on %i partitions', (partitions) => {
  let world: World;
  beforeEach(() => void (world = new World(partitions)));
  afterEach(() => world.end());

  function define(
    { recovery }: Proc,
    fn: (ctx: RecoveryContext) => unknown,
    options: Pick<TaskOptions<[]>, 'maxAttempts' | 'ifRunning'> = {},
  ) {
    return recovery.withRecovery<[], unknown>(fn, { name: 'n', taskId: () => 't', ...options });
  }

  it('running here: aborted at once, ended with the reason; called again it stays so until requeued', async () => {
    const proc = world.proc();
    let runs = 0;
    const task = define(proc, (ctx) => {
      runs += 1;
      return runs === 1 ? untilAborted(ctx) : 'run after all';
    });
    const call = rejectionOf(task());
    await settled();
    await expect(proc.recovery.tasks.cancel('t', BY)).resolves.toBe('requested');
    expect(await call).toMatchObject(CANCELLED);
    expect(world.clock.monotonicMs()).toBe(0);
    await expect(proc.recovery.tasks.get('t')).resolves.toMatchObject({
      status: 'cancelled',
      error: { code: 'TASK_CANCELLED', message: expect.stringContaining('withdrawn') },
      endedAtMs: world.clock.wallMs(),
      leaseUntilMs: null,
    });
    expect(namesOf(proc.heard).at(-1)).toBe('task_cancelled');
    expect(proc.heard.at(-1)?.details).toMatchObject({ reason: expect.stringContaining('withdrawn') });
    await expect(proc.recovery.tasks.counts()).resolves.toMatchObject({ processing: 0, cancelled: 1 });
    expect(await rejectionOf(task())).toMatchObject(CANCELLED);
    expect(await rejectionOf(task.with(world.proc().recovery)())).toMatchObject({ code: 'TASK_CANCELLED' });
    expect(runs).toBe(1);
    await proc.recovery.tasks.requeue('t');
    await expect(task()).resolves.toBe('run after all');
  });

  it.each<[string, (ctx: RecoveryContext) => Promise<unknown>]>([
    ['hangs', untilAborted],
    [
      'commits all the time',
      async (ctx) => {
        for (let n = 0; !ctx.signal.aborted; n += 1) {
          await ctx.createCheckpoint({ name: `c${n % 3}`, progressPercent: 1 });
          await new Promise<void>((resolve) => void world.clock.schedule(50, resolve));
        }
        return 'it saw the signal';
      },
    ],
    [
      'reports progress all the time',
      async (ctx) => {
        for (;;) {
          await ctx.updateProgress(5);
          await new Promise<void>((resolve) => void world.clock.schedule(50, resolve));
        }
      },
    ],
  ])('running elsewhere, where it %s: within a third of the lease and a beat', async (_what, fn) => {
    const [here, there] = [world.proc(), world.proc()];
    const call = watched(define(there, fn)());
    await world.clock.advance(1_234);
    await expect(here.recovery.tasks.cancel('t', BY)).resolves.toBe('requested');
    await expect(here.recovery.tasks.cancel('t', { reason: 'again' })).resolves.toBe('requested');
    await world.clock.advance(LEASE_MS / 3 + LEASE_MS / 6);
    expect(call).toMatchObject({ state: 'rejected', value: CANCELLED });
    await expect(here.recovery.tasks.get('t')).resolves.toMatchObject({ status: 'cancelled', attempt: 1 });
    expect(alertsOf(there.heard)).toEqual([]);
  });

  it.each([0, 2_000])('its owner is dead, for %i ms at that time: it never runs again', async (afterMs) => {
    const old = world.proc();
    await startQuietly(define(old, untilAborted));
    old.crash();
    await world.clock.advance(afterMs);
    const next = world.proc();
    await expect(next.recovery.tasks.cancel('t', BY)).resolves.toBe('requested');
    await world.clock.advance(LEASE_MS + 1);
    let runs = 0;
    const task = define(next, () => (runs += 1));
    await expect(swept(world, next)).resolves.toMatchObject({
      recovered: 0,
      failed: 0,
      tasks: [{ taskId: 't', outcome: 'cancelled', reason: expect.stringContaining('withdrawn') }],
    });
    await expect(next.recovery.tasks.get('t')).resolves.toMatchObject({
      status: 'cancelled',
      attempt: 1,
      error: { code: 'TASK_CANCELLED', message: expect.stringContaining('withdrawn') },
    });
    expect(await rejectionOf(task())).toMatchObject(CANCELLED);
    await world.clock.advance(2 * SWEEP_MS);
    expect(runs).toBe(0);
  });

  it('its owner is dead, and a direct call comes first: rejected, not run', async () => {
    const old = world.proc();
    await startQuietly(define(old, untilAborted));
    const next = world.proc();
    await next.recovery.tasks.cancel('t', BY);
    await die(world, old);
    let runs = 0;
    expect(await rejectionOf(define(next, () => (runs += 1))())).toMatchObject(CANCELLED);
    expect(runs).toBe(0);
    await expect(next.recovery.tasks.get('t')).resolves.toMatchObject({ status: 'cancelled' });
  });

  it('waiting in the queue after a release, or for its next try: at once, and it never runs', async () => {
    for (const kind of ['released', 'retry_due'] as const) {
      world = new World(partitions);
      const old = world.proc();
      let runs = 0;
      const fn = async (ctx: RecoveryContext): Promise<never> => {
        runs += 1;
        if (kind === 'released') return untilAborted(ctx);
        throw new Error('no');
      };
      await startQuietly(define(old, fn, { maxAttempts: 9 }));
      if (kind === 'released') await world.until(old.recovery.shutdown({ timeoutMs: 100 }));
      const next = world.proc();
      await expect(next.recovery.tasks.get('t')).resolves.toMatchObject({ orphanCause: kind });
      await expect(next.recovery.tasks.cancel('t', BY)).resolves.toBe('cancelled');
      await expect(next.recovery.tasks.get('t')).resolves.toMatchObject({ status: 'cancelled' });
      await expect(next.recovery.tasks.counts()).resolves.toMatchObject({ orphaned: 0, cancelled: 1 });
      define(next, fn, { maxAttempts: 9 });
      await expect(swept(world, next)).resolves.toMatchObject({ discovered: 0 });
      await world.clock.advance(2 * SWEEP_MS);
      expect(runs).toBe(1);
      expect(namesOf(next.heard)).toContain('task_cancelled');
      await world.end();
    }
  });

  it('its caller, who waits for the next try here, hears so when that would be due at the latest', async () => {
    const proc = world.proc();
    const fn = (): Promise<never> => Promise.reject(new Error('no'));
    const call = watched(define(proc, fn, { maxAttempts: 9 })());
    await settled();
    await proc.recovery.tasks.cancel('t', BY);
    await world.clock.advance(1_250);
    expect(call).toMatchObject({ state: 'rejected', value: CANCELLED });
  });

  it('ended before: `ended`, and nothing changes; without the task: TASK_NOT_FOUND', async () => {
    const proc = world.proc();
    const { tasks } = proc.recovery;
    expect(await rejectionOf(tasks.cancel('t'))).toMatchObject({
      code: 'TASK_NOT_FOUND',
      details: { taskId: 't' },
    });
    await expect(define(proc, () => 'done')()).resolves.toBe('done');
    await expect(tasks.cancel('t')).resolves.toBe('ended');
    await expect(tasks.get('t')).resolves.toMatchObject({ status: 'completed' });
    expect(await fieldsOf(world, keys.control('t'))).toBeNull();
    expect(await rejectionOf(tasks.cancel(''))).toMatchObject({ code: 'INVALID_ID' });
    const call: Promise<unknown> = Reflect.apply(tasks.cancel, null, ['t', { because: 1 }]);
    expect(await rejectionOf(call)).toMatchObject({ code: 'INVALID_OPTION' });
  });

  it('a function that ignores its signal is fenced off, and the task ends cancelled', async () => {
    const proc = world.proc();
    const deaf = gate();
    const task = define(proc, async (ctx) => {
      await deaf.passed;
      return ctx.createCheckpoint({ name: 'zombie', progressPercent: 1 });
    });
    const call = watched(task());
    await settled();
    await proc.recovery.tasks.cancel('t', BY);
    await world.clock.advance(LEASE_MS / 3 - 1);
    expect(call.state).toBe('open');
    await world.clock.advance(1);
    expect(call).toMatchObject({ state: 'rejected', value: CANCELLED });
    expect(alertsOf(proc.heard)).toEqual(['signal_ignored']);
    deaf.open();
    await settled();
    expect(written(proc)).not.toContain('zombie');
    await expect(proc.recovery.tasks.get('t')).resolves.toMatchObject({ status: 'cancelled' });
  });

  it('an old wish does not reach a task that had failed before and is called again', async () => {
    const [here, there] = [world.proc(), world.proc()];
    const fail = gate();
    const task = define(there, async (ctx) => {
      if (ctx.attempt > 1) {
        await new Promise<void>((resolve) => void world.clock.schedule(2 * LEASE_MS, resolve));
        return 'done';
      }
      await fail.passed;
      throw new Error('no');
    });
    const call = rejectionOf(task());
    await settled();
    // It comes too late: the owner has not looked since, and fails.
    await expect(here.recovery.tasks.cancel('t', BY)).resolves.toBe('requested');
    fail.open();
    expect(await call).toMatchObject({ message: 'no' });
    await expect(here.recovery.tasks.cancel('t', BY)).resolves.toBe('ended');
    expect(await world.until(task())).toBe('done');
  });

  it.each<[string, (turns: number) => Promise<void>]>([
    [
      'here',
      async (turns) => {
        for (let turn = 0; turn < turns * 3; turn += 1) await Promise.resolve();
      },
    ],
    ['there', (turns) => world.clock.advance(turns * 60)],
  ])(
    'cancelled from %s while it completes: one of the two ends, and everybody hears the same',
    async (by, pass) => {
      const ends = new Set<string>();
      for (let turns = 0; turns < 30; turns += 1) {
        world = new World(partitions);
        const procs = { here: world.proc(), there: world.proc() };
        const go = gate();
        const call = watched(define(procs.here, () => go.passed.then(() => 'done'))());
        await settled();
        const cancelled = (by === 'here' ? procs.here : procs.there).recovery.tasks.cancel('t', BY);
        await pass(turns);
        go.open();
        expect(await cancelled).toMatch(/requested|ended/);
        await world.clock.advance(2 * LEASE_MS);
        const { status = 'none', attempt } = (await procs.there.recovery.tasks.get('t')) ?? {};
        ends.add(status);
        expect(attempt).toBe(1);
        if (status === 'completed') expect(call).toEqual({ state: 'resolved', value: 'done' });
        else expect([status, call]).toMatchObject(['cancelled', { state: 'rejected', value: CANCELLED }]);
        await world.end();
      }
      expect([...ends].toSorted()).toEqual(['cancelled', 'completed']);
    },
  );
});
