import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { RecoveryError } from '../../src/errors.js';
import { settled } from '../support/manual-clock.js';
import {
  away,
  namesOf,
  rejectionOf,
  SWEEP_MS,
  trapUnhandledRejections,
  untilAborted,
  World,
} from './harness.js';
import type { Proc } from './harness.js';
import { die, startQuietly, swept } from './lab.js';

trapUnhandledRejections();

/** The wait after the n-th error: 1 s, doubling up to 5 min, and a quarter more, as the harness draws 0.5. */
const waitMs = (errors: number): number => Math.min(300_000, 1_000 * 2 ** (errors - 1)) * 1.25;
const OPTIONS = { name: 'n', taskId: () => 't' } as const;

describe.each([1, 3])('maxAttempts, on %i partitions', (partitions) => {
  let world: World;
  beforeEach(() => void (world = new World(partitions)));
  afterEach(() => world.end());

  it('the caller waits, and gets what a later attempt came to; so does who joins meanwhile', async () => {
    const { recovery, heard } = world.proc();
    const task = recovery.withRecovery(
      (ctx) => {
        if (ctx.attempt < 3) throw new Error(`no ${ctx.attempt}`);
        return `yes ${ctx.attempt}`;
      },
      { ...OPTIONS, maxAttempts: 3 },
    );
    const call = task();
    await settled();
    const joined = task();
    await expect(recovery.tasks.get('t')).resolves.toMatchObject({
      status: 'orphaned',
      orphanCause: 'retry_due',
      errorCount: 1,
      error: { message: 'no 1' },
      dueAtMs: world.clock.wallMs() + waitMs(1),
    });
    expect(await world.until(Promise.all([call, joined]))).toEqual(['yes 3', 'yes 3']);
    await expect(recovery.tasks.get('t')).resolves.toMatchObject({
      status: 'completed',
      attempt: 3,
      errorCount: 2,
      crashes: [],
      error: null,
    });
    expect(heard.filter(({ event }) => event === 'task_retrying').map(({ details }) => details)).toEqual([
      { attempt: '1', error_name: 'Error', errors: '1', delay_ms: '1250' },
      { attempt: '2', error_name: 'Error', errors: '2', delay_ms: '2500' },
    ]);
    expect(namesOf(heard)).not.toContain('task_failed');
  });

  it('waits twice as long each time, up to five minutes, and gives up with the last error', async () => {
    const { recovery } = world.proc();
    const begun: number[] = [];
    const task = recovery.withRecovery(
      (ctx) => {
        begun.push(world.clock.monotonicMs());
        throw new Error(`no ${ctx.attempt}`);
      },
      { ...OPTIONS, maxAttempts: 12 },
    );
    const call = rejectionOf(task());
    await world.clock.advance(3_600_000);
    expect(await call).toMatchObject({ message: 'no 12' });
    const waits = begun.slice(1).map((atMs, index) => atMs - (begun[index] ?? 0));
    expect(waits).toEqual(Array.from({ length: 11 }, (_, index) => waitMs(index + 1)));
    expect(waits.at(-1)).toBe(375_000);
    await expect(recovery.tasks.get('t')).resolves.toMatchObject({
      status: 'failed',
      attempt: 12,
      error: { message: 'no 12' },
    });
  });

  it('a crash in the middle of the wait: the next process takes it when it is due, not before', async () => {
    const old = world.proc();
    const begun: number[] = [];
    const task = old.recovery.withRecovery(
      (ctx) => {
        begun.push(world.clock.monotonicMs());
        if (ctx.attempt < 5) throw new Error('no');
        return 'yes';
      },
      { ...OPTIONS, maxAttempts: 5 },
    );
    await startQuietly(task);
    await world.clock.advance(waitMs(1) + waitMs(2) + waitMs(3));
    const failedAtMs = world.clock.monotonicMs();
    expect(begun).toHaveLength(4);
    old.crash();
    const next = world.proc();
    task.with(next.recovery);
    expect(await swept(world, next)).toMatchObject({ discovered: 0, recovered: 0, deferred: 1 });
    await world.clock.advance(waitMs(4) - 1);
    expect(begun).toHaveLength(4);
    await world.clock.advance(1);
    expect(begun.slice(4)).toEqual([failedAtMs + waitMs(4)]);
    await expect(next.recovery.tasks.get('t')).resolves.toMatchObject({
      status: 'completed',
      attempt: 5,
      errorCount: 4,
      crashes: [],
    });
  });

  it('errors are counted over processes, and what is recovered and fails reports `deferred`', async () => {
    const old = world.proc();
    let runs = 0;
    const task = old.recovery.withRecovery(
      () => {
        runs += 1;
        throw new Error(`no ${runs}`);
      },
      { ...OPTIONS, maxAttempts: 3 },
    );
    await startQuietly(task);
    old.crash();
    await world.clock.advance(waitMs(1));
    const next = world.proc();
    task.with(next.recovery);
    expect(await swept(world, next)).toMatchObject({
      recovered: 1,
      failed: 0,
      deferred: 1,
      tasks: [{ outcome: 'deferred', error: 'no 2' }],
    });
    await world.clock.advance(waitMs(2));
    expect(runs).toBe(3);
    await expect(next.recovery.tasks.get('t')).resolves.toMatchObject({ status: 'failed', errorCount: 3 });
    await world.clock.advance(2 * SWEEP_MS);
    expect(runs).toBe(3);
  });

  it('a shutdown during the wait rejects the caller at once; the task stays in the queue', async () => {
    const { recovery } = world.proc();
    let runs = 0;
    const task = recovery.withRecovery(
      () => {
        runs += 1;
        throw new Error('no');
      },
      { ...OPTIONS, maxAttempts: 3 },
    );
    const call = rejectionOf(task());
    await settled();
    const atMs = world.clock.monotonicMs();
    const over = recovery.shutdown();
    expect(await call).toMatchObject({ code: 'SHUT_DOWN' });
    await over;
    expect(world.clock.monotonicMs()).toBe(atMs);
    const next = world.proc();
    await expect(next.recovery.tasks.get('t')).resolves.toMatchObject({
      status: 'orphaned',
      orphanCause: 'retry_due',
      errorCount: 1,
    });
    await world.clock.advance(60_000);
    expect(runs).toBe(1);
  });

  it.each(['UNRECOVERABLE', 'INPUT_INVALID'] as const)('%s stops it at once', async (code) => {
    const { recovery } = world.proc();
    const task = recovery.withRecovery(
      () => {
        throw new RecoveryError(code, 'never');
      },
      { ...OPTIONS, maxAttempts: 5 },
    );
    expect(await rejectionOf(task())).toMatchObject({ code });
    await expect(recovery.tasks.get('t')).resolves.toMatchObject({ status: 'failed', attempt: 1 });
  });

  it('crashes are no errors, and errors are no crashes', async () => {
    const seen: unknown[] = [];
    const define = (proc: Proc) =>
      proc.recovery.withRecovery(
        async (ctx) => {
          const { crashes, errorCount } = (await proc.recovery.tasks.get('t')) ?? {};
          seen.push([ctx.attempt, crashes?.length, errorCount]);
          if (ctx.attempt === 2) return untilAborted(ctx);
          throw new Error('no');
        },
        { ...OPTIONS, maxAttempts: 3, maxCrashes: 3 },
      );
    const first = world.proc();
    await startQuietly(define(first));
    await world.clock.advance(waitMs(1));
    await die(world, first);
    const second = world.proc();
    const call = rejectionOf(define(second)());
    await world.clock.advance(60_000);
    expect(await call).toMatchObject({ message: 'no' });
    expect(seen).toEqual([
      [1, 0, 0],
      [2, 0, 1],
      [3, 1, 1],
      [4, 1, 2],
    ]);
  });

  it('a failed task that is called again has all its tries again, and keeps its checkpoints', async () => {
    const { recovery } = world.proc();
    const seen: unknown[] = [];
    const task = recovery.withRecovery(
      async (ctx) => {
        seen.push([ctx.attempt, ctx.resumedFrom?.name ?? null]);
        await ctx.createCheckpoint({ name: `c${ctx.attempt}`, progressPercent: 10 });
        if (ctx.attempt < 4) throw new Error('no');
        return 'yes';
      },
      { ...OPTIONS, maxAttempts: 2 },
    );
    await world.until(rejectionOf(task()));
    await expect(recovery.tasks.get('t')).resolves.toMatchObject({ status: 'failed', errorCount: 2 });
    expect(await world.until(task())).toBe('yes');
    expect(seen).toEqual([
      [1, null],
      [2, 'c1'],
      [3, 'c2'],
      [4, 'c3'],
    ]);
  });

  it('items of a map that failed run again on the next attempt only', async () => {
    const { recovery } = world.proc();
    const runs: string[] = [];
    const task = recovery.withRecovery(
      (ctx) =>
        ctx.map(
          'm',
          ['a', 'b', 'c'],
          (item) => {
            runs.push(`${item}${ctx.attempt}`);
            if (item === 'b' && ctx.attempt === 1) throw new Error('b is not ready');
            return item;
          },
          { key: (item) => item },
        ),
      { ...OPTIONS, maxAttempts: 2 },
    );
    expect(await world.until(task())).toEqual(['a', 'b', 'c']);
    expect(runs).toEqual(['a1', 'b1', 'c1', 'b2']);
  });

  it('an error of the storage is not counted: the task is given back', async () => {
    const { recovery, line } = world.proc();
    const task = recovery.withRecovery(
      async (ctx) => {
        if (ctx.attempt > 1) return ctx.attempt;
        throw away();
      },
      { ...OPTIONS, maxAttempts: 1 },
    );
    expect(await rejectionOf(task())).toMatchObject({ code: 'STORAGE_UNAVAILABLE' });
    expect(line.dead).toBe(false);
    await expect(recovery.tasks.get('t')).resolves.toMatchObject({ status: 'orphaned', errorCount: 0 });
    await expect(task()).resolves.toBe(2);
  });
});
