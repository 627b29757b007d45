import { randomUUID } from 'node:crypto';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createRecovery, memoryStorage } from '../../src/index.js';
import { currentTask } from '../../src/runtime/task-context.js';
import { exploreCrashes } from '../../src/testing/explore/explore.js';
import { errorOf, explore, ORDER } from './explore-lab.js';
import type { Definition, Order } from './seeded-bugs.js';

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
    expect(report).toMatchObject({ places: 5 + 3, runs: 2 + 4 * (5 + 3) });
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
    expect((await explore(failing, { fails: true })).writes.at(-1)).toContain('end (failed)');
    const error = await errorOf(explore(failing));
    expect(error.message).toMatch(/the undisturbed call was rejected[^]*RangeError: too far/);
    expect((await errorOf(explore(steps, { fails: true }))).message).toContain('returned although');
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

  it('knows keys of tasks without an id of their own, and those of currentTask()', async () => {
    const random: Definition = (recovery, world) => {
      return recovery.withRecovery(
        async (ctx, { total }: Order) => {
          await ctx.step('a', () => world.effect(ctx.idempotencyKey('a'), total));
          const own = currentTask();
          await ctx.step('b', () => world.effect(own?.idempotencyKey('b') ?? '', total));
          await ctx.map('c', [1, 2], (n, { idempotencyKey }) => world.effect(idempotencyKey, n), {
            key: String,
          });
        },
        { name: 'random' },
      );
    };
    const report = await explore(random);
    expect(report).toMatchObject({ exhaustive: true, notes: [] });
    expect(report.effects).toEqual([
      'key("a") of a task "random"',
      'key("b") of a task "random"',
      'key(item "1") of "c" of a task "random"',
      'key(item "2") of "c" of a task "random"',
    ]);
  });

  it('takes a key that is drawn in a step for what it is', async () => {
    const drawn: Definition = (recovery, world) =>
      recovery.withRecovery(
        async (ctx, { total }: Order) => {
          const key = await ctx.step('key', () => randomUUID());
          await ctx.step('charge', () => world.effect(key, total));
        },
        { name: 'drawn', taskId: ({ id }) => id },
      );
    const report = await explore(drawn, { faults: ['crash-before', 'zombie-before'] });
    expect(report.notes.join()).toContain('only how many there are is compared');
  });

  it('has stand-ins that outlive processes, and answers that are places too', async () => {
    const table: Definition = (recovery, world) => {
      const rows = world.outside('rows', () => new Map<string, number>());
      return recovery.withRecovery(
        async (ctx, { id, total }: Order) => {
          const price = await ctx.step('ask', () => world.call('the price', () => 2 * total));
          await ctx.step('save', () => world.call('save', () => void rows.set(id, price)));
          return rows.size;
        },
        { name: 'table', taskId: ({ id }) => id },
      );
    };
    const report = await explore(table);
    expect(report).toMatchObject({ exhaustive: true, effects: [], places: 4 + 2 });
    expect(report.runs).toBe(2 + 4 * (4 + 2));
  });

  it('compares results as the storage gives them back', async () => {
    const odd: Definition = (recovery) =>
      recovery.withRecovery(async (ctx) => ctx.step('odd', () => ({ a: undefined, b: -0 })), {
        name: 'odd',
        taskId: ({ id }: Order) => id,
      });
    expect(await explore(odd)).toMatchObject({ exhaustive: true, notes: [] });
  });

  it('refuses a path that leads nowhere, and names none where nothing was broken', async () => {
    const error = await errorOf(explore(steps, { path: '99:crash-after' }));
    expect(error).toMatchObject({ code: 'INVALID_OPTION' });
    expect(error.message).toContain('no place 99');
    const never = await errorOf(explore(steps, { invariant: () => false }));
    expect(never.message).toContain('the invariant answered false');
    expect(never.message).not.toContain('Repeat it');
  });

  it('says when a run takes too many steps', async () => {
    const sleepy: Definition = (recovery, world) =>
      recovery.withRecovery((_ctx, _order: Order) => world.sleep(30 * 86_400_000), {
        name: 'sleepy',
        taskId: ({ id }) => id,
      });
    const error = await errorOf(explore(sleepy, { stallMs: 100 }));
    expect(error).toMatchObject({ code: 'EXPLORE_STALLED' });
    expect(error.message).toContain('sleep less');
  }, 60_000);

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
    [{ faults: [] }, '"faults"'],
    [{ nonsense: 1 }, '"nonsense"'],
  ])('refuses %j', async (odd, named) => {
    const error = await errorOf(exploreCrashes(Object.assign({ define: steps, input: ORDER }, odd)));
    expect(error.code).toBe('INVALID_OPTION');
    expect(error.message).toContain(named);
  });
});
