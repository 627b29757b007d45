/** Tasks with one bug each that only a second worker shows, and their twins without it. */
import { isRecoveryError } from '../../src/errors.js';
import type { Recovery } from '../../src/runtime/recovery.js';
import type { RecoveryContext } from '../../src/runtime/context.js';
import type { ExploreWorld } from '../../src/testing/explore/incarnation.js';
import type { Definition, Order } from './seeded-bugs.js';

interface SeededRace {
  readonly bug: string;
  readonly buggy: Definition;
  readonly fixed: Definition;
  /** What the error must tell. */
  readonly names: RegExp;
}

type Call = (order: Order) => Promise<unknown>;

const charged =
  (world: ExploreWorld) =>
  async (ctx: RecoveryContext, { total }: Order): Promise<string> => {
    await ctx.step('charge', () => world.effect(ctx.idempotencyKey('charge'), total));
    return 'paid';
  };

const pay = (recovery: Recovery, world: ExploreWorld): Call =>
  recovery.withRecovery(charged(world), { name: 'pay', taskId: ({ id }: Order) => id });

/** A caller around the sound task, with state of its own worker. */
const around =
  (caller: (call: Call, world: ExploreWorld, state: { count: number }) => Call): Definition =>
  (recovery, world) =>
    caller(pay(recovery, world), world, { count: 0 });

export const SEEDED_RACES: readonly SeededRace[] = [
  {
    bug: 'who is refused does the work by hand',
    buggy: around((call, world) => async (order) => {
      try {
        return await call(order);
      } catch (error) {
        if (!isRecoveryError(error, 'TASK_RUNNING_ELSEWHERE')) throw error;
        await world.effect(`charge-${order.id}`, order.total);
        return 'paid';
      }
    }),
    fixed: around((call) => (order) => call(order)),
    names: /effects came that a run by one worker has not: "charge-order-7"/,
  },
  {
    bug: 'an effect whose key is a counter of the worker that tries again',
    buggy: around((call, world, state) => async (order) => {
      for (;;) {
        try {
          return await call(order);
        } catch (error) {
          if (!isRecoveryError(error, 'TASK_RUNNING_ELSEWHERE')) throw error;
          state.count += 1;
          await world.effect(`notice-${state.count}`, order.id);
          await world.sleep(1_000);
        }
      }
    }),
    fixed: around((call, world) => async (order) => {
      for (;;) {
        try {
          return await call(order);
        } catch (error) {
          if (!isRecoveryError(error, 'TASK_RUNNING_ELSEWHERE')) throw error;
          await world.sleep(1_000);
        }
      }
    }),
    names: /has not: "notice-1"/,
  },
  {
    bug: 'a number that is taken from what is there already',
    buggy: around((call, world) => async (order) => {
      await world.effect(`invoice-${world.effects.length + 1}`, order.id);
      return call(order);
    }),
    fixed: around((call, world) => async (order) => {
      await world.effect(`invoice-${order.id}`, order.id);
      return call(order);
    }),
    names: /has not: "invoice-[23]"/,
  },
  {
    bug: 'a check before the act, and a value of each worker',
    buggy: around((call, world) => async (order) => {
      const first = world.effects.length === 0;
      await world.effect('order', first ? 'new' : 'known');
      return call(order);
    }),
    fixed: around((call, world) => async (order) => {
      await world.effect('order', order.id);
      return call(order);
    }),
    names: /"order" came with two values: 'new', then 'known'/,
  },
  {
    bug: 'a task without an id of its own',
    buggy: (recovery, world) => recovery.withRecovery(charged(world), { name: 'pay' }),
    fixed: pay,
    names: /effects came that/,
  },
  {
    bug: 'a result that is made after the task, of what is there by then',
    buggy: around((call, world) => async (order) => {
      await call(order);
      await world.effect(`receipt-${order.id}`);
      return world.effects.reduce((sum, { calls }) => sum + calls, 0);
    }),
    fixed: around((call, world) => async (order) => {
      await call(order);
      await world.effect(`receipt-${order.id}`);
      return world.effects.length;
    }),
    names: /two results of one task: #1's call returned [23], #2's call returned [23]/,
  },
  {
    bug: 'a failed task that is called again, and an effect keyed by the attempt',
    buggy: (recovery, world) =>
      recovery.withRecovery(
        async (ctx) => {
          await world.effect(`try-${ctx.attempt}`);
          throw new RangeError('too far');
        },
        { name: 'far', taskId: ({ id }: Order) => id },
      ),
    fixed: (recovery, world) =>
      recovery.withRecovery(
        async (ctx) => {
          await world.effect(ctx.idempotencyKey('try'));
          throw new RangeError('too far');
        },
        { name: 'far', taskId: ({ id }: Order) => id },
      ),
    names: /has not: "try-2"/,
  },
];
