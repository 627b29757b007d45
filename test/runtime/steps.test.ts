import * as fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { RecoveryContext } from '../../src/runtime/context.js';
import { RecoveryError } from '../../src/errors.js';
import { crashedOnce } from './crashed-once.js';
import { settled } from '../support/manual-clock.js';
import { away, gate, rejectionOf, trapUnhandledRejections, World } from './harness.js';

trapUnhandledRejections();

describe.each([1, 3])('ctx.step, on %i partitions', (partitions) => {
  let world: World;
  beforeEach(() => void (world = new World(partitions)));
  afterEach(() => world.end());

  const crashed = <R>(
    body: (ctx: RecoveryContext, crash: () => Promise<never>) => Promise<R>,
    between?: () => Promise<void>,
  ): Promise<R> => crashedOnce(world, body, { between });

  /** Runs a body once. */
  function once<R>(body: (ctx: RecoveryContext) => Promise<R>): Promise<R> {
    const { recovery } = world.proc();
    return world.until(recovery.withRecovery(body, { name: 'n', taskId: () => 't' })());
  }

  it.each([
    ['a text', 'kept'],
    ['null', null],
    ['undefined', undefined],
    ['a long text, in a record of its own', 'x'.repeat(5_000)],
    ['a text at the edge', 'x'.repeat(253)],
    ['one over it', 'x'.repeat(254)],
    ['a nested value', { a: [1, { b: null }], ['__proto__']: 1 }],
  ])('gives %s back without running again', async (_what, value) => {
    let runs = 0;
    const work = async (): Promise<unknown> => {
      runs += 1;
      return value;
    };
    const got = await crashed(async (ctx, crash) => {
      const result = await ctx.step('a', work);
      if (ctx.attempt === 1) await crash();
      return { result, attempt: ctx.attempt };
    });
    expect(got).toEqual({ result: value, attempt: 2 });
    expect(runs).toBe(1);
  });

  it('property: whatever JSON holds comes back as it went in', async () => {
    await fc.assert(
      fc.asyncProperty(fc.jsonValue(), fc.string({ minLength: 1, maxLength: 40 }), async (value, text) => {
        world = new World(partitions);
        const name = `n${text.replaceAll(/[^\w:-]/g, 'é')}`;
        const first: unknown[] = [];
        const again = await crashed(async (ctx, crash) => {
          const got = await ctx.step(name, () => value);
          if (ctx.attempt > 1) return JSON.stringify(got);
          first.push(got);
          return crash();
        });
        expect(again).toBe(JSON.stringify(first[0]));
        await world.end();
      }),
      { numRuns: 40 },
    );
  });

  it('keepResult: false keeps only that it is done', async () => {
    let runs = 0;
    const got = await crashed(async (ctx, crash) => {
      const value = await ctx.step('a', () => ({ socket: new Map(), runs: (runs += 1) }), {
        keepResult: false,
      });
      if (ctx.attempt === 1) {
        expect(value?.runs).toBe(1);
        return crash();
      }
      return value ?? 'nothing';
    });
    expect([got, runs]).toEqual(['nothing', 1]);
  });

  it.each([
    ['a Map', () => new Map()],
    ['what is over the limit', () => 'x'.repeat(1024 * 1024)],
    [
      'a getter that throws',
      () => ({
        get bad(): never {
          throw new TypeError('no');
        },
      }),
    ],
  ])('%s is refused once, after the effect; then the step is done', async (_what, make) => {
    let runs = 0;
    const { recovery } = world.proc();
    const task = recovery.withRecovery(
      async (ctx) => {
        await ctx.step('a', () => {
          runs += 1;
          return make() as unknown;
        });
        return 'through';
      },
      { name: 'n', taskId: () => 't' },
    );
    const error = await rejectionOf(world.until(task()));
    expect(error).toMatchObject({ code: 'STEP_RESULT_NOT_STORABLE' });
    expect(String(error)).toContain('keepResult: false');
    await expect(world.until(task())).resolves.toBe('through');
    expect(runs).toBe(1);
  });

  it('what fn throws is not kept: a later attempt runs it again', async () => {
    let runs = 0;
    const { recovery } = world.proc();
    const task = recovery.withRecovery(
      (ctx) =>
        ctx.step('a', () => {
          runs += 1;
          if (runs === 1) throw new TypeError('not yet');
          return runs;
        }),
      { name: 'n', taskId: () => 't' },
    );
    await expect(world.until(task())).rejects.toThrow('not yet');
    await expect(world.until(task())).resolves.toBe(2);
  });

  it('a name is good once an attempt, for a step or a map', async () => {
    const codes = await once(async (ctx) => {
      await ctx.step('a', () => 1);
      const again = [
        rejectionOf(ctx.step('a', () => 2)),
        rejectionOf(ctx.map('a', [1], () => 2, { key: String })),
      ];
      return (await Promise.all(again)).map((error) => (error instanceof RecoveryError ? error.code : error));
    });
    expect(codes).toEqual(['DUPLICATE_STEP', 'DUPLICATE_STEP']);
  });

  it('refuses bad names, functions and options, and more names than the limit', async () => {
    const { recovery } = world.proc({ limits: { stepNames: 2 } });
    const task = recovery.withRecovery(
      async (ctx) => {
        const step: (...args: never[]) => unknown = ctx.step;
        const code = async (...args: readonly unknown[]): Promise<unknown> => {
          const error = await rejectionOf(Promise.resolve(Reflect.apply(step, null, args)));
          return error instanceof RecoveryError ? error.code : error;
        };
        const codes = [await code('', () => 1), await code('a', 1), await code('b', () => 1, { retries: 2 })];
        await ctx.step('c', () => 1);
        return [...codes, await code('d', () => 1)];
      },
      { name: 'n' },
    );
    await expect(world.until(task())).resolves.toEqual([
      'INVALID_ID',
      'INVALID_VALUE',
      'INVALID_OPTION',
      'LIMIT_EXCEEDED',
    ]);
  });

  it('a hundred at once share commits', async () => {
    const { recovery, line } = world.proc();
    const task = recovery.withRecovery(
      async (ctx) => {
        const before = line.commits.length;
        const steps = Array.from({ length: 100 }, (_, n) => ctx.step(`s${n}`, () => n));
        expect(await Promise.all(steps)).toEqual(steps.map((_, n) => n));
        return line.commits.length - before;
      },
      { name: 'n' },
    );
    expect(await world.until(task())).toBeLessThan(5);
  });

  it('resolves once the result is durable', async () => {
    const { recovery, line } = world.proc();
    const task = recovery.withRecovery((ctx) => ctx.step('a', () => 1), { name: 'n', taskId: () => 't' });
    const held = line.hold(({ batches }) =>
      batches.some(({ set }) => set?.some(({ fields }) => 's:a' in fields) === true),
    );
    const { result } = await task.start();
    await held.reached;
    let resolved = false;
    void result.then(() => (resolved = true));
    await settled();
    expect(resolved).toBe(false);
    held.release();
    await expect(world.until(result)).resolves.toBe(1);
  });

  it('in a shutdown the step in hand is kept', async () => {
    const first = world.proc();
    const [begun, go] = [gate(), gate()];
    let runs = 0;
    const task = first.recovery.withRecovery(
      (ctx) =>
        ctx.step('a', async () => {
          runs += 1;
          begun.open();
          await go.passed;
          return 'kept';
        }),
      { name: 'n', taskId: () => 't' },
    );
    const { result } = await task.start();
    const ended = rejectionOf(result);
    await begun.passed;
    const down = first.recovery.shutdown();
    await settled();
    go.open();
    await world.until(down);
    expect(await ended).toMatchObject({ code: 'SHUT_DOWN' });
    await expect(world.until(task.with(world.proc().recovery)())).resolves.toBe('kept');
    expect(runs).toBe(1);
  });

  it('a storage that is away releases the task, and a lost lease keeps nothing', async () => {
    const first = world.proc();
    const task = first.recovery.withRecovery(
      (ctx) =>
        ctx.step('a', () => {
          if (ctx.attempt === 1) first.line.down = away();
          return ctx.attempt;
        }),
      { name: 'n', taskId: () => 't' },
    );
    const lost = rejectionOf(world.until(task()));
    expect(await lost).toMatchObject({ code: 'LEASE_UNCERTAIN' });
    await expect(world.until(task.with(world.proc().recovery)())).resolves.toBe(2);
  });
});
