/** Odd values and functions of users: what throws at once, what calls back, what looks like a promise. */
import { afterEach, beforeEach, expect, it } from 'vitest';
import { settled } from '../support/manual-clock.js';
import { gate, rejectionOf, trapUnhandledRejections, World } from './harness.js';

trapUnhandledRejections();
let world: World;
beforeEach(() => void (world = new World()));
afterEach(() => world.end());

const thrower = (): never => {
  throw new TypeError('boom');
};

it('odd arguments, ids, contexts, groups: a rejection, and the id is free again', async () => {
  const { recovery } = world.proc();
  let mode = '';
  const task = recovery.withRecovery<[unknown], unknown>(async (_ctx, x) => x, {
    name: 'n',
    taskId: () =>
      mode === 'id'
        ? thrower()
        : mode === 'thenable'
          ? ({
              get then() {
                return thrower();
              },
            } as never)
          : 'one',
    userContext: () =>
      mode === 'user' ? thrower() : mode === 'proxy' ? (new Proxy({}, { ownKeys: thrower }) as never) : {},
    group: () => (mode === 'group' ? thrower() : 'g'),
  });
  for (mode of ['id', 'thenable', 'user', 'proxy', 'group']) {
    let sync: unknown = null;
    for (const call of [task, task.start, task.submit]) {
      try {
        await rejectionOf((call as (x: unknown) => Promise<unknown>)(1));
      } catch (error) {
        sync = error;
      }
    }
    expect([mode, sync]).toEqual([mode, null]);
  }
  mode = '';
  for (const arg of [
    { toJSON: thrower },
    {
      get a() {
        return thrower();
      },
    },
    new Proxy({}, { get: thrower }),
    1n,
    Symbol('x'),
  ])
    await rejectionOf(task(arg));
  await expect(world.until(task(1))).resolves.toBe(1);
});

it('a joined call whose flight fails hears it, before and after', async () => {
  const { recovery, line } = world.proc();
  const task = recovery.withRecovery<[], number>(async () => 1, {
    name: 'n',
    taskId: () => 'one',
    group: thrower,
  });
  const calls = [task(), task(), task.start(), task()];
  for (const call of calls) await expect(rejectionOf(call)).resolves.toMatchObject({ message: 'boom' });
  expect(line.commits.filter(({ guard }) => guard.key.includes('one'))).toEqual([]);
});

it('odd steps, checkpoints and results', async () => {
  const { recovery } = world.proc();
  const out: unknown[] = [];
  const task = recovery.withRecovery<[], unknown>(
    async (ctx) => {
      const all = [
        () => ctx.step('a', thrower),
        () =>
          ctx.step('b', () => ({
            get x() {
              return thrower();
            },
          })),
        () => ctx.step('c', () => new Proxy({}, { get: (_t, k) => (k === 'then' ? undefined : thrower()) })),
        () =>
          ctx.step('d', () => ({
            get then() {
              return thrower();
            },
          })),
        () => ctx.step('e', () => 1, null as never),
        () => ctx.step('f', () => 1, { verify: thrower }),
        () => ctx.step('g', () => 1, new Proxy({}, { ownKeys: thrower })),
        () =>
          ctx.createCheckpoint({
            name: 'x',
            get progressPercent(): number {
              return thrower();
            },
          }),
        () =>
          ctx.createCheckpoint({
            name: 'x',
            progressPercent: 1,
            recoverableData: { toJSON: thrower } as never,
          }),
        () => ctx.createCheckpoint(null as never),
        () => ctx.createCheckpoint(new Proxy({}, { ownKeys: thrower, get: thrower }) as never),
        () => ctx.map('m', [1, 2], thrower as never, { key: String } as never),
        () =>
          (ctx.map as (...args: never[]) => Promise<unknown>)(
            'm2' as never,
            new Proxy([1], { get: thrower }) as never,
            (async () => 1) as never,
          ),
        () => ctx.map('m3', [1], async () => 1, { key: thrower } as never),
      ];
      for (const one of all) {
        let promise: Promise<unknown>;
        try {
          promise = one();
        } catch (error) {
          out.push(['sync', String(error)]);
          continue;
        }
        out.push(
          await promise.then(
            (v) => ['ok', typeof v],
            (e: unknown) => ['rejected', String(e).slice(0, 60)],
          ),
        );
      }
      // Unawaited ones that fail.
      void ctx.step('z', thrower);
      void ctx.createCheckpoint({ name: '', progressPercent: 1 });
      return {
        get y() {
          return thrower();
        },
      };
    },
    { name: 'n', taskId: () => 'one' },
  );
  await expect(world.until(rejectionOf(task()))).resolves.toMatchObject({ code: 'RESULT_NOT_STORABLE' });
  console.log(JSON.stringify(out));
  expect(out.filter((each) => (each as string[])[0] === 'sync')).toEqual([]);
});

