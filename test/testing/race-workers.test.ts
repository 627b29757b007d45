import { describe, expect, it, vi } from 'vitest';
import { isRecoveryError } from '../../src/errors.js';
import type { RecoveryError } from '../../src/errors.js';
import { MemoryPartition } from '../../src/storage/memory.js';
import { raceWorkers } from '../../src/testing/index.js';
import type { RaceOptions, RaceReport } from '../../src/testing/index.js';
import type { Definition, Order } from './seeded-bugs.js';
import { SEEDED } from './seeded-bugs.js';
import { SEEDED_RACES } from './seeded-races.js';

const ORDER: Order = { id: 'order-7', total: 12 };

const race = (define: Definition, options: Partial<RaceOptions<Order>> = {}): Promise<RaceReport> =>
  raceWorkers<Order>({ define, input: ORDER, seed: 1, ...options });

async function errorOf(racing: Promise<RaceReport>): Promise<RecoveryError> {
  const error: unknown = await racing.then(
    ({ runs }) => expect.unreachable(`${runs} runs found nothing`),
    (thrown: unknown) => thrown,
  );
  if (!isRecoveryError(error)) throw error;
  return error;
}

describe.each(SEEDED_RACES)('$bug', ({ buggy, fixed, names }) => {
  it('is found, whatever the seed, told in a few lines, and seen again by seed and path', async () => {
    for (const seed of [1, 2, 3, 4]) {
      const error = await errorOf(race(buggy, { seed }));
      expect(error.code).toBe('CRASH_UNSAFE');
      expect(error.message).toMatch(names);
      expect(error.message).toContain(`Repeat it with seed: ${seed}, path: '`);
      const again = await errorOf(race(buggy, { seed, path: String(error.details['path']) }));
      expect(again.message).toBe(error.message);
    }
  });

  it.each([2, 3, 5])('is no alarm once it is mended, with %i workers', async (workers) => {
    const report = await race(fixed, { workers, runs: 150 });
    expect(report.runs).toBe(150);
    expect(report.orders).toBeGreaterThan(75);
  });
});

describe('raceWorkers', () => {
  it.each(SEEDED)('no alarm on the mended twin of: $bug', async ({ fixed }) => {
    expect(await race(fixed, { workers: 3, runs: 60 })).toMatchObject({ runs: 60 });
  });

  const long: Definition = (recovery, world) =>
    recovery.withRecovery(
      async (ctx, { total }: Order) => {
        await ctx.map('parts', ['a', 'b', 'c'], (part) => world.effect(`part-${part}`, total), {
          key: (part) => part,
          concurrency: 2,
        });
        await world.sleep(120_000);
        await ctx.createCheckpoint({ name: 'slept', progressPercent: 60 });
        return ctx.step('sum', () => total * 3);
      },
      { name: 'long', taskId: ({ id }) => id },
    );

  it('takes tasks that outlast their lease, and says what it has tried', async () => {
    const report = await race(long, { workers: 4, recovery: { leaseMs: 10_000 } });
    expect(report).toMatchObject({ runs: 100, seed: 1 });
    expect(report.effects).toEqual(['"part-a"', '"part-b"', '"part-c"']);
  });

  it('is the same each time', async () => {
    const told = async (seed: number): Promise<RaceReport> => race(long, { seed, runs: 20 });
    expect(await told(3)).toEqual(await told(3));
  });

  it('asks the invariant about each race, and about the run by one worker', async () => {
    const results: unknown[] = [];
    const { runs } = await race(long, { invariant: (_, result) => void results.push(result) });
    expect(results).toEqual(Array.from({ length: runs + 1 }, () => 36));
    const strict: Definition = (recovery, world) => {
      const call = long(recovery, world);
      return async (order) => {
        await world.effect('asked', order.id);
        return call(order);
      };
    };
    const invariant: RaceOptions<Order>['invariant'] = ({ effects }) => {
      const twice = effects.find(({ calls }) => calls > 1);
      if (twice !== undefined) throw new Error(`${twice.key} came twice`);
    };
    const error = await errorOf(race(strict, { invariant }));
    expect(error.message).toContain('the invariant does not hold: Error: asked came twice');
  });

  it('says when one worker alone is enough to break it', async () => {
    const [twoValues] = SEEDED.filter(({ bug }) => bug === 'one key for two effects');
    const error = await errorOf(race(twoValues?.buggy ?? long));
    expect(error.message).toContain('Even by one worker: the effect "order" came with two values');
  });

  it('takes refusals for what they are, and no other errors', async () => {
    const picky: Definition = (recovery, world) => {
      const call = long(recovery, world);
      return (order) =>
        call(order).catch((error: unknown) => {
          throw isRecoveryError(error, 'TASK_RUNNING_ELSEWHERE') ? new TypeError('no idea') : error;
        });
    };
    const error = await errorOf(race(picky));
    expect(error.message).toMatch(/#[12]'s call was rejected with TypeError: no idea; .* returned 36/);
  });

  it('gives up on a task that awaits what never comes, and names where', async () => {
    let calls = 0;
    const stuck: Definition = (recovery) =>
      recovery.withRecovery(
        async (ctx) => {
          await ctx.step('one', () => 1);
          calls += 1;
          if (calls > 1) await new Promise(() => {});
        },
        { name: 'stuck', taskId: ({ id }: Order) => id },
      );
    const error = await errorOf(race(stuck, { stallMs: 150 }));
    expect(error.code).toBe('EXPLORE_STALLED');
    expect(error.message).toContain('step "one"');
  });

  it.each<[object, string]>([
    [{ workers: 1 }, '"workers"'],
    [{ runs: 0 }, '"runs"'],
    [{ faults: [] }, '"faults"'],
    [{ define: 7 }, '"define"'],
  ])('refuses %j', async (odd, named) => {
    const error = await errorOf(raceWorkers(Object.assign({ define: long, input: ORDER }, odd)));
    expect(error.code).toBe('INVALID_OPTION');
    expect(error.message).toContain(named);
  });
});

describe('a storage that lets a stale token pass', () => {
  it('is found by a race, as two attempts that hold one lease', async () => {
    const { check } = MemoryPartition.prototype;
    const broken = vi.spyOn(MemoryPartition.prototype, 'check').mockImplementation(function lax(
      this: MemoryPartition,
      batch,
      nowMs,
    ) {
      const outcome = check.call(this, batch, nowMs);
      return outcome?.status === 'conflict' ? null : outcome;
    });
    try {
      const [sound] = SEEDED_RACES;
      const error = await errorOf(race(sound?.fixed ?? SEEDED_RACES[1]!.fixed));
      expect(error.message).toMatch(/two attempts held the lease of "order-7" at once/);
    } finally {
      broken.mockRestore();
    }
  });
});
