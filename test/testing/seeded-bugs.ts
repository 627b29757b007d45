/** Tasks with one bug each that an undisturbed run doesn't show, and their twins without it. */
import type { Recovery } from '../../src/runtime/recovery.js';
import type { RecoveryContext } from '../../src/runtime/context.js';
import type { TaskOptions } from '../../src/runtime/task-options.js';
import type { ExploreWorld } from '../../src/testing/explore/incarnation.js';

export interface Order {
  readonly id: string;
  readonly total: number;
}

type Context = RecoveryContext<{ readonly sum: number }>;
type Body = (ctx: Context, order: Order, world: ExploreWorld) => Promise<unknown>;
export type Definition = (recovery: Recovery, world: ExploreWorld) => (order: Order) => Promise<unknown>;

interface Seeded {
  readonly bug: string;
  readonly buggy: Definition;
  readonly fixed: Definition;
  /** What the error must name. */
  readonly names: RegExp;
}

/** A task of one function, defined anew for each process. */
function task(body: Body, options: Partial<TaskOptions<[Order]>> = {}): Definition {
  return (recovery, world) =>
    recovery.withRecovery((ctx: Context, order: Order) => body(ctx, order, world), {
      name: 'pay',
      taskId: ({ id }) => id,
      ...options,
    });
}

/** One with state beside the function, as a module or a class would keep it. */
function stateful<S>(
  state: () => S,
  body: (state: S, ...rest: Parameters<Body>) => Promise<unknown>,
): Definition {
  return (recovery, world) => {
    const kept = state();
    return task((...rest) => body(kept, ...rest))(recovery, world);
  };
}

const charge: Body = (ctx, { total }, world) => world.effect(ctx.idempotencyKey('charge'), total);

