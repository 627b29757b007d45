import * as fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, expectTypeOf, it } from 'vitest';
import type { RecoveryContext } from '../../src/runtime/context.js';
import { currentTask } from '../../src/runtime/task-context.js';
import type { JsonObject } from '../../src/runtime/task-options.js';
import { settled } from '../support/manual-clock.js';
import { gate, rejectionOf, trapUnhandledRejections, untilAborted, World } from './harness.js';
import { die, fieldsOf, startQuietly, written } from './lab.js';

trapUnhandledRejections();

let world: World;
beforeEach(() => void (world = new World()));
afterEach(() => world.end());

describe('userContext', () => {
  it('is captured at the call, stored, and there again after a crash in another process', async () => {
    const old = world.proc();
    let tenant = 'acme';
    const asked: unknown[][] = [];
    const task = old.recovery.withRecovery(
      (ctx, _id: string, _n: number) => {
        expectTypeOf(ctx.userContext).toEqualTypeOf<JsonObject | null>();
        return ctx.attempt === 1 ? untilAborted(ctx) : ctx.userContext;
      },
      {
        name: 'n',
        taskId: (id) => id,
        userContext: (...args) => {
          asked.push(args);
          return { tenant, roles: ['a', 'b'], nested: { n: 1, none: null } };
        },
      },
    );
    await startQuietly(task, 't', 7);
    tenant = 'other';
    await die(world, old);
    const next = world.proc();
    // The call that takes it back brings a context of its own, which is not asked for.
    await expect(task.with(next.recovery)('t', 7)).resolves.toEqual({
      tenant: 'acme',
      roles: ['a', 'b'],
      nested: { n: 1, none: null },
    });
    expect(asked[0]).toEqual(['t', 7]);
    expect(JSON.parse((await fieldsOf(world))?.['user'] ?? '')).toMatchObject({ tenant: 'acme' });
  });

  it('is that of the call, not of those that join it, nor of one that starts a failed task again', async () => {
    const { recovery } = world.proc();
    let user = 'first';
    const seen: unknown[] = [];
    const hold = gate();
    const task = recovery.withRecovery(
      async (ctx) => {
        await hold.passed;
        seen.push(ctx.userContext);
        if (ctx.attempt === 1) throw new Error('no');
      },
      { name: 'n', taskId: () => 't', userContext: () => ({ user }) },
    );
    const call = rejectionOf(task());
    await settled();
    user = 'second';
    const joined = rejectionOf(task());
    await settled();
    hold.open();
    await Promise.all([call, joined]);
    await task();
    expect(seen).toEqual([{ user: 'first' }, { user: 'first' }]);
  });

  it('is the same object each time, and null without the option', async () => {
    const { recovery } = world.proc();
    const captured = recovery.withRecovery((ctx) => ctx.userContext === ctx.userContext && ctx.userContext, {
      name: 'with',
      userContext: () => ({}),
    });
    const without = recovery.withRecovery((ctx) => ctx.userContext, { name: 'without' });
    await expect(captured()).resolves.toEqual({});
    await expect(without()).resolves.toBeNull();
  });

  it.each<[string, () => unknown, object]>([
    ['a text', () => 'acme', { code: 'INVALID_VALUE' }],
    ['nothing', () => undefined, { code: 'INVALID_VALUE' }],
    ['null', () => null, { code: 'INVALID_VALUE' }],
    ['a list', () => ['acme'], { code: 'INVALID_VALUE' }],
    ['a date in it', () => ({ a: [new Date(0)] }), { code: 'NOT_JSON', details: { path: '$.a[0]' } }],
    ['an instance', () => new Map(), { code: 'NOT_JSON' }],
    ['a promise', () => Promise.resolve({}), { code: 'NOT_JSON' }],
    [
      'over 4 KiB',
      () => ({ a: 'x'.repeat(4_096) }),
      { code: 'PAYLOAD_TOO_LARGE', details: { maxBytes: 4_096 } },
    ],
    ['over 4 KiB in UTF-8', () => ({ a: '€'.repeat(1_400) }), { code: 'PAYLOAD_TOO_LARGE' }],
    [
      'an error',
      () => {
        throw new TypeError('no session');
      },
      { message: 'no session' },
    ],
  ])('gives %s: the call is rejected, and nothing is written', async (_what, userContext, failure) => {
    const proc = world.proc();
    let runs = 0;
    const fn = (): number => (runs += 1);
    const options = { name: 'n', taskId: () => 't', userContext };
    const task: { (): Promise<unknown> } = Reflect.apply(proc.recovery.withRecovery, null, [fn, options]);
    expect(await rejectionOf(task())).toMatchObject(failure);
    expect([runs, await fieldsOf(world), await proc.recovery.tasks.get('t')]).toEqual([0, null, null]);
    expect(written(proc)).not.toContain('"h:t"');
  });

  it('an async hook that rejects, by mistake: refused, and no unhandled rejection', async () => {
    const unhandled: unknown[] = [];
    const others = process.listeners('unhandledRejection');
    process.removeAllListeners('unhandledRejection');
    const trap = (reason: unknown): void => void unhandled.push(reason);
    process.on('unhandledRejection', trap);
    try {
      const fn = (): number => 1;
      const options = { name: 'n', userContext: () => Promise.reject(new Error('no session')) };
      const { withRecovery } = world.proc().recovery;
      const task: { (): Promise<unknown> } = Reflect.apply(withRecovery, null, [fn, options]);
      expect(await rejectionOf(task())).toMatchObject({ code: 'NOT_JSON' });
      await settled();
    } finally {
      process.off('unhandledRejection', trap);
      for (const listener of others) process.on('unhandledRejection', listener);
    }
    expect(unhandled).toEqual([]);
  });

  it('as much as the limit says fits: 4 KiB, or what `limits` allows', async () => {
    const full = { a: 'x'.repeat(4_096 - '{"a":""}'.length) };
    const options = { name: 'n', userContext: () => full };
    const task = world.proc().recovery.withRecovery((ctx) => ctx.userContext, options);
    await expect(task()).resolves.toEqual(full);
    const small = task.with(world.proc({ limits: { userContextBytes: 100 } }).recovery);
    expect(await rejectionOf(small())).toMatchObject({
      code: 'PAYLOAD_TOO_LARGE',
      details: { maxBytes: 100 },
    });
  });
});

