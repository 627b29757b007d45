import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { keys } from '../../src/state/keys.js';
import { settled } from '../support/manual-clock.js';
import {
  away,
  gate,
  LEASE_MS,
  namesOf,
  rejectionOf,
  trapUnhandledRejections,
  untilAborted,
  World,
} from './harness.js';

trapUnhandledRejections();

describe.each([1, 3])('shutdown, on %i partitions', (partitions) => {
  let world: World;
  beforeEach(() => void (world = new World(partitions)));
  afterEach(() => world.end());

  it('releases what is running, uncharged; another process goes on from the checkpoint at once', async () => {
    const [old, next] = [world.proc(), world.proc()];
    const task = old.recovery.withRecovery(
      async (ctx) => {
        if (ctx.attempt > 1) return ctx.resumedFrom?.name ?? 'nothing';
        await ctx.createCheckpoint({ name: 'half', progressPercent: 50 });
        return untilAborted(ctx);
      },
      { name: 'n', taskId: () => 't' },
    );
    const { result } = await task.start();
    const ended = rejectionOf(result);
    await settled();
    await world.until(old.recovery.shutdown());
    // It makes no call on its context: its signal tells it after four fifths of the time.
    expect(world.clock.monotonicMs()).toBe(8_000);
    expect(await ended).toMatchObject({ code: 'SHUT_DOWN', retryable: true });
    expect(namesOf(old.heard).at(-1)).toBe('task_released');
    await expect(next.recovery.tasks.get('t')).resolves.toMatchObject({
      status: 'orphaned',
      orphanCause: 'released',
      crashedAtMs: [],
    });
    task.with(next.recovery);
    const run = await next.recovery.runStartupRecovery();
    await expect(run.finished).resolves.toMatchObject({
      recovered: 1,
      tasks: [{ decision: 'resume', outcome: 'completed' }],
    });
    await expect(next.recovery.tasks.get('t')).resolves.toMatchObject({
      status: 'completed',
      crashedAtMs: [],
    });
  });

  it('rejects the next call on the context, and lets a function that ends by itself complete', async () => {
    const { recovery } = world.proc();
    const go = gate();
    const asks = recovery.withRecovery(
      async (ctx) => {
        await go.passed;
        await ctx.createCheckpoint({ name: 'x', progressPercent: 1 });
      },
      { name: 'asks', taskId: () => 'a' },
    );
    const ends = recovery.withRecovery(() => go.passed.then(() => 'done'), {
      name: 'ends',
      taskId: () => 'e',
    });
    const [a, e] = [await asks.start(), await ends.start()];
    const [asked, over] = [rejectionOf(a.result), recovery.shutdown()];
    await settled();
    go.open();
    await world.until(over);
    expect(await asked).toMatchObject({ code: 'SHUT_DOWN' });
    await expect(e.result).resolves.toBe('done');
    await expect(world.proc().recovery.tasks.get('e')).resolves.toMatchObject({ status: 'completed' });
  });

  it('ends by its deadline when a task does not, which then keeps its lease and is fenced off', async () => {
    const { recovery, heard } = world.proc();
    const stubborn = gate();
    const task = recovery.withRecovery(() => stubborn.passed, { name: 'n', taskId: () => 't' });
    const { result } = await task.start();
    const ended = rejectionOf(result);
    const beforeMs = world.clock.monotonicMs();
    await world.until(recovery.shutdown({ timeoutMs: 2_000 }));
    expect(world.clock.monotonicMs() - beforeMs).toBeLessThanOrEqual(3_500);
    const other = world.proc();
    await expect(other.recovery.tasks.get('t')).resolves.toMatchObject({ status: 'processing' });
    stubborn.open();
    expect(await ended).toMatchObject({ code: 'SHUT_DOWN' });
    expect(namesOf(heard)).toContain('lease_lost');
    await expect(other.recovery.tasks.get('t')).resolves.toMatchObject({ status: 'processing' });
  });

  it('ends by its deadline when the storage is away', async () => {
    const { recovery, line } = world.proc();
    const task = recovery.withRecovery(untilAborted, { name: 'n', taskId: () => 't' });
    const { result } = await task.start();
    const ended = rejectionOf(result);
    line.down = away();
    await world.until(recovery.shutdown({ timeoutMs: 5_000 }));
    expect(await ended).toBeInstanceOf(Error);
  });

  it('a second call waits for the first', async () => {
    const { recovery } = world.proc();
    const go = gate();
    const task = recovery.withRecovery(() => go.passed, { name: 'n' });
    const { result } = await task.start();
    const order: number[] = [];
    const first = recovery.shutdown().then(() => order.push(1));
    const second = recovery.shutdown({ timeoutMs: 0 }).then(() => order.push(2));
    await settled();
    expect(order).toEqual([]);
    go.open();
    await world.until(Promise.all([first, second]));
    expect(order).toEqual([1, 2]);
    await result;
    await recovery[Symbol.asyncDispose]();
  });

  it('afterwards nothing starts any more', async () => {
    const { recovery, line } = world.proc();
    const task = recovery.withRecovery(() => 1, { name: 'n' });
    await recovery.shutdown();
    const before = line.commits.length;
    for (const call of [task(), recovery.recover(), recovery.runStartupRecovery(), recovery.planRecovery()]) {
      expect(await rejectionOf(call)).toMatchObject({ code: 'SHUT_DOWN' });
    }
    expect(line.commits.length).toBe(before);
  });

  it('a start that is on its way when it begins is given back, not run', async () => {
    const { recovery, line } = world.proc();
    let runs = 0;
    const task = recovery.withRecovery(() => (runs += 1), { name: 'n', taskId: () => 't' });
    const held = line.hold(({ keys: guards }) => guards.includes(keys.head('t')));
    const call = rejectionOf(task());
    await held.reached;
    const over = recovery.shutdown();
    await settled();
    held.release();
    await world.until(over);
    expect(await call).toMatchObject({ code: 'SHUT_DOWN' });
    expect(runs).toBe(0);
    await expect(world.proc().recovery.tasks.get('t')).resolves.toMatchObject({
      status: 'orphaned',
      orphanCause: 'released',
    });
  });

  it('signs the worker off when nothing is left, and stops its timers', async () => {
    const { recovery } = world.proc();
    const task = recovery.withRecovery(() => 1, { name: 'n' });
    await recovery.runStartupRecovery();
    await task();
    await world.until(recovery.shutdown());
    expect(await world.memory.count('rekindle:0', 'workers')).toBe(0);
    await world.clock.advance(10 * LEASE_MS);
    expect(world.clock.pendingTimers).toBe(0);
  });

  it.each([-1, 1.5, 'soon', Infinity])('refuses timeoutMs: %j', async (timeoutMs) => {
    const { recovery } = world.proc();
    const call: Promise<unknown> = Reflect.apply(recovery.shutdown, null, [{ timeoutMs }]);
    expect(await rejectionOf(call)).toMatchObject({ code: 'INVALID_OPTION' });
  });
});