it('listeners that call back into the library inside an event', async () => {
  const { recovery, heard } = world.proc({
    optionalEvents: ['checkpoint_created', 'item_completed'],
  } as never);
  const more: Promise<unknown>[] = [];
  let ctxOf: {
    createCheckpoint: (x: never) => Promise<void>;
    updateProgress: (n: number) => Promise<void>;
  } | null = null;
  const task = recovery.withRecovery<[string], string>(
    async (ctx, id) => {
      if (id === 'a') ctxOf = ctx as never;
      await ctx.createCheckpoint({ name: 'one', progressPercent: 10 });
      await ctx.step('s', () => 1);
      await ctx.createCheckpoint({ name: 'two', progressPercent: 20 });
      return id;
    },
    { name: 'n', taskId: (id) => id },
  );
  let depth = 0;
  recovery.on('*', (event) => {
    if (depth > 20) return;
    depth += 1;
    if (event.event === 'checkpoint_created' && ctxOf !== null && event.task_id === 'a')
      more.push(
        ctxOf.createCheckpoint({ name: `l${depth}`, progressPercent: 15 } as never).then(
          () => 'kept',
          (e: unknown) => (e as { code: string }).code,
        ),
      );
    more.push(
      task(event.task_id ?? 'x').then(
        () => 'joined',
        (e: unknown) => (e as { code: string }).code,
      ),
    );
    if (event.event === 'task_completed') more.push(recovery.tasks.get('a'));
    throw new Error('a listener');
  });
  await expect(world.until(Promise.all([task('a'), task('b')]))).resolves.toEqual(['a', 'b']);
  await settled();
  const said = await world.until(Promise.all(more));
  console.log(JSON.stringify(said.map((x) => (typeof x === 'string' ? x : 'record'))), heard.length);
});

it('a listener that shuts down inside the event of an end, or of a checkpoint', async () => {
  for (const when of [
    'checkpoint_created',
    'task_completed',
    'task_started',
    'recovery_completed',
  ] as const) {
    const { recovery } = world.proc({ optionalEvents: ['checkpoint_created', 'item_completed'] } as never);
    const task = recovery.withRecovery<[string], string>(
      async (ctx, id) => {
        await ctx.createCheckpoint({ name: 'one', progressPercent: 10 });
        await ctx.step('s', () => 1);
        return id;
      },
      { name: 'n', taskId: (id) => `${when}${id}` },
    );
    let over: Promise<void> | null = null;
    recovery.on('*', (event) => {
      if (event.event === when) over ??= recovery.shutdown({ timeoutMs: 1_000 });
    });
    const results = await world.until(Promise.allSettled([task('a'), task('b'), task('c')]));
    if (over !== null) await world.until(over);
    console.log(
      when,
      JSON.stringify(
        results.map((r) => (r.status === 'fulfilled' ? r.value : (r.reason as { code: string }).code)),
      ),
    );
  }
});

it('a function that returns a promise whose then is odd', async () => {
  const { recovery } = world.proc();
  const odd = (made: () => unknown, name: string) =>
    recovery.withRecovery<[], unknown>(() => made() as Promise<unknown>, { name, taskId: () => name });
  const patched = (): Promise<number> => Object.assign(Promise.resolve(1), { then: thrower });
  const twice = (): unknown => ({
    then: (a: (x: number) => void, b: (x: unknown) => void) => (a(1), b(new Error('2')), thrower()),
  });
  class Sub extends Promise<number> {}
  const never = gate();
  void never;
  const results = await world.until(
    Promise.allSettled([
      odd(patched, 'p')(),
      odd(twice, 't')(),
      odd(() => Sub.resolve(3), 's')(),
      odd(thrower, 'x')(),
    ]),
  );
  expect(results.map(({ status }) => status)).toEqual(['rejected', 'fulfilled', 'fulfilled', 'rejected']);
});
