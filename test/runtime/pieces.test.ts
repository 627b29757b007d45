import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { RecoveryContext } from '../../src/runtime/context.js';
import { keys } from '../../src/state/keys.js';
import { ITEM_PREFIX } from '../../src/state/ledger.js';
import { crashedOnce } from './crashed-once.js';
import { gate, LEASE_MS, rejectionOf, trapUnhandledRejections, World } from './harness.js';
import type { Call } from './harness.js';

trapUnhandledRejections();

const upTo = (count: number): number[] => Array.from({ length: count }, (_, n) => n);
const key = (item: unknown): string => String(item);

describe.each([1, 3])('the pieces of a task, on %i partitions', (partitions) => {
  let world: World;
  beforeEach(() => void (world = new World(partitions)));
  afterEach(() => world.end());

  it('when all is done but the result, only the rest of the function runs', async () => {
    const ran: string[] = [];
    const got = await crashedOnce(world, async (ctx, crash) => {
      ran.push(`begin ${ctx.attempt}`);
      const text = await ctx.step('extract', () => ran.push('step'));
      const pages = await ctx.map('pages', upTo(3), (page) => ran.push(`page ${page}`), { key });
      ran.push(`rest ${ctx.attempt}`);
      return ctx.attempt === 1 ? crash() : [text, ...pages];
    });
    expect(ran).toEqual(['begin 1', 'step', 'page 0', 'page 1', 'page 2', 'rest 1', 'begin 2', 'rest 2']);
    expect(got).toEqual([2, 3, 4, 5]);
  });

  it('a clean restart forgets checkpoints, and keeps steps and items', async () => {
    const ran: unknown[] = [];
    const got = await crashedOnce(
      world,
      async (ctx, crash) => {
        await ctx.step('extract', () => ran.push('step'));
        await ctx.map('pages', upTo(2), (page) => ran.push(page), { key });
        if (ctx.attempt > 1) return { reached: ctx.reached('half'), from: ctx.resumedFrom };
        await ctx.createCheckpoint({ name: 'half', progressPercent: 50 });
        return crash();
      },
      {
        strategies: [
          { name: 'anew', decide: () => ({ action: 'restart', reason: 'because', evidence: {} }) },
        ],
      },
    );
    expect(got).toEqual({ reached: false, from: null });
    expect(ran).toEqual(['step', 0, 1]);
  });

  it('idempotency keys are the same in every attempt, and differ by name, task, item and namespace', async () => {
    const used: string[][] = [];
    const body = async (ctx: RecoveryContext): Promise<string[]> => {
      const items = await ctx.map('m', upTo(2), (_item, { idempotencyKey }) => idempotencyKey, { key });
      const own = [ctx.idempotencyKey('a'), ctx.idempotencyKey('b'), ctx.idempotencyKey('m'), ...items];
      used.push(own);
      return own;
    };
    const again = await crashedOnce(world, async (ctx, crash) => {
      const own = await body(ctx);
      return ctx.attempt === 1 ? crash() : own;
    });
    expect(used[0]).toEqual(again);
    for (const namespace of ['rekindle', 'other']) {
      const { recovery } = world.proc({ namespace });
      const task = recovery.withRecovery(body, { name: 'k', taskId: () => 'u' });
      await world.until(task());
    }
    const all = used.slice(1).flat();
    expect(new Set(all).size).toBe(all.length);
    for (const each of all) expect(each).toMatch(/^[\w-]{43}$/);
  });

  it('an idempotency key needs a name, and can be had after the end', async () => {
    const { recovery } = world.proc();
    const kept: RecoveryContext[] = [];
    await world.until(recovery.withRecovery((ctx) => void kept.push(ctx), { name: 'n' })());
    expect(() => kept[0]?.idempotencyKey('')).toThrow('The name is empty');
    expect(kept[0]?.idempotencyKey('a')).toHaveLength(43);
    const late = [kept[0]?.step('a', () => 1), kept[0]?.map('m', [1], () => 1, { key })];
    for (const each of late)
      expect(await rejectionOf(each ?? Promise.resolve())).toMatchObject({ code: 'CONTEXT_CLOSED' });
  });

  describe('discover', () => {
    /** Attempt 1 dies before anything is kept. */
    async function discovered(
      answer: unknown,
      count = 4,
    ): Promise<{ ran: number[]; asked: unknown[]; got: unknown }> {
      const [ran, asked]: [number[], unknown[]] = [[], []];
      const got = await crashedOnce(
        world,
        async (ctx, crash) => {
          if (ctx.attempt === 1) return crash();
          const work = (item: number): string => `${ran.push(item)}`;
          return ctx.map('m', upTo(count), (item) => (work(item), `ran ${item}`), { key });
        },
        {
          discover: (map, itemKeys) => {
            asked.push([map, ...itemKeys]);
            // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- wrong answers are given, too
            return answer as never;
          },
        },
      );
      return { ran, asked, got };
    }

    it('what is done already is kept, and does not run', async () => {
      const { ran, asked, got } = await discovered(
        new Map([
          ['1', 'found 1'],
          ['9', 'no item'],
        ]),
      );
      expect(asked).toEqual([['m', '0', '1', '2', '3']]);
      expect([ran, got]).toEqual([
        [0, 2, 3],
        ['ran 0', 'found 1', 'ran 2', 'ran 3'],
      ]);
    });

    it.each([null, undefined, new Map()])('%s: everything runs', async (answer) => {
      expect((await discovered(answer)).ran).toEqual(upTo(4));
    });

    it.each([{ 1: 'found' }, ['1']])('refuses %j', async (answer) => {
      expect(await rejectionOf(discovered(answer))).toMatchObject({ code: 'INVALID_VALUE' });
    });

    it('is not asked about an empty map, on a first attempt, or when there is a ledger', async () => {
      expect((await discovered(new Map(), 0)).asked).toEqual([]);
      world = new World(partitions);
      const discover = vi.fn(() => new Map());
      await crashedOnce(
        world,
        async (ctx, crash) => {
          await ctx.map('m', [1], () => 1, { key });
          return ctx.attempt === 1 ? crash() : 1;
        },
        { discover },
      );
      expect(discover).not.toHaveBeenCalled();
    });

    it('a crash in the middle of writing it down: the hook is asked again', async () => {
      const [second, third] = [world.proc(), world.proc()];
      const count = 1_200;
      const known = new Map(upTo(count).map((item) => [String(item), item]));
      let [asked, ran] = [0, 0];
      const dead = gate();
      const pages: Call[] = [];
      const marks = ({ batches }: Call): boolean =>
        batches.some(({ set }) => set?.some(({ fields }) => `${ITEM_PREFIX}1100` in fields) === true);
      const body = (ctx: RecoveryContext): Promise<number[]> => {
        if (ctx.attempt === 1) throw new Error('again');
        const work = (item: number): number => {
          ran += 1;
          return item;
        };
        return ctx.map('m', upTo(count), work, { key });
      };
      const options = {
        name: 'n',
        taskId: () => 't',
        discover: () => {
          asked += 1;
          return known;
        },
      };
      const task = second.recovery.withRecovery(body, options);
      expect(await rejectionOf(world.until(task()))).toMatchObject({ message: 'again' });
      const held = second.line.hold((call) => marks(call) && pages.push(call) > 0);
      const { result } = await task.start();
      result.catch(() => {});
      await held.reached;
      second.crash();
      dead.open();
      await world.clock.advance(LEASE_MS + 1);
      expect(await world.until(task.with(third.recovery)())).toEqual(upTo(count));
      expect([asked, ran]).toEqual([2, 0]);
    });
  });

  it('item_completed is stored and heard, where it is asked for', async () => {
    for (const optionalEvents of [[], ['item_completed']] as const) {
      world = new World(partitions);
      const { recovery, heard } = world.proc({ optionalEvents });
      const body = (ctx: RecoveryContext): Promise<unknown> =>
        ctx.map('m', upTo(3), (item) => (item === 1 ? Promise.reject(new Error('no')) : item), {
          key,
          keepResults: false,
          minSuccessRatio: 0.5,
        });
      await world.until(recovery.withRecovery(body, { name: 'n', taskId: () => 't' })());
      const items = heard.filter(({ event }) => event === 'item_completed');
      expect(items.map(({ details }) => [details['map'], details['key'], details['index']])).toEqual(
        optionalEvents.length === 0
          ? []
          : [
              ['m', '0', '0'],
              ['m', '2', '2'],
            ],
      );
    }
  });

  it(
    'a map of 100,000 items: bounded pages, a field an item, and nothing read again',
    { timeout: 120_000 },
    async () => {
      const count = 100_000;
      const first = world.proc();
      let [ran, most] = [0, 0];
      const task = first.recovery.withRecovery(
        async (ctx) => {
          const work = (): void => void (ran += 1);
          const outcome = await ctx.map('m', upTo(count), work, {
            key,
            keepResults: false,
            concurrency: 500,
          });
          if (ctx.attempt === 1) throw new Error('again');
          return outcome;
        },
        { name: 'n', taskId: () => 't' },
      );
      expect(await rejectionOf(world.until(task()))).toMatchObject({ message: 'again' });
      const fields = new Map<string, number>();
      for (const { set } of first.line.commits) {
        for (const { key: record, fields: written } of set ?? []) {
          if (!/^m\d/.test(record)) continue;
          most = Math.max(most, Object.keys(written).length);
          fields.set(record, (fields.get(record) ?? 0) + Object.keys(written).length);
        }
      }
      // Each item was written once, in records of a size that a server removes without a pause.
      expect([...fields.values()].reduce((sum, each) => sum + each, 0)).toBe(count);
      expect(Math.max(...fields.values())).toBeLessThan(2_000);
      expect(most).toBeLessThanOrEqual(500);
      expect(fields.has(keys.ledger('t', 'm', 99))).toBe(true);
      const written = first.line.commits.length;
      await expect(world.until(task())).resolves.toEqual({ done: count, failed: [] });
      expect(ran).toBe(count);
      expect(first.line.commits.length - written).toBeLessThan(5);
    },
  );
});
