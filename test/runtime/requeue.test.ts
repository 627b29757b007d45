import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { isRecoveryError } from '../../src/index.js';
import { RecoveryError } from '../../src/errors.js';
import type { RecoveryContext } from '../../src/runtime/context.js';
import type { TaskOptions } from '../../src/runtime/task-options.js';
import { keys } from '../../src/state/keys.js';
import { settled } from '../support/manual-clock.js';
import {
  gate,
  LEASE_MS,
  rejectionOf,
  SWEEP_MS,
  trapUnhandledRejections,
  untilAborted,
  World,
} from './harness.js';
import type { Proc } from './harness.js';
import { die, fieldsOf, startQuietly, swept, watched } from './lab.js';

trapUnhandledRejections();

type Options = Pick<TaskOptions<[]>, 'maxAttempts' | 'maxCrashes' | 'maxDurationMs'>;

describe.each([1, 3])('tasks.requeue, on %i partitions', (partitions) => {
  let world: World;
  beforeEach(() => void (world = new World(partitions)));
  afterEach(() => world.end());

  function define({ recovery }: Proc, options: Options, fn: (ctx: RecoveryContext) => unknown) {
    return recovery.withRecovery<[], unknown>(fn, { name: 'n', taskId: () => 't', ...options });
  }

  const marked = async (ctx: RecoveryContext): Promise<void> => {
    await ctx.step('paid', () => 'receipt');
    await ctx.createCheckpoint({ name: 'half', progressPercent: 50, recoverableData: 5 });
  };

  /** Ways to end, each with a checkpoint and a step made before. */
  const ends: Record<string, () => Promise<void>> = {
    async failed() {
      const task = define(world.proc(), { maxAttempts: 1 }, async (ctx) => {
        await marked(ctx);
        throw new RecoveryError('UNRECOVERABLE', 'no');
      });
      await rejectionOf(task());
    },
    async cancelled() {
      const proc = world.proc();
      await startQuietly(
        define(proc, {}, async (ctx) => {
          await marked(ctx);
          return untilAborted(ctx);
        }),
      );
      await proc.recovery.tasks.cancel('t');
      await settled();
    },
    async dead_letter() {
      const [old, next] = [world.proc(), world.proc()];
      const fn = async (ctx: RecoveryContext): Promise<never> => {
        await marked(ctx);
        return untilAborted(ctx);
      };
      await startQuietly(define(old, { maxCrashes: 1 }, fn));
      await die(world, old);
      define(next, { maxCrashes: 1 }, fn);
      await swept(world, next);
      await next.recovery.shutdown();
    },
    async orphaned() {
      const old = world.proc();
      await startQuietly(
        define(old, { maxAttempts: 9 }, async (ctx) => {
          await marked(ctx);
          throw new Error('no');
        }),
      );
      old.crash();
    },
  };

  it.each(Object.keys(ends))(
    '%s: due at once, budgets whole again, checkpoints and steps kept, and a sweeping worker takes it',
    async (status) => {
      await ends[status]?.();
      const next = world.proc();
      await next.recovery.runStartupRecovery();
      await expect(next.recovery.tasks.get('t')).resolves.toMatchObject({ status });
      await next.recovery.tasks.requeue('t');
      expect(next.heard.at(-1)).toMatchObject({
        event: 'task_requeued',
        task_id: 't',
        details: { status, crashes: status === 'dead_letter' ? '1' : '0' },
      });
      await expect(next.recovery.tasks.get('t')).resolves.toMatchObject({
        status: 'orphaned',
        orphanCause: 'requeued',
        dueAtMs: world.clock.wallMs(),
        errorCount: 0,
        crashes: [],
        endedAtMs: null,
        progressPercent: 50,
      });
      await expect(next.recovery.tasks.counts()).resolves.toMatchObject({
        orphaned: 1,
        failed: 0,
        cancelled: 0,
        dead_letter: 0,
      });
      expect(await fieldsOf(world, keys.control('t'))).toBeNull();
      const atMs = world.clock.monotonicMs();
      define(next, {}, async (ctx) => [
        ctx.attempt,
        ctx.resumedFrom?.recoverableData,
        await ctx.step('paid', () => 'again'),
      ]);
      await settled();
      await world.clock.advance(0);
      await expect(next.recovery.tasks.get('t')).resolves.toMatchObject({ status: 'completed' });
      expect(world.clock.monotonicMs()).toBe(atMs);
      await expect(define(world.proc(), {}, () => 'unused')()).resolves.toEqual([2, 5, 'receipt']);
    },
  );

  it('kicks the sweeper of a worker that has a function for it', async () => {
    await ends['failed']?.();
    const next = world.proc();
    define(next, {}, (ctx) => ctx.attempt);
    await swept(world, next);
    await next.recovery.tasks.requeue('t');
    await world.clock.advance(0);
    await expect(next.recovery.tasks.get('t')).resolves.toMatchObject({ status: 'completed', attempt: 2 });
  });

  it('budgets are whole again: tries, crashes, time', async () => {
    await ends['dead_letter']?.();
    const first = world.proc();
    const seen: number[] = [];
    const options = { maxAttempts: 2, maxCrashes: 2, maxDurationMs: 4_000 };
    const fn = async (ctx: RecoveryContext): Promise<unknown> => {
      seen.push(ctx.attempt);
      if (ctx.attempt === 2) return untilAborted(ctx);
      throw new Error('no');
    };
    await first.recovery.tasks.requeue('t');
    await startQuietly(define(first, options, fn));
    await die(world, first);
    // One crash of two, no error of two yet.
    const second = world.proc();
    expect(await world.until(rejectionOf(define(second, options, fn)()))).toMatchObject({ message: 'no' });
    expect(seen).toEqual([2, 3, 4]);
    await second.recovery.tasks.requeue('t');
    const again = define(world.proc(), { maxDurationMs: 4_000 }, untilAborted);
    const call = watched(again());
    await world.clock.advance(3_999);
    expect(call.state).toBe('open');
    await world.clock.advance(1);
    expect(call.state).toBe('rejected');
  });

  it('refuses what runs, is completed, or is not there', async () => {
    const proc = world.proc();
    const { tasks } = proc.recovery;
    expect(await rejectionOf(tasks.requeue('t'))).toMatchObject({ code: 'TASK_NOT_FOUND' });
    expect(await rejectionOf(tasks.requeue(''))).toMatchObject({ code: 'INVALID_ID' });
    const go = gate();
    const call = define(proc, {}, () => go.passed)();
    await settled();
    for (const status of ['processing', 'completed']) {
      expect(await rejectionOf(tasks.requeue('t'))).toMatchObject({
        code: 'WRONG_STATE',
        message: expect.stringContaining(status),
        details: { taskId: 't', status },
      });
      go.open();
      await call;
    }
    await expect(tasks.get('t')).resolves.toMatchObject({ status: 'completed', attempt: 1 });
  });

  it('a worker elsewhere finds it with its next sweep; twice is as once', async () => {
    await ends['cancelled']?.();
    const [here, there] = [world.proc(), world.proc()];
    let runs = 0;
    define(there, {}, () => (runs += 1));
    await swept(world, there);
    await here.recovery.tasks.requeue('t');
    await here.recovery.tasks.requeue('t');
    await world.clock.advance(SWEEP_MS + LEASE_MS);
    expect(runs).toBe(1);
    await expect(here.recovery.tasks.get('t')).resolves.toMatchObject({ status: 'completed', attempt: 2 });
  });

  it('requeued and called by two at once: one of them runs it', async () => {
    await ends['failed']?.();
    const procs = [world.proc(), world.proc()];
    let runs = 0;
    const tasks = procs.map((proc) => define(proc, {}, () => `run ${(runs += 1)}`));
    // A call may have completed it before the other process gets to it.
    const requeued = procs[0]?.recovery.tasks.requeue('t').catch((error: unknown) => {
      if (!isRecoveryError(error, 'WRONG_STATE')) throw error;
    });
    await Promise.all([requeued, ...tasks.map((task) => task().catch((error: unknown) => error))]);
    await settled();
    expect(runs).toBe(1);
  });
});
