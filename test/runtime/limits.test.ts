import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { isRecoveryError } from '../../src/errors.js';
import type { RecoveryContext } from '../../src/runtime/context.js';
import type { TaskOptions } from '../../src/runtime/task-options.js';
import { settled } from '../support/manual-clock.js';
import {
  alertsOf,
  gate,
  LEASE_MS,
  rejectionOf,
  SWEEP_MS,
  trapUnhandledRejections,
  untilAborted,
  World,
} from './harness.js';
import type { Proc } from './harness.js';
import { die, startQuietly, swept, watched, written } from './lab.js';

trapUnhandledRejections();

type Options = Pick<TaskOptions<[]>, 'maxDurationMs' | 'maxSilenceMs' | 'maxAttempts' | 'ifRunning'>;

describe.each([1, 3])('maxDurationMs and maxSilenceMs, on %i partitions', (partitions) => {
  let world: World;
  beforeEach(() => void (world = new World(partitions)));
  afterEach(() => world.end());

  function define({ recovery }: Proc, options: Options, fn: (ctx: RecoveryContext) => unknown) {
    return recovery.withRecovery<[], unknown>(fn, { name: 'n', taskId: () => 't', ...options });
  }

  const sleep = (ms: number): Promise<void> =>
    new Promise((resolve) => void world.clock.schedule(ms, resolve));

  it('a task that runs too long hears it by its signal, and fails with the reason', async () => {
    const proc = world.proc();
    const { recovery, heard } = proc;
    let aborted: unknown = null;
    const task = define(proc, { maxDurationMs: 10_000 }, async (ctx) => {
      await untilAborted(ctx).catch((reason: unknown) => void (aborted = reason));
      throw new Error('its own words');
    });
    const call = watched(task());
    await world.clock.advance(9_999);
    expect([call.state, aborted]).toEqual(['open', null]);
    await world.clock.advance(1);
    const failure = {
      code: 'TASK_TIMED_OUT',
      message: expect.stringContaining('10000 ms'),
      details: { taskId: 't', limit: 'maxDurationMs', limitMs: 10_000 },
    };
    expect(aborted).toMatchObject(failure);
    expect(call).toMatchObject({ state: 'rejected', value: failure });
    await expect(recovery.tasks.get('t')).resolves.toMatchObject({
      status: 'failed',
      error: { code: 'TASK_TIMED_OUT', message: expect.stringContaining('maxDurationMs') },
    });
    expect(alertsOf(heard)).toEqual([]);
  });

  it('one that returns a value after all has failed all the same; one that ends in time has not', async () => {
    const proc = world.proc();
    const late = define(proc, { maxDurationMs: 500 }, (ctx) => untilAborted(ctx).catch(() => 'too late'));
    expect(await world.until(rejectionOf(late()))).toMatchObject({ code: 'TASK_TIMED_OUT' });
    const inTime = define(world.proc(), { maxDurationMs: 500, maxSilenceMs: 500 }, () =>
      sleep(499).then(() => 'in time'),
    );
    expect(await world.until(inTime())).toBe('in time');
    await world.clock.advance(LEASE_MS);
    await expect(proc.recovery.tasks.get('t')).resolves.toMatchObject({ status: 'completed' });
  });

  it('the duration counts over attempts, and only while a lease was alive', async () => {
    const old = world.proc();
    const options = { maxDurationMs: 10_000 };
    const task = define(old, options, untilAborted);
    await startQuietly(task);
    await world.clock.advance(6_000);
    old.crash();
    // A week in which nobody had it.
    await world.clock.advance(7 * 24 * 3_600_000);
    const next = world.proc();
    const call = watched(define(next, options, untilAborted)());
    // What ran after the last renewal before the crash nobody knows of: a third of the lease, and a beat, at most.
    await world.clock.advance(3_900);
    expect(call.state).toBe('open');
    await world.clock.advance(100 + LEASE_MS / 2);
    expect(call).toMatchObject({ state: 'rejected', value: { code: 'TASK_TIMED_OUT' } });
    await expect(next.recovery.tasks.get('t')).resolves.toMatchObject({ status: 'failed', attempt: 2 });
  });

  it('a failed task that is called again, and a requeued one, have all their time again', async () => {
    const proc = world.proc();
    const options = { maxDurationMs: 6_000 };
    const task = define(proc, options, (ctx) => (ctx.attempt < 4 ? untilAborted(ctx) : 'done'));
    for (const again of [() => task(), () => task()]) {
      const call = watched(again());
      await world.clock.advance(5_999);
      expect(call.state).toBe('open');
      await world.clock.advance(1);
      expect(call.state).toBe('rejected');
    }
    await proc.recovery.tasks.requeue('t');
    const call = watched(task());
    await world.clock.advance(5_999);
    expect(call.state).toBe('open');
    await world.clock.advance(1);
    expect(call.state).toBe('rejected');
  });

  it.each<[string, number, (proc: Proc) => Promise<Proc>]>([
    ['end with an error', 900, async (proc) => Promise.resolve(proc)],
    [
      'are given back in shutdowns',
      900,
      async ({ recovery }) => {
        await recovery.shutdown({ timeoutMs: 0 });
        return world.proc();
      },
    ],
  ])('attempts shorter than a heartbeat that %s add up', async (_what, ms, between) => {
    let proc = world.proc();
    const options = { maxDurationMs: 5_000, maxAttempts: 100 };
    const codes: unknown[] = [];
    const fn = async (ctx: RecoveryContext): Promise<never> => {
      await Promise.race([sleep(ms), untilAborted(ctx)]);
      await ctx.updateProgress(1);
      throw new Error('again');
    };
    let task = define(proc, options, fn);
    for (let round = 0; round < 12; round += 1) {
      const call = watched(task());
      await world.clock.advance(ms - 1);
      const next = between(proc);
      await world.clock.advance(1);
      const then = await next;
      if (then !== proc) task = define(then, options, fn);
      proc = then;
      await settled();
      if (call.state === 'open') await world.clock.advance(600_000);
      codes.push(isRecoveryError(call.value) ? call.value.code : null);
    }
    expect(codes).toContain('TASK_TIMED_OUT');
  });

  it.each<[string, (ctx: RecoveryContext, n: number) => Promise<unknown>]>([
    ['progress', (ctx, n) => ctx.updateProgress(n)],
    ['a checkpoint', (ctx, n) => ctx.createCheckpoint({ name: 'c', progressPercent: n })],
    ['a step', (ctx, n) => ctx.step(`s${n}`, () => n)],
  ])('%s ends the silence', async (_what, sign) => {
    const proc = world.proc();
    const task = define(proc, { maxSilenceMs: 2_000 }, async (ctx) => {
      for (let n = 1; n <= 5; n += 1) {
        await sleep(1_900);
        await sign(ctx, n);
      }
      return untilAborted(ctx);
    });
    const call = watched(task());
    await world.clock.advance(5 * 1_900 + 1_999);
    expect(call.state).toBe('open');
    await world.clock.advance(1);
    expect(call).toMatchObject({
      state: 'rejected',
      value: { code: 'TASK_TIMED_OUT', details: { limit: 'maxSilenceMs', limitMs: 2_000 } },
    });
  });

  it('items of a map end the silence, those that fail, too', async () => {
    const task = define(world.proc(), { maxSilenceMs: 2_000 }, async (ctx) => {
      const item = async (n: number): Promise<void> => {
        await sleep(1_900);
        if (n % 2 === 0) throw new Error('no');
      };
      const { failed } = await ctx.map('m', [1, 2, 3, 4], item, { key: String, minSuccessRatio: 0 });
      return failed.length;
    });
    expect(await world.until(task())).toBe(2);
  });

  it('silence has its tries: it is tried again as any other error', async () => {
    const proc = world.proc();
    const options = { maxSilenceMs: 2_000, maxAttempts: 2 };
    const task = define(proc, options, (ctx) => (ctx.attempt === 1 ? untilAborted(ctx) : 'spoke'));
    const call = task();
    await world.clock.advance(2_000);
    await expect(proc.recovery.tasks.get('t')).resolves.toMatchObject({
      status: 'orphaned',
      orphanCause: 'retry_due',
      error: { code: 'TASK_TIMED_OUT' },
    });
    expect(await world.until(call)).toBe('spoke');
  });

  it('a duration that is over has none', async () => {
    const proc = world.proc();
    const task = define(proc, { maxDurationMs: 2_000, maxAttempts: 5 }, untilAborted);
    expect(await world.until(rejectionOf(task()))).toMatchObject({ code: 'TASK_TIMED_OUT' });
    await expect(proc.recovery.tasks.get('t')).resolves.toMatchObject({ status: 'failed', attempt: 1 });
  });

  it('a function that ignores its signal is fenced off: nothing of it is written, and its slot is free', async () => {
    const old = world.proc();
    const options = { maxDurationMs: 8_000, maxAttempts: 3 };
    await startQuietly(define(old, options, untilAborted));
    await die(world, old);
    const next = world.proc({ concurrency: 1 });
    const awake = gate();
    const late: unknown[] = [];
    define(next, options, async (ctx) => {
      await awake.passed;
      const works: (() => Promise<unknown>)[] = [
        () => ctx.createCheckpoint({ name: 'zombie', progressPercent: 99 }),
        () => ctx.updateProgress(98),
        () => ctx.step('zombie', () => late.push('ran')),
      ];
      for (const work of works) late.push(await rejectionOf(Promise.resolve().then(work)));
      return 'zombie';
    });
    const report = swept(world, next);
    await world.clock.advance(8_000);
    expect(alertsOf(next.heard)).toEqual([]);
    // A third of the lease to obey.
    await world.clock.advance(LEASE_MS / 3);
    expect(alertsOf(next.heard)).toEqual(['signal_ignored']);
    const ended = { status: 'failed', attempt: 2, error: { code: 'TASK_TIMED_OUT' } };
    await expect(next.recovery.tasks.get('t')).resolves.toMatchObject(ended);
    expect(await report).toMatchObject({ recovered: 1, failed: 1 });
    // The next one gets the slot.
    const other = world.proc();
    const options2 = { name: 'other', taskId: () => 'o' };
    const waiting = other.recovery.withRecovery(
      (ctx) => (ctx.attempt === 1 ? untilAborted(ctx) : 'ran'),
      options2,
    );
    await startQuietly(waiting);
    await die(world, other);
    waiting.with(next.recovery);
    await world.clock.advance(SWEEP_MS);
    await expect(next.recovery.tasks.get('o')).resolves.toMatchObject({ status: 'completed' });
    awake.open();
    await world.clock.advance(SWEEP_MS);
    expect(late).toMatchObject([
      { code: 'TASK_TIMED_OUT' },
      { code: 'TASK_TIMED_OUT' },
      { code: 'TASK_TIMED_OUT' },
    ]);
    expect(written(next)).not.toContain('zombie');
    await expect(next.recovery.tasks.get('t')).resolves.toMatchObject({ ...ended, progressPercent: 0 });
  });

  it('its callers hear it then, those who joined as well, and the id can be used again at once', async () => {
    const proc = world.proc();
    const deaf = gate();
    let runs = 0;
    const task = define(proc, { maxSilenceMs: 1_000 }, () => {
      runs += 1;
      return runs === 1 ? deaf.passed : 'again';
    });
    const calls = [rejectionOf(task()), rejectionOf(task())];
    await world.clock.advance(1_000 + LEASE_MS / 3);
    expect(await Promise.all(calls)).toMatchObject([{ code: 'TASK_TIMED_OUT' }, { code: 'TASK_TIMED_OUT' }]);
    await expect(task()).resolves.toBe('again');
    deaf.open();
    await settled();
    await expect(proc.recovery.tasks.get('t')).resolves.toMatchObject({ status: 'completed', attempt: 2 });
  });
});
