/** What was found by trying to break it. */
import { randomUUID } from 'node:crypto';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { exploreCrashes } from '../../src/testing/explore/explore.js';
import { ManualClock } from '../../src/testing/manual-clock.js';
import { raceWorkers } from '../../src/testing/race-workers.js';
import { errorOf, explore } from './explore-lab.js';
import type { Definition, Order } from './seeded-bugs.js';

const id = ({ id: own }: Order): string => own;
afterEach(() => vi.useRealTimers());

const steps =
  (count: number): Definition =>
  (recovery, world) =>
    recovery.withRecovery(
      async (ctx, _order: Order) => {
        for (let n = 0; n < count; n += 1)
          await ctx.step(`s${n}`, () => world.effect(ctx.idempotencyKey(`${n}`)));
      },
      { name: 'steps', taskId: id },
    );

/** One that calls another one, which has an id or is a new one each time. */
const family =
  (taskId: ((own: string) => string) | undefined): Definition =>
  (recovery, world) => {
    const child = recovery.withRecovery(
      (ctx, _own: string) => ctx.step('charge', () => world.effect(ctx.idempotencyKey('charge'))),
      { name: 'child', taskId },
    );
    return recovery.withRecovery((ctx, { id: own }: Order) => ctx.step('all', () => child(`${own}-child`)), {
      name: 'parent',
      taskId: id,
    });
  };

describe('exploreCrashes', () => {
  it('finds an effect that comes twice because a task without an id is called twice', async () => {
    const error = await errorOf(explore(family(undefined)));
    expect(error.message).toContain('effects came that a run without a fault has not: key("charge")');
    expect(await explore(family((own) => own))).toMatchObject({ exhaustive: true, notes: [] });
  });

  it('knows each of the tasks that were begun at once', async () => {
    const both: Definition = (recovery, world) => {
      const make = (name: string) =>
        recovery.withRecovery((ctx, { id: own }: Order) => world.effect(ctx.idempotencyKey('k'), own), {
          name,
          taskId: (order) => name + id(order),
        });
      const [a, b] = [make('a'), make('b')];
      return (order) => Promise.all([a(order), b(order)]);
    };
    const report = await explore(both);
    expect(report).toMatchObject({
      effects: ['key("k") of "aorder-7"', 'key("k") of "border-7"'],
      notes: [],
    });
  });

  it('takes a call of two tasks, one after the other, and a report by hand before it', async () => {
    const two: Definition = (recovery, world) => {
      const make = (name: string) =>
        recovery.withRecovery((ctx) => ctx.step('s', () => world.effect(ctx.idempotencyKey('k'))), {
          name,
          taskId: (order: Order) => name + id(order),
        });
      const [a, b] = [make('a'), make('b')];
      return async (order) => {
        await a(order);
        return b(order);
      };
    };
    const report = await explore(two, { recovery: { leaseMs: 300_000 } });
    expect(report).toMatchObject({ exhaustive: true, notes: [] });
    const reports: Definition = (recovery) => {
      const task = recovery.withRecovery((ctx) => ctx.step('s', () => 1), { name: 't', taskId: id });
      return async (order) => {
        await recovery.failures.record({ documentPath: '/a', error: new Error('seen') });
        return task(order);
      };
    };
    expect((await explore(reports)).writes[0]).toContain('report (failed)');
  });

  it('gives up on what keeps itself busy after the end', async () => {
    const poller: Definition = (recovery, world) => {
      const task = recovery.withRecovery((ctx) => ctx.step('s', () => 1), { name: 'p', taskId: id });
      void (async () => {
        for (;;) await world.sleep(1_000);
      })();
      return task;
    };
    expect(await errorOf(explore(poller, { stallMs: 200 }))).toMatchObject({ code: 'EXPLORE_STALLED' });
  }, 60_000);

  it('shares its runs among the depths, and makes no list of all of them', async () => {
    const report = await explore(steps(20), { depth: 3, maxRuns: 90 });
    expect(report.runs).toBeGreaterThan(60);
    expect(report.notes.map((note) => /depth \d/.exec(note)?.[0])).toEqual(['depth 1', 'depth 2', 'depth 3']);
    expect(report.notes.join()).not.toContain(' 0 were made');
  });

  it('draws each place now and then', async () => {
    const seen = new Set<string>();
    for (let seed = 1; seed <= 40; seed += 1) {
      const bad: Definition = (recovery, world) =>
        recovery.withRecovery((ctx) => ctx.step('s', () => world.effect(`e${ctx.attempt}`)), {
          name: 'bad',
          taskId: id,
        });
      await explore(bad, { seed, maxRuns: 1 }).catch((error: unknown) => {
        if (error instanceof Error && 'details' in error)
          seen.add(String(Reflect.get(Object(error.details), 'path')));
      });
    }
    expect(seen.size).toBeGreaterThan(4);
  });

  it('hands out copies to the invariant', async () => {
    const list: Definition = (recovery, world) =>
      recovery.withRecovery(
        async (ctx) => {
          await ctx.step('s', () => world.effect('e'));
          return { list: [1, 2] };
        },
        { name: 'list', taskId: id },
      );
    const invariant = ({ effects }: { readonly effects: readonly unknown[] }, result: unknown): void => {
      if (Array.isArray(effects)) effects.pop();
      expect(result).toEqual({ list: [1, 2] });
      Reflect.set(Object(result), 'list', []);
    };
    expect(await explore(list, { invariant })).toMatchObject({ exhaustive: true });
  });

  it('names a write for what it is, whatever the id begins with', async () => {
    const report = await exploreCrashes({ define: steps(1), input: { id: 'call 7', total: 1 }, seed: 1 });
    expect(report.writes).toHaveLength(3);
  });

  it.each([[() => 1], [{ n: () => 1 }]])('refuses an input that is no plain data: %o', async (input) => {
    const define = (): (() => Promise<void>) => () => expect.unreachable();
    expect(await errorOf(exploreCrashes<unknown>({ define, input }))).toMatchObject({
      code: 'INVALID_OPTION',
    });
  });

  it('works while fake timers are on', async () => {
    vi.useFakeTimers();
    expect(await explore(steps(1))).toMatchObject({ exhaustive: true });
  });
});

describe('raceWorkers', () => {
  it('takes keys that are drawn at random, and results as they are stored', async () => {
    const define: Definition = (recovery, world) =>
      recovery.withRecovery(
        async (ctx) => {
          const key = await ctx.step('id', () => randomUUID());
          await ctx.step('charge', () => world.effect(key));
          return { a: undefined };
        },
        { name: 'pay', taskId: id, ifRunning: 'join' },
      );
    expect(await raceWorkers({ define, input: { id: 'o', total: 1 }, seed: 3, runs: 20 })).toMatchObject({
      runs: 20,
    });
  });

  it('asks for no effects where it is told not to', async () => {
    const define: Definition = (recovery, world) =>
      recovery.withRecovery((ctx) => world.effect(`fence-${ctx.fence}`), { name: 'pay', taskId: id });
    const input = { id: 'o', total: 1 };
    const report = await raceWorkers({ define, input, seed: 3, runs: 20, sameEffects: false });
    expect(report.runs).toBe(20);
  });
});

describe('ManualClock', () => {
  it.each([Number.NaN, -1, Infinity])('refuses to let %d ms pass', async (ms) => {
    const clock = new ManualClock();
    await expect(clock.advance(ms)).rejects.toMatchObject({ code: 'INVALID_OPTION' });
    await expect(clock.freeze(ms)).rejects.toMatchObject({ code: 'INVALID_OPTION' });
    expect(clock.monotonicMs()).toBe(0);
  });
});
