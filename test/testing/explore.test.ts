import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isRecoveryError } from '../../src/errors.js';
import { createRecovery, memoryStorage } from '../../src/index.js';
import type { RecoveryError } from '../../src/errors.js';
import { exploreCrashes } from '../../src/testing/explore/explore.js';
import type { ExplorationReport, ExploreOptions } from '../../src/testing/explore/explore.js';
import { SEEDED } from './seeded-bugs.js';
import type { Definition, Order } from './seeded-bugs.js';

const ORDER: Order = { id: 'order-7', total: 12 };

async function errorOf(exploring: Promise<ExplorationReport>): Promise<RecoveryError> {
  const error: unknown = await exploring.then(
    (report) => expect.unreachable(`${report.runs} runs found nothing`),
    (thrown: unknown) => thrown,
  );
  if (!isRecoveryError(error)) throw error;
  return error;
}

const explore = (
  define: Definition,
  options: Partial<ExploreOptions<Order>> = {},
): Promise<ExplorationReport> => exploreCrashes<Order>({ define, input: ORDER, seed: 1, ...options });

describe.each(SEEDED)('$bug', ({ buggy, fixed, names }) => {
  it('is found, and the place is named', async () => {
    const error = await errorOf(explore(buggy));
    expect(error.code).toBe('CRASH_UNSAFE');
    expect(error.message).toMatch(names);
    // The one run is enough to see it again.
    const { path } = error.details;
    if (path !== '') {
      const again = await errorOf(explore(buggy, { path: String(path) }));
      expect(again.message).toBe(error.message);
    }
  });

  it('is no alarm once it is mended', async () => {
    const report = await explore(fixed);
    expect(report).toMatchObject({ exhaustive: true, notes: [] });
  });
});

