import * as fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { RecoveryContext } from '../../src/runtime/context.js';
import { crashedOnce } from './crashed-once.js';
import { rejectionOf, trapUnhandledRejections, World } from './harness.js';
import { callable, upTo } from './lab.js';

trapUnhandledRejections();

const key = (item: unknown): string => String(item);

describe.each([1, 3])('ctx.map, on %i partitions', (partitions) => {
  let world: World;
  beforeEach(() => void (world = new World(partitions)));
  afterEach(() => world.end());

  const task = <R>(body: (ctx: RecoveryContext) => Promise<R>, options?: Parameters<World['proc']>[0]) =>
    callable(world, body, options);

  it('gives results in input order, as many at once as asked for', async () => {
    let [running, most] = [0, 0];
    const { call } = task((ctx) =>
      ctx.map(
        'm',
        upTo(20),
        async (item, { index, key: name }) => {
          most = Math.max(most, (running += 1));
          for (let turn = 0; turn < 20 - item; turn += 1) await Promise.resolve();
          running -= 1;
          return `${item} ${index} ${name}`;
        },
        { key, concurrency: 4 },
      ),
    );
    await expect(call()).resolves.toEqual(upTo(20).map((n) => `${n} ${n} ${n}`));
    expect(most).toBe(4);
  });

  it('property: over any crash each result is there once, finished items do not run again, keys stay', async () => {
    const shape = fc.record({
      count: fc.integer({ min: 0, max: 30 }),
      concurrency: fc.integer({ min: 1, max: 8 }),
      dieAfter: fc.nat(30),
      /** Items of the second attempt: some gone, in another order, some new. */
      later: fc.uniqueArray(fc.nat(40), { maxLength: 40 }),
    });
    await fc.assert(
      fc.asyncProperty(shape, async ({ count, concurrency, dieAfter, later }) => {
        world = new World(partitions);
        const [runs, seen] = [new Map<number, number>(), new Map<number, Set<string>>()];
        let ended = 0;
        const got = await crashedOnce(world, async (ctx, crash) => {
          const items = ctx.attempt === 1 ? upTo(count) : later;
          const results = await ctx.map(
            'm',
            items,
            async (item, { idempotencyKey }) => {
              seen.set(item, (seen.get(item) ?? new Set()).add(idempotencyKey));
              runs.set(item, (runs.get(item) ?? 0) + 1);
              if (ctx.attempt === 1 && (ended += 1) > dieAfter) return crash();
              return item * 2;
            },
            { key, concurrency },
          );
          return ctx.attempt === 1 ? crash() : results;
        });
        expect(got).toEqual(later.map((item) => item * 2));
        const twice = [...runs.values()].filter((times) => times > 1);
        expect(twice.length).toBeLessThanOrEqual(concurrency);
        expect(Math.max(0, ...twice)).toBeLessThanOrEqual(2);
        for (const used of seen.values()) expect(used.size).toBe(1);
        expect(new Set([...seen.values()].map((used) => [...used][0])).size).toBe(seen.size);
        await world.end();
      }),
      { numRuns: 60 },
    );
  });

  it('failed items are listed, and run again on the next attempt only', async () => {
    const runs: string[] = [];
    const { call } = task((ctx) =>
      ctx.map(
        'm',
        upTo(5),
        (item) => {
          runs.push(`${ctx.attempt}:${item}`);
          if (ctx.attempt === 1 && item % 2 === 1) throw new TypeError(`not ${item}`);
          return item;
        },
        { key, concurrency: 2 },
      ),
    );
    expect(await rejectionOf(call())).toMatchObject({
      code: 'ITEMS_FAILED',
      details: {
        map: 'm',
        total: 5,
        failed: [
          { key: '1', error: { name: 'TypeError', message: 'not 1', code: null } },
          { key: '3', error: { message: 'not 3' } },
        ],
      },
    });
    await expect(call()).resolves.toEqual(upTo(5));
    expect(runs.slice(5)).toEqual(['2:1', '2:3']);
  });

  it.each([
    [0.6, true],
    [0.8, true],
    [0.81, false],
    [1, false],
  ])('with minSuccessRatio %d, 4 of 5 done: enough is %s', async (minSuccessRatio, enough) => {
    const { call } = task(async (ctx) => {
      const work = (item: number): number | Promise<never> =>
        item === 2 ? Promise.reject(new Error('no')) : item;
      const { results, failed } = await ctx.map('m', upTo(5), work, { key, minSuccessRatio });
      return { results: results.map((each) => each ?? null), failed };
    });
    if (!enough) return expect(await rejectionOf(call())).toMatchObject({ code: 'ITEMS_FAILED' });
    await expect(call()).resolves.toEqual({
      results: [0, 1, null, 3, 4],
      failed: [{ key: '2', error: { name: 'Error', message: 'no', code: null } }],
    });
  });

  it('keepResults: false counts, also what an earlier attempt has done', async () => {
    let runs = 0;
    const got = await crashedOnce(world, async (ctx, crash) => {
      const work = (): unknown => {
        runs += 1;
        return new Map();
      };
      const count = await ctx.map('m', upTo(4), work, { key, keepResults: false });
      return ctx.attempt === 1 ? crash() : count;
    });
    expect([got, runs]).toEqual([{ done: 4, failed: [] }, 4]);
  });

  it('no items: nothing is written', async () => {
    const { call, line } = task(async (ctx) => ({
      empty: await ctx.map('m', [], () => 1, { key }),
      outcome: await ctx.map('o', [], () => 1, { key, minSuccessRatio: 1 }),
    }));
    await expect(call()).resolves.toEqual({ empty: [], outcome: { results: [], failed: [] } });
    const fields = line.commits.flatMap(({ set = [] }) => set.flatMap((put) => Object.keys(put.fields)));
    expect(fields.filter((field) => field.startsWith('m:'))).toEqual([]);
  });

  it.each<[string, unknown, unknown, string]>([
    ['two keys alike', ['a', 'b', 'a'], { key }, 'DUPLICATE_KEY'],
    ['an empty key', [''], { key }, 'INVALID_ID'],
    ['no key', ['a'], {}, 'INVALID_OPTION'],
    ['no options', ['a'], undefined, 'INVALID_OPTION'],
    ['no list', 'abc', { key }, 'INVALID_VALUE'],
    ['no lanes', ['a'], { key, concurrency: 0 }, 'INVALID_OPTION'],
    ['a ratio over 1', ['a'], { key, minSuccessRatio: 1.1 }, 'INVALID_OPTION'],
    ['another option', ['a'], { key, retries: 1 }, 'INVALID_OPTION'],
  ])('refuses %s before an item runs', async (_what, items, options, code) => {
    let runs = 0;
    const { call } = task(async (ctx) => {
      const map: (...args: never[]) => unknown = ctx.map;
      await Reflect.apply(map, null, ['m', items, () => (runs += 1), options]);
    });
    expect(await rejectionOf(call())).toMatchObject({ code });
    expect(runs).toBe(0);
  });
});
