import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { RecoveryContext } from '../../src/runtime/context.js';
import { keys } from '../../src/state/keys.js';
import { crashedOnce, overwrite } from './crashed-once.js';
import { rejectionOf, trapUnhandledRejections, untilAborted, World } from './harness.js';

trapUnhandledRejections();

describe.each([1, 3])('a step in doubt, on %i partitions', (partitions) => {
  let world: World;
  beforeEach(() => void (world = new World(partitions)));
  afterEach(() => world.end());

  const crashed = <R>(
    body: (ctx: RecoveryContext, crash: () => Promise<never>) => Promise<R>,
    between?: () => Promise<void>,
  ): Promise<R> => crashedOnce(world, body, { between });

  describe('verify', () => {
    /** Attempt 1 dies in the step; attempt 2 asks. */
    async function inDoubt(answer: unknown): Promise<{ runs: number; asked: string[]; got: unknown }> {
      let runs = 0;
      const asked: string[] = [];
      const got = await crashed(async (ctx, crash) => {
        const verify = async ({ idempotencyKey }: { idempotencyKey: string }): Promise<never> => {
          asked.push(idempotencyKey);
          expect(idempotencyKey).toBe(ctx.idempotencyKey('pay'));
          // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- wrong answers are given, too
          return answer as never;
        };
        const pay = async (): Promise<string> => {
          runs += 1;
          return ctx.attempt === 1 ? crash() : 'paid again';
        };
        return ctx.step('pay', pay, { verify });
      });
      return { runs, asked, got };
    }

    it('done: keeps its result and does not run', async () => {
      expect(await inDoubt({ done: true, result: 'paid' })).toMatchObject({ runs: 1, got: 'paid' });
    });

    it('not done: runs', async () => {
      const { runs, asked, got } = await inDoubt({ done: false });
      expect([runs, asked.length, got]).toEqual([2, 1, 'paid again']);
    });

    it.each([undefined, null, true, {}, { done: 1 }])('refuses the answer %j', async (answer) => {
      expect(await rejectionOf(inDoubt(answer))).toMatchObject({ code: 'INVALID_VALUE' });
    });

    it('is not asked before a first run, nor once there is a result', async () => {
      let asked = 0;
      const verify = (): { done: false } => {
        asked += 1;
        return { done: false };
      };
      const got = await crashed(async (ctx, crash) => {
        const value = await ctx.step('a', () => ctx.attempt, { verify });
        return ctx.attempt === 1 ? crash() : value;
      });
      expect([got, asked]).toEqual([1, 0]);
    });

    it('what it throws fails the attempt; the step stays in doubt and is asked about again', async () => {
      let [asked, runs] = [0, 0];
      const body = async (ctx: RecoveryContext, crash: () => Promise<never>): Promise<string> =>
        ctx.step(
          'a',
          async () => {
            runs += 1;
            return crash();
          },
          {
            verify: () => {
              asked += 1;
              if (asked === 1) throw new TypeError('the bank is closed');
              return { done: true, result: 'paid' };
            },
          },
        );
      await expect(crashed(body)).rejects.toThrow('the bank is closed');
      const task = world.proc().recovery.withRecovery((ctx) => body(ctx, () => untilAborted(ctx)), {
        name: 'n',
        taskId: () => 't',
      });
      await expect(world.until(task())).resolves.toBe('paid');
      expect([asked, runs]).toEqual([2, 1]);
    });
  });

  describe('an entry that something has written over', () => {
    it.each([
      ['in the head', keys.head('t'), { 's:a': 'jnonsense' }],
      ['in its record', keys.step('t', 'a'), { entry: '?' }],
    ])('%s: the step is in doubt', async (where, key, fields) => {
      const asked: number[] = [];
      const value = where === 'in the head' ? 'short' : 'long'.repeat(100);
      const got = await crashed(
        async (ctx, crash) => {
          const verify = (): { done: true; result: string } => {
            asked.push(ctx.attempt);
            return { done: true, result: value };
          };
          const result = await ctx.step('a', () => value, { verify });
          return ctx.attempt === 1 ? crash() : result;
        },
        () => overwrite(world.memory, key, fields),
      );
      expect([got, asked]).toEqual([value, [2]]);
    });
  });
});