export const SEEDED: readonly Seeded[] = [
  {
    bug: 'an effect without a key of its own',
    buggy: task(async (ctx, { total }, world) => {
      await ctx.step('charge', () => world.effect(`charge-${ctx.attempt}`, total));
    }),
    fixed: task(async (ctx, order, world) => {
      await ctx.step('charge', () => charge(ctx, order, world));
    }),
    names: /start|step "charge"/,
  },
  {
    bug: 'a key made of the time',
    buggy: task(async (ctx, { total }, world) => {
      await ctx.step('charge', () => world.effect(`charge-${world.now()}`, total));
    }),
    fixed: task(async (ctx, { id, total }, world) => {
      await ctx.step('charge', () => world.effect(`charge-${id}`, total));
    }),
    names: /effect "charge-|start/,
  },
  {
    bug: 'a value that is another one the second time',
    buggy: task(async (ctx, _order, world) => {
      await ctx.step('stamp', () => world.effect(ctx.idempotencyKey('stamp'), world.now()));
    }),
    fixed: task(async (ctx, _order, world) => {
      const at = await ctx.step('time', () => world.now());
      await ctx.step('stamp', () => world.effect('stamp', typeof at));
    }),
    names: /two values/,
  },
  {
    bug: 'state kept in memory across a checkpoint',
    buggy: stateful(
      () => ({ sum: 0 }),
      async (state, ctx, { total }, _world) => {
        if (!ctx.reached('added')) {
          state.sum += total;
          await ctx.createCheckpoint({ name: 'added', progressPercent: 50 });
        }
        return state.sum;
      },
    ),
    fixed: task(async (ctx, { total }) => {
      if (!ctx.reached('added')) {
        await ctx.createCheckpoint({ name: 'added', progressPercent: 50, recoverableData: { sum: total } });
      }
      return ctx.lastCheckpoint?.recoverableData.sum;
    }),
    names: /checkpoint "added"/,
  },
  {
    bug: 'a checkpoint that is made before its effect',
    buggy: task(async (ctx, order, world) => {
      if (ctx.reached('charged')) return 'paid';
      await ctx.createCheckpoint({ name: 'charged', progressPercent: 50 });
      await charge(ctx, order, world);
      return 'paid';
    }),
    fixed: task(async (ctx, order, world) => {
      if (ctx.reached('charged')) return 'paid';
      await charge(ctx, order, world);
      await ctx.createCheckpoint({ name: 'charged', progressPercent: 50 });
      return 'paid';
    }),
    names: /checkpoint "charged"/,
  },
  {
    bug: 'a lost lease that is swallowed',
    buggy: task(async (ctx, order, world) => {
      try {
        await ctx.step('charge', () => charge(ctx, order, world));
        return await ctx.step('receipt', () => 'receipt');
      } catch {
        await world.effect(`refund-${order.id}`, order.total);
        return 'refunded';
      }
    }),
    fixed: task(async (ctx, order, world) => {
      try {
        await ctx.step('charge', () => charge(ctx, order, world));
        return await ctx.step('receipt', () => 'receipt');
      } catch (error) {
        if (ctx.signal.aborted) throw error;
        await world.effect(`refund-${order.id}`, order.total);
        return 'refunded';
      }
    }),
    names: /zombie-.*refund-/s,
  },
  {
    bug: 'a result that tells of the attempt',
    buggy: task(async (ctx) => ctx.step('n', () => 1).then((n) => n + ctx.attempt)),
    fixed: task(async (ctx) => ctx.step('n', () => 1).then((n) => n + 1)),
    names: /returned 3/,
  },
  {
    bug: 'a resumed run that thinks that all is done',
    buggy: task(async (ctx, order, world) => {
      if (ctx.resumedFrom !== null) return 'paid';
      await ctx.createCheckpoint({ name: 'begun', progressPercent: 30 });
      await ctx.step('charge', () => charge(ctx, order, world));
      return 'paid';
    }),
    fixed: task(async (ctx, order, world) => {
      if (ctx.resumedFrom === null) await ctx.createCheckpoint({ name: 'begun', progressPercent: 30 });
      await ctx.step('charge', () => charge(ctx, order, world));
      return 'paid';
    }),
    names: /checkpoint "begun"/,
  },
  {
    bug: 'a step whose name is another one each time',
    buggy: task(async (ctx, { total }, world) => {
      await ctx.step(`charge-${ctx.attempt}`, () => world.effect(`charge-${ctx.attempt}`, total));
      await ctx.step('receipt', () => 'receipt');
    }),
    fixed: task(async (ctx, { total }, world) => {
      await ctx.step('charge', () => world.effect('charge', total));
      await ctx.step('receipt', () => 'receipt');
    }),
    names: /effects (?:are missing|came)/,
  },
  {
    bug: 'an effect that nobody awaits',
    buggy: task(async (ctx, order, world) => {
      await ctx.step('charge', () => {
        void charge(ctx, order, world);
      });
      return 'paid';
    }),
    fixed: task(async (ctx, order, world) => {
      await ctx.step('charge', () => charge(ctx, order, world));
      return 'paid';
    }),
    names: /effects are missing/,
  },
  {
    bug: 'a result that is not kept, and used all the same',
    buggy: task(async (ctx, { total }) => {
      const doubled = await ctx.step('double', () => 2 * total, { keepResult: false });
      await ctx.step('other', () => 1);
      return doubled ?? null;
    }),
    fixed: task(async (ctx, { total }) => {
      const doubled = await ctx.step('double', () => 2 * total);
      await ctx.step('other', () => 1);
      return doubled;
    }),
    names: /step "double"/,
  },
  {
    bug: 'items that are counted beside the map',
    buggy: stateful(
      () => ({ seen: 0 }),
      async (state, ctx) => {
        await ctx.map('pages', ['a', 'b', 'c'], () => (state.seen += 1), {
          key: (page) => page,
          keepResults: false,
        });
        return state.seen;
      },
    ),
    fixed: task(async (ctx) => {
      const { done } = await ctx.map('pages', ['a', 'b', 'c'], () => {}, {
        key: (page) => page,
        keepResults: false,
      });
      return done;
    }),
    names: /items of "pages"/,
  },
  {
    bug: 'one key for two effects',
    buggy: task(async (ctx, { total }, world) => {
      await ctx.step('charge', () => world.effect('order', total)).catch(() => {});
      await ctx.step('bonus', () => world.effect('order', total / 10)).catch(() => {});
    }),
    fixed: task(async (ctx, { total }, world) => {
      await ctx.step('charge', () => world.effect('charge', total));
      await ctx.step('bonus', () => world.effect('bonus', total / 10));
    }),
    names: /two values/,
  },
  {
    bug: 'a verify that believes what it has not seen',
    buggy: task(async (ctx, order, world) => {
      const verify = () => ({ done: true, result: null }) as const;
      await ctx.step('charge', () => charge(ctx, order, world).then(() => null), { verify });
    }),
    fixed: task(async (ctx, order, world) => {
      const verify = () =>
        world.effects.length > 0 ? ({ done: true, result: null } as const) : ({ done: false } as const);
      await ctx.step('charge', () => charge(ctx, order, world).then(() => null), { verify });
    }),
    names: /effects are missing/,
  },
];