describe('currentTask', () => {
  it('is the context of the task whose code runs, over awaits, timers and callbacks, for many at once', async () => {
    const { recovery } = world.proc();
    const hops: Readonly<Record<string, (ctx: RecoveryContext, key: string) => Promise<unknown>>> = {
      promise: () => Promise.resolve(),
      timer: () => new Promise((resolve) => void setTimeout(resolve, 0)),
      immediate: () => new Promise((resolve) => void setImmediate(resolve)),
      tick: () => new Promise((resolve) => process.nextTick(resolve)),
      storage: (ctx, name) => ctx.createCheckpoint({ name, progressPercent: 1 }),
      step: async (ctx, name) =>
        expect(await ctx.step(name, async () => Promise.resolve(currentTask()?.taskId))).toBe(ctx.taskId),
      map: async (ctx, name) =>
        expect(
          await ctx.map(name, [1, 2], async () => currentTask()?.taskId, { key: String, concurrency: 2 }),
        ).toEqual([ctx.taskId, ctx.taskId]),
    };
    const task = recovery.withRecovery(
      async (ctx, path: readonly string[]) => {
        for (const [index, hop] of path.entries()) {
          await hops[hop]?.(ctx, `${hop}${index}`);
          expect(currentTask()).toBe(ctx);
        }
        return currentTask()?.taskId;
      },
      { name: 'n' },
    );
    const path = fc.array(fc.constantFrom(...Object.keys(hops)), { maxLength: 6 });
    await fc.assert(
      fc.asyncProperty(fc.array(path, { minLength: 1, maxLength: 8 }), async (paths) => {
        const started = await Promise.all(paths.map((each) => task.start(each)));
        expect(currentTask()).toBeNull();
        const ids = await Promise.all(started.map(({ result }) => result));
        expect(ids).toEqual(started.map(({ taskId }) => taskId));
        expect(currentTask()).toBeNull();
      }),
      { numRuns: 50 },
    );
  });

  it('a task that calls another one: each has its own', async () => {
    const { recovery } = world.proc();
    const inner = recovery.withRecovery(() => currentTask()?.name, { name: 'inner' });
    const outer = recovery.withRecovery(async () => [await inner(), currentTask()?.name], { name: 'outer' });
    await expect(outer()).resolves.toEqual(['inner', 'outer']);
  });

  it('is that of the attempt on recovery, and its user context with it', async () => {
    const old = world.proc();
    const task = old.recovery.withRecovery(
      async (ctx) => {
        if (ctx.attempt === 1) return untilAborted(ctx);
        await Promise.resolve();
        return [currentTask() === ctx, currentTask()?.attempt, currentTask()?.userContext];
      },
      { name: 'n', taskId: () => 't', userContext: () => ({ id: 5 }) },
    );
    await startQuietly(task);
    await die(world, old);
    await expect(task.with(world.proc().recovery)()).resolves.toEqual([true, 2, { id: 5 }]);
  });

  it('code that goes on after the task has ended still sees it, but can do nothing with it', async () => {
    const { recovery } = world.proc();
    const ended = gate();
    let late: Promise<unknown> | undefined;
    const task = recovery.withRecovery(
      () => {
        late = ended.passed.then(() => currentTask()?.createCheckpoint({ name: 'late', progressPercent: 1 }));
        late.catch(() => {});
        return 1;
      },
      { name: 'n', taskId: () => 't' },
    );
    await task();
    ended.open();
    expect(await rejectionOf(late ?? Promise.resolve())).toMatchObject({ code: 'CONTEXT_CLOSED' });
    await expect(recovery.checkpoints.list('t')).resolves.toEqual([]);
    expect(currentTask()).toBeNull();
  });
});
