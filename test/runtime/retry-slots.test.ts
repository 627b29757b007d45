import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { RecoveryContext } from '../../src/runtime/context.js';
import { trapUnhandledRejections, World } from './harness.js';
import { die, startQuietly, watched } from './lab.js';
import { byId, hang, later, minutes } from './suspect-lab.js';

trapUnhandledRejections();

describe('further tries of recovered tasks', () => {
  let world: World;
  beforeEach(() => void (world = new World()));
  afterEach(() => world.end());

  const options = { ...byId('t'), maxAttempts: 5 };

  async function orphans(count: number): Promise<void> {
    const old = world.proc();
    const task = old.recovery.withRecovery((_ctx, _id: string) => hang(), options);
    for (let index = 0; index < count; index += 1) await startQuietly(task, `t${index}`);
    await die(world, old);
  }

  /** A process whose tasks fail in their first attempts after the crash, and then take half a second. */
  function failing(concurrency: number, upTo = 2) {
    const { recovery } = world.proc({ concurrency });
    const at = { now: 0, most: 0, failed: 0 };
    const task = recovery.withRecovery(async ({ attempt, taskId }: RecoveryContext, _id: string) => {
      at.now += 1;
      at.most = Math.max(at.most, at.now);
      try {
        if (attempt <= upTo) {
          at.failed += 1;
          throw new Error('no');
        }
        await later(world, 500);
        return taskId;
      } finally {
        at.now -= 1;
      }
    }, options);
    return { recovery, at, task };
  }

  it.each([1, 2, 7])('are within a concurrency of %i', async (concurrency) => {
    await orphans(20);
    const { recovery, at } = failing(concurrency);
    await world.until(recovery.runStartupRecovery());
    await minutes(world, 2);
    expect(at).toEqual({ now: 0, most: concurrency, failed: 20 });
    await expect(recovery.tasks.counts('t')).resolves.toMatchObject({ completed: 20 });
  });

  it('and still when they fail again', async () => {
    await orphans(10);
    const { recovery, at } = failing(2, 4);
    await world.until(recovery.runStartupRecovery());
    await minutes(world, 5);
    expect(at).toEqual({ now: 0, most: 2, failed: 30 });
    await expect(recovery.tasks.counts('t')).resolves.toMatchObject({ completed: 10 });
  });

  it('give their slots back: what is found later is recovered as many at once', async () => {
    await orphans(6);
    const { recovery, at } = failing(3);
    await world.until(recovery.runStartupRecovery());
    await minutes(world, 2);
    at.most = 0;
    const old = world.proc();
    const task = old.recovery.withRecovery((_ctx, _id: string) => hang(), options);
    for (let index = 0; index < 9; index += 1) await startQuietly(task, `u${index}`);
    await die(world, old);
    const run = await world.until(recovery.recover());
    await world.until(run.finished);
    await minutes(world, 2);
    expect([at.most, at.now]).toEqual([3, 0]);
    await expect(recovery.tasks.counts('t')).resolves.toMatchObject({ completed: 15 });
  });

  it('take none when they were called, and wait for none that recovered ones hold', async () => {
    const old = world.proc();
    await startQuietly(old.recovery.withRecovery(() => hang(), { name: 'long', taskId: () => 'long' }));
    await die(world, old);
    const { recovery, task } = failing(1, 1);
    recovery.withRecovery(() => later(world, 50_000), { name: 'long', taskId: () => 'long' });
    await world.until(recovery.runStartupRecovery());
    const calls = ['a', 'b', 'c'].map((id) => watched(task(id)));
    await world.clock.advance(5_000);
    expect(calls.map(({ value }) => value)).toEqual(['a', 'b', 'c']);
  });

  it('a wait for a slot ends with a shutdown', async () => {
    const old = world.proc();
    await startQuietly(
      old.recovery.withRecovery((_ctx, _id: string) => hang(), options),
      'x',
    );
    await startQuietly(
      old.recovery.withRecovery(() => hang(), { name: 'long', taskId: () => 'long', priority: 0 }),
    );
    await die(world, old);
    const { recovery, at } = failing(1, 4);
    recovery.withRecovery(
      (ctx) =>
        new Promise((_resolve, reject) =>
          ctx.signal.addEventListener('abort', () => reject(ctx.signal.reason)),
        ),
      {
        name: 'long',
        taskId: () => 'long',
      },
    );
    await world.until(recovery.runStartupRecovery());
    await world.clock.advance(10_000);
    expect(at.failed).toBeGreaterThan(0);
    const before = at.failed;
    const begunMs = world.clock.monotonicMs();
    await world.until(recovery.shutdown({ timeoutMs: 2_000 }));
    expect(world.clock.monotonicMs() - begunMs).toBeLessThanOrEqual(3_000);
    expect(at.failed).toBe(before);
    await expect(world.proc().recovery.tasks.get('x')).resolves.toMatchObject({ status: 'orphaned' });
  });
});
