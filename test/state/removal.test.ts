import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { RecoveryContext } from '../../src/runtime/context.js';
import type { TaskStatus } from '../../src/domain/task.js';
import { keys } from '../../src/state/keys.js';
import { MemoryPartition, storageOver } from '../../src/storage/memory.js';
import type { Storage } from '../../src/storage/storage.js';
import { gate, rejectionOf, trapUnhandledRejections, untilAborted, World } from '../runtime/harness.js';
import type { Proc } from '../runtime/harness.js';
import { die, startQuietly, swept, upTo } from '../runtime/lab.js';
import { settled } from '../support/manual-clock.js';

trapUnhandledRejections();

const ID = 'doomed';
const BIG = 'x'.repeat(3_000);

describe.each([1, 3])('a task that is removed, on %i partitions', (count) => {
  let world: World;
  let partitions: MemoryPartition[];
  let over: Storage;

  beforeEach(() => {
    world = new World(count);
    partitions = [];
    const make = (): MemoryPartition => {
      const partition = new MemoryPartition(1_000);
      partitions.push(partition);
      return partition;
    };
    over = storageOver(make, world.clock, count);
  });
  afterEach(() => world.end());

  /** Records of the task and index entries for it; by an id that is no part of any other name. */
  function traces(id = ID): { records: string[]; indexes: string[] } {
    const records = partitions.flatMap((each) => [...each.records.keys()]);
    const indexes = partitions.flatMap((each) =>
      [...each.indexes].flatMap(([name, index]) =>
        index.entries().some((entry) => entry.id === id) ? [name] : [],
      ),
    );
    return {
      records: records.filter((key) => key.endsWith(`:${id}`)).toSorted(),
      indexes: indexes.toSorted(),
    };
  }

  const NOTHING = { records: [], indexes: [] };

  /** Leaves something of each kind behind. */
  async function work(ctx: RecoveryContext, checkpoints: number): Promise<void> {
    for (const n of upTo(checkpoints))
      await ctx.createCheckpoint({ name: `c${n}`, progressPercent: n, recoverableData: BIG });
    await ctx.updateProgress(50);
    await ctx.step('small', () => 1);
    await ctx.step('big', () => BIG);
    await ctx.step('big:2', () => BIG);
    await ctx.map('few', [1, 2], (n) => n, { key: String });
    await ctx.map('m:any', upTo(2_500), (n) => n, { key: String, concurrency: 500 });
  }

  interface Ways {
    readonly checkpoints?: number;
    readonly end?: (ctx: RecoveryContext) => unknown;
  }

  const wrapped = ({ recovery }: Proc, { checkpoints = 2, end = () => BIG }: Ways = {}) =>
    recovery.withRecovery(
      async (ctx, _input: string) => {
        await work(ctx, checkpoints);
        return end(ctx);
      },
      {
        name: 'n',
        taskId: () => ID,
        document: () => '/in/doomed.pdf',
        query: () => 'SELECT 1',
        checkpointFrequency: 1,
      },
    );

  const boom = (): never => {
    throw new Error('ENOENT: gone');
  };

  /** Another task of the same kind, which is to stay as it is. */
  async function bystander({ recovery }: Proc): Promise<() => Promise<void>> {
    const task = recovery.withRecovery(boom, {
      name: 'other',
      taskId: () => 'stays',
      document: () => '/in/doomed.pdf',
    });
    await rejectionOf(task());
    const before = traces('stays');
    expect(before.records).toEqual(['f:stays', 'h:stays']);
    return async () => {
      expect(traces('stays')).toEqual(before);
      expect(await recovery.failures.count()).toBe(1);
    };
  }

  const ledgers = [0, 1, 2].map((bucket) => `m${bucket}:5:m:any:${ID}`);
  const pieces = [`m0:3:few:${ID}`, ...ledgers, `p3:big:${ID}`, `p5:big:2:${ID}`];

  it.each([0, 1, 4, 5, 6, 12])('leaves nothing once it was completed, with %i checkpoints', async (n) => {
    const proc = world.proc({ over });
    const same = await bystander(proc);
    const reached = gate();
    const ended = gate();
    const running = wrapped(proc, {
      checkpoints: n,
      end: async () => {
        reached.open();
        await ended.passed;
        return BIG;
      },
    })(BIG);
    await reached.passed;
    // A wish that comes too late to be heard of leaves a record too.
    expect(await world.proc({ over }).recovery.tasks.cancel(ID)).toBe('requested');
    ended.open();
    await running;
    const ring = upTo(Math.min(n, 5)).map((at) => keys.checkpoint(ID, at + 1));
    const all = [...pieces, ...ring, `h:${ID}`, `n:${ID}`, `o:${ID}`, `x:${ID}`];
    expect(traces()).toEqual({ records: all.toSorted(), indexes: ['completed:n'] });
    await expect(proc.recovery.tasks.remove(ID)).resolves.toBe(true);
    expect(traces()).toEqual(NOTHING);
    await expect(proc.recovery.tasks.remove(ID)).resolves.toBe(false);
    await expect(proc.recovery.tasks.get(ID)).resolves.toBeNull();
    await same();
  });

  it.each([0, 2])('leaves nothing once it has failed, after %i retries', async (retries) => {
    const proc = world.proc({ over });
    const same = await bystander(proc);
    const task = wrapped(proc, { end: boom });
    for (let n = 0; n <= retries; n += 1) await rejectionOf(task(BIG));
    const ring = [1, 2].map((seq) => keys.checkpoint(ID, seq));
    const all = [...pieces, ...ring, `h:${ID}`, `n:${ID}`, `f:${ID}`];
    expect(traces().records).toEqual(expect.arrayContaining(all));
    expect(traces().indexes).toEqual(expect.arrayContaining(['failed:n', 'failures', 'failures:open']));
    await expect(proc.recovery.tasks.remove(ID)).resolves.toBe(true);
    expect(traces()).toEqual(NOTHING);
    expect(await proc.recovery.failures.get(ID)).toBeNull();
    await same();
  });

  it('leaves nothing once it was given up, or cancelled', async () => {
    const first = world.proc({ over, maxCrashes: 1 });
    const hangs = { end: untilAborted };
    await rejectionOf(wrapped(first, { end: boom })(BIG));
    const second = world.proc({ over, maxCrashes: 1 });
    await startQuietly(wrapped(second, hangs), BIG);
    await die(world, second);
    const third = world.proc({ over, maxCrashes: 1 });
    const task = wrapped(third, hangs);
    await swept(world, third);
    const { tasks, failures } = third.recovery;
    expect((await tasks.get(ID))?.status).toBe('dead_letter');
    expect(traces().indexes).toEqual(expect.arrayContaining(['failures', 'failures:dead']));
    await expect(tasks.remove(ID)).resolves.toBe(true);
    expect([traces(), await failures.count()]).toEqual([NOTHING, 0]);
    await startQuietly(task, BIG);
    await tasks.cancel(ID);
    await settled();
    expect((await tasks.get(ID))?.status).toBe('cancelled');
    await expect(tasks.remove(ID)).resolves.toBe(true);
    expect(traces()).toEqual(NOTHING);
  });

  it('is made anew when it is called again: with other arguments, and other keys for the outside', async () => {
    const { recovery } = world.proc({ over });
    const task = recovery.withRecovery(async (ctx, _input: number) => ctx.idempotencyKey('k'), {
      name: 'n',
      taskId: () => ID,
    });
    const before = await task(1);
    await recovery.tasks.remove(ID);
    const after = await task(2);
    expect(after).not.toBe(before);
    expect((await recovery.tasks.get(ID))?.attempt).toBe(1);
  });

  it('is left alone while it runs, or waits to: WRONG_STATE, and nothing is written', async () => {
    const first = world.proc({ over });
    await startQuietly(wrapped(first, { end: untilAborted }), BIG);
    const refused = async (status: TaskStatus): Promise<void> => {
      const { recovery, line } = world.proc({ over });
      const before = traces();
      expect(await rejectionOf(recovery.tasks.remove(ID))).toMatchObject({
        code: 'WRONG_STATE',
        details: { taskId: ID, status },
      });
      expect([line.commits, traces()]).toEqual([[], before]);
    };
    await refused('processing');
    await world.until(first.recovery.shutdown({ timeoutMs: 1_000 }));
    await refused('orphaned');
  });

  it('is refused by an id that is none, and left alone where it can not be read', async () => {
    const { recovery } = world.proc({ over });
    expect(await rejectionOf(recovery.tasks.remove('a{b'))).toMatchObject({ code: 'INVALID_ID' });
    await expect(recovery.tasks.remove('nobody')).resolves.toBe(false);
    const task = recovery.withRecovery(() => 1, { name: 'n', taskId: () => ID });
    await task();
    partitions
      .find((each) => each.records.has(keys.head(ID)))
      ?.records.get(keys.head(ID))
      ?.set('status', '?');
    expect(await rejectionOf(recovery.tasks.remove(ID))).toMatchObject({ code: 'CORRUPT_RECORD' });
    expect(traces().records).toEqual([`h:${ID}`]);
  });

  it('may be removed by two at once', async () => {
    const [one, other] = [world.proc({ over }), world.proc({ over })];
    await rejectionOf(wrapped(one, { end: boom })(BIG));
    const both = await Promise.all([one.recovery.tasks.remove(ID), other.recovery.tasks.remove(ID)]);
    // Neither can tell who of the two it was.
    expect(both).toContain(true);
    expect(traces()).toEqual(NOTHING);
  });
});
