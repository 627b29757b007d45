import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { RecoveryContext } from '../../src/runtime/context.js';
import { settled } from '../support/manual-clock.js';
import { gate, rejectionOf, trapUnhandledRejections, untilAborted, World } from './harness.js';
import type { Proc } from './harness.js';
import { watched } from './lab.js';

trapUnhandledRejections();

const SHUT_DOWN = { code: 'SHUT_DOWN', retryable: true };

describe.each([1, 3])('drain at shutdown, on %i partitions', (partitions) => {
  let world: World;
  beforeEach(() => void (world = new World(partitions)));
  afterEach(() => world.end());

  const define = ({ recovery }: Proc, fn: (ctx: RecoveryContext) => unknown) =>
    recovery.withRecovery<[], unknown>(fn, { name: 'n', taskId: () => 't', maxCrashes: 1, maxAttempts: 3 });

  /** Starts a function, begins a shutdown while it waits at `go`, lets it go on, and waits for the end of both. */
  async function drained(fn: (ctx: RecoveryContext, go: Promise<void>) => Promise<unknown>) {
    const proc = world.proc();
    const go = gate();
    let aborted = false;
    const call = watched(
      define(proc, (ctx) => {
        ctx.signal.addEventListener('abort', () => (aborted = true));
        return fn(ctx, go.passed);
      })(),
    );
    await settled();
    const over = proc.recovery.shutdown();
    await settled();
    expect([call.state, aborted]).toEqual(['open', false]);
    const atMs = world.clock.monotonicMs();
    go.open();
    await world.until(over);
    const next = world.proc();
    return {
      call,
      aborted,
      next,
      tookMs: world.clock.monotonicMs() - atMs,
      task: await next.recovery.tasks.get('t'),
    };
  }

  const RELEASED = { status: 'orphaned', orphanCause: 'released', crashes: [], errorCount: 0, error: null };

  it('a checkpoint is still made, then SHUT_DOWN is thrown and the task is given back', async () => {
    let thrown: unknown = null;
    const { call, next, task, tookMs, aborted } = await drained(async (ctx, go) => {
      await go;
      thrown = await rejectionOf(
        ctx.createCheckpoint({ name: 'last', progressPercent: 80, recoverableData: { row: 8 } }),
      );
      throw thrown;
    });
    expect(thrown).toMatchObject(SHUT_DOWN);
    expect(call).toMatchObject({ state: 'rejected', value: SHUT_DOWN });
    expect([tookMs, aborted]).toEqual([0, false]);
    expect(task).toMatchObject({ ...RELEASED, progressPercent: 80 });
    const again = define(next, (ctx) => [ctx.attempt, ctx.resumedFrom?.recoverableData, ctx.reached('last')]);
    await expect(again()).resolves.toEqual([2, { row: 8 }, true]);
  });

  it('progress that was reported is kept with the release', async () => {
    const { task } = await drained(async (ctx, go) => {
      await go;
      return ctx.updateProgress(33, 'third');
    });
    expect(task).toMatchObject({ ...RELEASED, progressPercent: 33, step: 'third' });
  });

  it('a step in hand is kept; what comes next does not begin', async () => {
    const ran: string[] = [];
    const { next, task } = await drained(async (ctx, go) => {
      const first = await rejectionOf(
        ctx.step('paid', async () => {
          await go;
          ran.push('paid');
          return 'receipt';
        }),
      );
      expect(first).toMatchObject(SHUT_DOWN);
      for (const begin of [
        () => ctx.step('sent', () => void ran.push('sent')),
        () => ctx.map('all', [1], () => void ran.push('all'), { key: String }),
      ]) {
        expect(await rejectionOf(Promise.resolve().then<unknown>(begin))).toMatchObject(SHUT_DOWN);
      }
      throw first;
    });
    expect(task).toMatchObject(RELEASED);
    const again = define(next, (ctx) => ctx.step('paid', () => ran.push('paid again')));
    await expect(again()).resolves.toBe('receipt');
    expect(ran).toEqual(['paid']);
  });

  it('items in hand finish and are kept, their signals quiet; no other item begins', async () => {
    const ran: number[] = [];
    const signals: boolean[] = [];
    const key = String;
    const { call, next, task, aborted } = await drained((ctx, go) =>
      ctx.map(
        'm',
        [1, 2, 3, 4, 5],
        async (item, { signal }) => {
          ran.push(item);
          await go;
          // Each in its own time: the others are still at work when the first one is told.
          for (let turn = 0; turn < item * 10; turn += 1)
            await new Promise((resolve) => void setImmediate(resolve));
          signals.push(signal.aborted);
          return item * 10;
        },
        { key, concurrency: 3 },
      ),
    );
    expect(call).toMatchObject({ state: 'rejected', value: SHUT_DOWN });
    expect([ran, signals, aborted]).toEqual([[1, 2, 3], [false, false, false], false]);
    expect(task).toMatchObject({ ...RELEASED, items: { done: 3, total: 5 } });
    const again = define(next, (ctx) =>
      ctx.map(
        'm',
        [1, 2, 3, 4, 5],
        (item) => {
          ran.push(item);
          return item * 10;
        },
        { key },
      ),
    );
    await expect(again()).resolves.toEqual([10, 20, 30, 40, 50]);
    expect(ran).toEqual([1, 2, 3, 4, 5]);
  });

  it('branches in hand finish, too, when one of them is told first', async () => {
    const { next, task } = await drained(async (ctx, go) => {
      await go;
      const branch = async (name: string, turns: number): Promise<void> => {
        for (let turn = 0; turn < turns; turn += 1)
          await new Promise((resolve) => void setImmediate(resolve));
        await ctx.createCheckpoint({ name, progressPercent: turns });
      };
      const all = await Promise.allSettled([branch('a', 5), branch('b', 20)]);
      expect(all).toMatchObject([{ reason: SHUT_DOWN }, { reason: SHUT_DOWN }]);
      throw new Error('its own words, which are no error of the task');
    });
    expect(task).toMatchObject(RELEASED);
    const { recovery } = next;
    expect((await recovery.checkpoints.list('t')).map(({ name }) => name)).toEqual(['b', 'a']);
  });

  it('a function that comes to its end without another call completes', async () => {
    const { call, task } = await drained((_ctx, go) => go.then(() => 'done'));
    expect(call).toEqual({ state: 'resolved', value: 'done' });
    expect(task).toMatchObject({ status: 'completed' });
  });

  it('one that fails by itself has failed: its error is counted, and it waits for its next try', async () => {
    const { task } = await drained(async (_ctx, go) => {
      await go;
      throw new Error('no');
    });
    expect(task).toMatchObject({ status: 'orphaned', orphanCause: 'retry_due', errorCount: 1 });
  });

  it.each([10_000, 1_000])('after four fifths of %i ms signals abort, with the reason', async (timeoutMs) => {
    const proc = world.proc();
    let reason: unknown = null;
    const fn = async (ctx: RecoveryContext): Promise<string> => {
      reason = await rejectionOf(untilAborted(ctx));
      return 'done all the same';
    };
    const call = watched(define(proc, fn)());
    await settled();
    const over = watched(proc.recovery.shutdown({ timeoutMs }));
    await world.clock.advance(timeoutMs * 0.8 - 1);
    expect([reason, over.state]).toEqual([null, 'open']);
    await world.clock.advance(1);
    expect(reason).toMatchObject(SHUT_DOWN);
    expect(over.state).toBe('resolved');
    expect(call).toEqual({ state: 'resolved', value: 'done all the same' });
  });

  it('leases are kept alive while it drains, and nobody takes what still runs', async () => {
    const proc = world.proc();
    const go = gate();
    const call = watched(define(proc, () => go.passed.then(() => 'here'))());
    await settled();
    const over = watched(proc.recovery.shutdown({ timeoutMs: 30_000 }));
    const next = world.proc();
    const other = define(next, () => 'there');
    await next.recovery.runStartupRecovery();
    await world.clock.advance(20_000);
    expect(await rejectionOf(other())).toMatchObject({ code: 'TASK_RUNNING_ELSEWHERE' });
    go.open();
    await settled();
    expect([call, over.state]).toEqual([{ state: 'resolved', value: 'here' }, 'resolved']);
    await expect(next.recovery.tasks.get('t')).resolves.toMatchObject({ attempt: 1, crashes: [] });
  });

  it('given back again and again, it is never charged, nor counted as an error', async () => {
    for (let round = 1; round <= 6; round += 1) {
      const proc = world.proc();
      const call = watched(
        define(proc, async (ctx) => {
          for (;;) {
            await ctx.updateProgress(ctx.attempt);
            await new Promise<void>((resolve) => void world.clock.schedule(100, resolve));
          }
        })(),
      );
      await world.clock.advance(250);
      await world.until(proc.recovery.shutdown());
      expect(call).toMatchObject({ state: 'rejected', value: SHUT_DOWN });
      await expect(world.proc().recovery.tasks.get('t')).resolves.toMatchObject({
        ...RELEASED,
        attempt: round,
        progressPercent: round,
      });
    }
  });
});
