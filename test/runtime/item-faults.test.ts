import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { RecoveryError } from '../../src/errors.js';
import type { RecoveryContext } from '../../src/runtime/context.js';
import { keys } from '../../src/state/keys.js';
import { ITEM_PREFIX } from '../../src/state/ledger.js';
import { crashedOnce, overwrite } from './crashed-once.js';
import { away, gate, rejectionOf, trapUnhandledRejections, World } from './harness.js';
import { callable, upTo } from './lab.js';

trapUnhandledRejections();

const key = (item: unknown): string => String(item);

describe.each([1, 3])('ctx.map when things go wrong, on %i partitions', (partitions) => {
  let world: World;
  beforeEach(() => void (world = new World(partitions)));
  afterEach(() => world.end());

  const task = <R>(body: (ctx: RecoveryContext) => Promise<R>, options?: Parameters<World['proc']>[0]) =>
    callable(world, body, options);

  it('a result that JSON cannot hold stops the lanes; its item is done, and the others are not lost', async () => {
    const runs: number[] = [];
    const { call } = task(async (ctx) => {
      const results = await ctx.map(
        'm',
        upTo(10),
        (item): unknown => {
          runs.push(item);
          return item === 3 ? new Map() : item;
        },
        { key, concurrency: 2 },
      );
      return results.map((each) => each ?? null);
    });
    const error = await rejectionOf(call());
    expect(error).toMatchObject({ code: 'STEP_RESULT_NOT_STORABLE' });
    expect(String(error)).toContain('keepResults: false');
    expect(runs.length).toBeLessThanOrEqual(6);
    const results = await call();
    expect(results).toEqual(upTo(10).map((n) => (n === 3 ? null : n)));
    expect(runs.toSorted((a, b) => a - b)).toEqual(upTo(10));
  });

  it('a storage that is away is no failure of the item', async () => {
    const runs: number[] = [];
    const { call } = task(async (ctx) => {
      const results = await ctx.map(
        'm',
        upTo(6),
        async (item) => {
          runs.push(item);
          if (ctx.attempt === 1 && item === 2) throw away();
          return item;
        },
        { key },
      );
      return { results, attempt: ctx.attempt };
    });
    expect(await rejectionOf(call())).toMatchObject({ code: 'STORAGE_UNAVAILABLE' });
    await expect(call()).resolves.toEqual({ results: upTo(6), attempt: 2 });
    expect(runs).toEqual([0, 1, 2, 2, 3, 4, 5]);
  });

  it('after a lost lease no lane takes another item', async () => {
    const runs: number[] = [];
    const both = gate();
    const { call, line } = task((ctx) =>
      ctx.map(
        'm',
        upTo(20),
        async (item) => {
          runs.push(item);
          line.down ??= runs.length === 4 ? away() : null;
          if (line.down !== null) {
            both.open();
            await new Promise((resolve) => {
              ctx.signal.addEventListener('abort', resolve);
            });
          }
          return item;
        },
        { key, concurrency: 3 },
      ),
    );
    const error = rejectionOf(call());
    await both.passed;
    expect(await error).toMatchObject({ code: 'LEASE_UNCERTAIN' });
    expect(runs.length).toBeLessThanOrEqual(6);
  });

  it('steps inside of items and two maps at once keep apart', async () => {
    const steps: string[] = [];
    const got = await crashedOnce(world, async (ctx, crash) => {
      const run = (map: string): Promise<string[]> =>
        ctx.map(
          map,
          upTo(6),
          async (item) => {
            const text = await ctx.step(`${map} ${item}`, () => {
              steps.push(`${map} ${item}`);
              return `${map}${item}`;
            });
            if (ctx.attempt === 1 && item === 3) return crash();
            return text;
          },
          { key, concurrency: 2 },
        );
      return Promise.all([run('a'), run('b')]);
    });
    expect(got).toEqual(['a', 'b'].map((map) => upTo(6).map((n) => `${map}${n}`)));
    expect(steps.length).toBe(new Set(steps).size);
  });

  it.each(['jnonsense', 'f[', '?', ''])(
    'an entry that was written over with %j runs again',
    async (entry) => {
      const runs: number[] = [];
      const got = await crashedOnce(
        world,
        async (ctx, crash) => {
          const results = await ctx.map('m', upTo(3), (item) => runs.push(item), { key, keepResults: false });
          return ctx.attempt === 1 ? crash() : results;
        },
        { between: () => overwrite(world.memory, keys.ledger('t', 'm', 0), { [`${ITEM_PREFIX}1`]: entry }) },
      );
      expect(got).toEqual({ done: 3, failed: [] });
      expect(runs).toEqual([0, 1, 2, 1]);
    },
  );

  it('what an item throws is bounded, and a list that changes meanwhile does not matter', async () => {
    const items = upTo(3);
    const { call } = task(async (ctx) => {
      const error = await rejectionOf(
        ctx.map(
          'm',
          items,
          (item) => {
            items.push(99);
            if (item === 1) throw new RecoveryError('INVALID_VALUE', 'x'.repeat(100_000));
          },
          { key },
        ),
      );
      return JSON.stringify(error instanceof RecoveryError ? error.details : null);
    });
    const text = await call();
    expect(text.length).toBeLessThan(10_000);
    expect(JSON.parse(text)).toMatchObject({
      total: 3,
      failed: [{ key: '1', error: { code: 'INVALID_VALUE' } }],
    });
  });
});