describe('exploreCrashes', () => {
  const steps: Definition = (recovery, world) =>
    recovery.withRecovery(
      async (ctx, { total }: Order) => {
        for (let n = 0; n < 3; n += 1) {
          await ctx.step(`s${n}`, () => world.effect(ctx.idempotencyKey(`e${n}`), total + n));
        }
        return 'done';
      },
      { name: 'steps', taskId: ({ id }) => id },
    );

  it('lists the durable writes and breaks the run at each of them and each effect, in four ways', async () => {
    const report = await explore(steps);
    expect(report.writes).toEqual([
      'order-7: start',
      'order-7: step "s0"',
      'order-7: step "s1"',
      'order-7: step "s2"',
      'order-7: end (completed)',
    ]);
    expect(report.effects).toHaveLength(3);
    expect(report.runs).toBe(2 + 4 * (5 + 3));
  });

  it('goes on to falls of the process that recovers', async () => {
    const report = await explore(steps, { depth: 2, faults: ['crash-before', 'zombie-after'] });
    expect(report.exhaustive).toBe(true);
    expect(report.runs).toBeGreaterThan(2 + 2 * 8 + 2 * 2 * 8);
  });

  it('samples where there is too much to do, and says so', async () => {
    const report = await explore(steps, { depth: 2, maxRuns: 40 });
    expect(report).toMatchObject({ exhaustive: false, runs: 42 });
    expect(report.notes.join()).toContain('maxRuns');
  });

  it('asks the invariant about each run', async () => {
    const asked: number[] = [];
    const report = await explore(steps, {
      invariant: ({ effects }, result) => {
        asked.push(effects.length);
        expect(result).toBe('done');
      },
    });
    expect(asked).toHaveLength(report.runs - 1);
    const error = await errorOf(
      explore(steps, {
        invariant: ({ effects }) => {
          if (effects.some(({ calls }) => calls > 1)) throw new Error('called twice');
        },
      }),
    );
    expect(error.message).toContain('the invariant does not hold: Error: called twice');
  });

  it('takes tasks without an id of their own', async () => {
    const random: Definition = (recovery, world) =>
      recovery.withRecovery(
        async (ctx, { total }: Order) => {
          await ctx.step('one', () => world.effect('one', total));
          await world.sleep(60_000);
          return { total };
        },
        { name: 'random' },
      );
    expect(await explore(random)).toMatchObject({ exhaustive: true });
  });

  it('takes tasks that fail in the end, and ones that try again', async () => {
    const failing: Definition = (recovery, world) =>
      recovery.withRecovery(
        async (ctx) => {
          await ctx.step('one', () => world.effect('one'));
          throw new RangeError('too far');
        },
        { name: 'failing', taskId: ({ id }: Order) => id, maxAttempts: 2 },
      );
    expect((await explore(failing)).writes.at(-1)).toContain('end (failed)');
  });

  it('draws inputs from an arbitrary and shrinks the one that fails', async () => {
    const careless: Definition = (recovery, world) =>
      recovery.withRecovery(
        async (ctx, { total }: Order) => {
          for (let n = 0; n < total; n += 1) {
            const key = n < 2 ? `e${n}` : `e${n}-${ctx.attempt}`;
            await ctx.step(`s${n}`, () => world.effect(key));
          }
        },
        { name: 'careless', taskId: ({ id }) => id },
      );
    const input = fc.record({ id: fc.constant('o'), total: fc.integer({ min: 0, max: 6 }) });
    const error = await errorOf(explore(careless, { input, seed: 7 }));
    expect(error.code).toBe('CRASH_UNSAFE');
    expect(error.details['input']).toEqual({ id: 'o', total: 3 });
    const few = fc.record({ id: fc.constant('o'), total: fc.integer({ min: 0, max: 2 }) });
    expect(await explore(careless, { input: few, inputs: 4 })).toMatchObject({ exhaustive: true });
  });

  it('says when two undisturbed runs differ', async () => {
    let run = 0;
    const fickle: Definition = (recovery) =>
      recovery.withRecovery(
        async (ctx) => {
          run += 1;
          for (let n = 0; n < run % 2; n += 1) await ctx.step(`s${n}`, () => n);
        },
        { name: 'fickle', taskId: ({ id }: Order) => id },
      );
    const report = await explore(fickle);
    expect(report.exhaustive).toBe(false);
    expect(report.notes.join()).toContain('NOT_DETERMINISTIC');
  });

  it('gives real work some real time', async () => {
    const real: Definition = (recovery, world) =>
      recovery.withRecovery(
        async (ctx, { total }: Order) => {
          const read = await ctx.step('read', async () => {
            const { readFile } = await import('node:fs/promises');
            return (await readFile(new URL(import.meta.url))).length > 0;
          });
          await ctx.step('one', () => world.effect('one', total));
          return read;
        },
        { name: 'real', taskId: ({ id }) => id },
      );
    expect(await explore(real)).toMatchObject({ exhaustive: true });
  });

  it('gives up on a task that awaits what never comes, and names where', async () => {
    const stuck: Definition = (recovery) =>
      recovery.withRecovery(
        async (ctx) => {
          await ctx.step('one', () => 1);
          await new Promise(() => {});
        },
        { name: 'stuck', taskId: ({ id }: Order) => id },
      );
    const error = await errorOf(explore(stuck, { stallMs: 200 }));
    expect(error.code).toBe('EXPLORE_STALLED');
    expect(error.message).toContain('step "one"');
  });

  it('finds nothing right where no task is begun', async () => {
    const elsewhere = createRecovery({ storage: memoryStorage() });
    const task = elsewhere.withRecovery(({ name }) => name, { name: 'elsewhere', taskId: () => 'one' });
    const error = await errorOf(explore(() => () => task()));
    expect(error.code).toBe('INVALID_OPTION');
    expect(error.message).toContain('task.with(recovery)');
    expect(await explore((recovery) => () => task.with(recovery)())).toMatchObject({ exhaustive: true });
    await elsewhere.shutdown();
    const broken: Definition = () => {
      throw new TypeError('not defined');
    };
    await expect(explore(broken)).rejects.toThrow('not defined');
  });

  it.each<[object, string]>([
    [{ depth: 0 }, '"depth"'],
    [{ path: 'x' }, '"path"'],
    [{ faults: ['fire'] }, '"faults"'],
    [{ nonsense: 1 }, '"nonsense"'],
  ])('refuses %j', async (odd, named) => {
    const error = await errorOf(exploreCrashes(Object.assign({ define: steps, input: ORDER }, odd)));
    expect(error.code).toBe('INVALID_OPTION');
    expect(error.message).toContain(named);
  });
});
