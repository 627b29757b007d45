/** Retries are counted once each, in the commits that decide about them, whatever comes in between. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { RecoveryContext } from '../../src/runtime/context.js';
import { counterFields } from '../../src/state/failures.js';
import { keys } from '../../src/state/keys.js';
import type { Storage } from '../../src/storage/storage.js';
import { away, rejectionOf, SWEEP_MS, trapUnhandledRejections, untilAborted, World } from './harness.js';
import type { Proc } from './harness.js';
import { die, startQuietly, swept } from './lab.js';

trapUnhandledRejections();

describe.each([1, 3])('the counters of retries, on %i partitions', (partitions) => {
  let world: World;
  beforeEach(() => void (world = new World(partitions)));
  afterEach(() => world.end());

  /** All of them, over all partitions, as they stand in the storage. */
  async function counted(): Promise<Record<string, number>> {
    const sums: Record<string, number> = {};
    for (let n = 0; n < partitions; n += 1) {
      const { records } = await world.memory.read(`rekindle:${n}`, [keys.retryCounters]);
      for (const [field, text] of records[0] ?? []) sums[field] = (sums[field] ?? 0) + Number(text);
    }
    return sums;
  }

  const boom = (): never => {
    throw new Error('ENOENT: gone');
  };

  const tracked = (
    { recovery }: Proc,
    work: (ctx: RecoveryContext) => unknown,
    more: { maxAttempts?: number } = {},
  ) =>
    recovery.withRecovery((ctx, _id: string) => work(ctx), {
      name: 'n',
      taskId: (id) => id,
      document: (id) => `/in/${id}`,
      ...more,
    });

  const slow =
    (ms: number): (() => Promise<void>) =>
    () =>
      new Promise((resolve) => {
        world.clock.schedule(ms, resolve);
      });

  it('begin with the second attempt: no first one is a retry, and none of what did not fail', async () => {
    const proc = world.proc();
    await tracked(proc, () => 1)('fine');
    await rejectionOf(tracked(world.proc(), boom)('a'));
    await proc.recovery.failures.record({ documentPath: 'b', error: 1 });
    await proc.recovery.failures.record({ documentPath: 'b', error: 2 });
    expect(await counted()).toEqual({});
    expect(await proc.recovery.documents.getStatus()).toMatchObject({
      recovery_attempts: 0,
      recovery_success_rate: null,
      average_recovery_time: null,
    });
  });

  it('count attempts when they begin, their ends when they end, and how long the good ones took', async () => {
    await rejectionOf(tracked(world.proc(), boom)('a'));
    await rejectionOf(tracked(world.proc(), boom)('a'));
    expect(await counted()).toEqual({ attempts: 1, failed: 1 });
    const proc = world.proc();
    const running = tracked(proc, slow(700))('a');
    await world.clock.advance(200);
    expect(await counted()).toEqual({ attempts: 2, failed: 1 });
    await world.until(running);
    expect(await counted()).toEqual({ attempts: 2, failed: 1, succeeded: 1, succeededMs: 700 });
    expect(await proc.recovery.documents.getStatus()).toMatchObject({
      recovery_attempts: 2,
      successful_recoveries: 1,
      failed_recoveries: 1,
      recovery_success_rate: 0.5,
      average_recovery_time: 700,
    });
    // It is no failed document any more: what comes of it from here on is no retry.
    await tracked(world.proc(), boom)('a');
    expect(await counted()).toEqual({ attempts: 2, failed: 1, succeeded: 1, succeededMs: 700 });
  });

  it.each([
    ['succeeds', () => 1, { attempts: 1, succeeded: 1, succeededMs: 0 }],
    ['fails', boom, { attempts: 1, failed: 1 }],
  ])('count a retry once that goes on after a crash and %s', async (_what, work, counts) => {
    await rejectionOf(tracked(world.proc(), boom)('a'));
    const second = world.proc();
    await startQuietly(
      tracked(second, () => new Promise(() => {})),
      'a',
    );
    await die(world, second);
    expect(await counted()).toEqual({ attempts: 1 });
    const third = world.proc();
    tracked(third, work);
    await swept(world, third);
    expect(await third.recovery.failures.count()).toBe('failed' in counts ? 1 : 0);
    expect(await counted()).toEqual(counts);
  });

  it('count a retry once that is given back by a shutdown, and taken up again', async () => {
    await rejectionOf(tracked(world.proc(), boom)('a'));
    const second = world.proc();
    await startQuietly(tracked(second, untilAborted), 'a');
    await world.until(second.recovery.shutdown({ timeoutMs: 1_000 }));
    const third = world.proc();
    tracked(third, () => 1);
    await swept(world, third);
    expect(await counted()).toEqual({ attempts: 1, succeeded: 1, succeededMs: 0 });
  });

  it('count a retry once that has several tries of its own', async () => {
    await rejectionOf(world.until(tracked(world.proc(), boom, { maxAttempts: 3 })('a')));
    expect(await counted()).toEqual({});
    await rejectionOf(world.until(tracked(world.proc(), boom, { maxAttempts: 3 })('a')));
    expect(await counted()).toEqual({ attempts: 1, failed: 1 });
  });

  it('count one that was put back when it is taken up, not before', async () => {
    const first = world.proc();
    await rejectionOf(tracked(first, boom)('a'));
    await first.recovery.tasks.requeue('a');
    await first.recovery.tasks.requeue('a');
    expect(await counted()).toEqual({});
    const second = world.proc();
    tracked(second, () => 1);
    await swept(world, second);
    expect(await counted()).toEqual({ attempts: 1, succeeded: 1, succeededMs: 0 });
  });

  it('count one that is cancelled, or forgotten, as begun only', async () => {
    const proc = world.proc();
    await rejectionOf(tracked(proc, boom)('a'));
    const second = world.proc();
    const stopped = rejectionOf(tracked(second, untilAborted)('a'));
    await world.clock.advance(10);
    await second.recovery.tasks.cancel('a');
    expect(await stopped).toMatchObject({ code: 'TASK_CANCELLED' });
    expect(await counted()).toEqual({ attempts: 1 });
    await rejectionOf(tracked(world.proc(), boom)('b'));
    await proc.recovery.failures.remove('b');
    // It fails for the first time, as far as anybody knows.
    await rejectionOf(tracked(world.proc(), boom)('b'));
    expect(await counted()).toEqual({ attempts: 1 });
  });

  it('count once what was written, but whose answer was lost', async () => {
    await rejectionOf(tracked(world.proc(), boom)('a'));
    const lost = new Set<string>();
    const over: Storage = {
      ...world.memory,
      async commit(partition, batches, options) {
        const reply = await world.memory.commit(partition, batches, options);
        const counting = batches
          .flatMap(({ increment = [] }) => increment)
          .filter(({ key }) => key === keys.retryCounters)
          .map(({ field }) => field)
          .join();
        if (counting === '' || lost.has(counting)) return reply;
        lost.add(counting);
        throw away();
      },
    };
    await rejectionOf(world.until(tracked(world.proc({ over }), boom)('a')));
    expect(await counted()).toEqual({ attempts: 1, failed: 1 });
    await world.until(tracked(world.proc({ over }), () => 1)('a'));
    expect(await counted()).toEqual({
      attempts: 2,
      failed: 1,
      succeeded: 1,
      succeededMs: expect.any(Number),
    });
    const { attempts, failed, succeeded, succeededMs } = counterFields;
    expect(lost).toEqual(new Set([attempts, failed, `${succeeded},${succeededMs}`]));
  });

  it('count once where two take it up at the same time', async () => {
    await rejectionOf(tracked(world.proc(), boom)('a'));
    const procs = [world.proc(), world.proc(), world.proc()];
    const held = procs.map(({ line }) =>
      line.hold(({ kind, keys: given }) => kind === 'commit' && given.includes(keys.head('a'))),
    );
    const calls = procs.map((proc) => tracked(proc, slow(100))('a').catch(() => {}));
    await world.clock.advance(10);
    for (const { release } of held) release();
    await world.until(Promise.all(calls));
    await world.clock.advance(SWEEP_MS);
    expect(await counted()).toMatchObject({ attempts: 1, succeeded: 1 });
  });
});
