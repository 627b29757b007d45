import * as fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { gate, namesOf, rejectionOf, trapUnhandledRejections, World } from './harness.js';

trapUnhandledRejections();

describe.each([1, 3])('a wrapped function, on %i partitions', (partitions) => {
  let world: World;
  beforeEach(() => void (world = new World(partitions)));
  afterEach(() => world.end());

  it('gives what the function gives, and keeps the task', async () => {
    const { recovery, heard } = world.proc();
    const add = recovery.withRecovery(async (_ctx, a: number, b: number) => a + b, {
      name: 'add',
      taskId: (a, b) => `${a}+${b}`,
      priority: 4,
    });
    expect(add.taskName).toBe('add');
    await expect(add(1, 2)).resolves.toBe(3);
    await expect(recovery.tasks.get('1+2')).resolves.toMatchObject({
      name: 'add',
      status: 'completed',
      priority: 4,
      attempt: 1,
      progressPercent: 100,
      owner: expect.any(String),
      fence: world.clock.wallMs(),
    });
    expect(namesOf(heard)).toEqual(['task_started', 'task_completed']);
  });

  it('makes an id of its own for each call without one; as texts they are in the order of time', async () => {
    const { recovery } = world.proc();
    const task = recovery.withRecovery(() => 'done', { name: 'n' });
    const ids: string[] = [];
    for (const waitMs of [0, 1, 34, 1_000, 86_400_000]) {
      await world.clock.advance(waitMs);
      ids.push((await task.start()).taskId);
    }
    expect(ids.toSorted()).toEqual(ids);
    const together = await Promise.all([1, 2, 3].map(() => task.start()));
    expect(new Set(together.map(({ taskId }) => taskId)).size).toBe(3);
  });

  it('start() resolves once the task is durable and running', async () => {
    const { recovery } = world.proc();
    const held = gate();
    const slow = recovery.withRecovery(
      async () => {
        await held.passed;
        return 'done';
      },
      { name: 'slow', taskId: () => 't' },
    );
    const { taskId, result } = await slow.start();
    expect(taskId).toBe('t');
    await expect(recovery.tasks.get('t')).resolves.toMatchObject({ status: 'processing' });
    held.open();
    await expect(result).resolves.toBe('done');
  });

  it('rejects with what the function threw, keeps its error, and a later call tries again', async () => {
    const { recovery, heard } = world.proc();
    const error = Object.assign(new TypeError('broken'), { code: 'E_BROKEN' });
    let fail = true;
    const attempts: number[] = [];
    const task = recovery.withRecovery(
      (ctx) => {
        attempts.push(ctx.attempt);
        if (fail) throw error;
        return 'fine';
      },
      { name: 'n', taskId: () => 't' },
    );
    expect(await rejectionOf(task())).toBe(error);
    await expect(recovery.tasks.get('t')).resolves.toMatchObject({
      status: 'failed',
      error: { name: 'TypeError', message: 'broken', code: 'E_BROKEN' },
    });
    fail = false;
    await expect(task()).resolves.toBe('fine');
    expect(attempts).toEqual([1, 2]);
    await expect(recovery.tasks.get('t')).resolves.toMatchObject({
      status: 'completed',
      crashedAtMs: [],
      error: null,
    });
    expect(namesOf(heard).slice(0, 3)).toEqual(['task_started', 'task_failed', 'recovery_started']);
  });

  it.each<[string, unknown]>([
    ['undefined', undefined],
    ['null', null],
    ['a small one', { a: [1] }],
    ['one over 1 KiB', { text: 'x'.repeat(5_000) }],
  ])('keeps the result: %s', async (_what, value) => {
    let runs = 0;
    const define = ({ recovery }: ReturnType<World['proc']>) =>
      recovery.withRecovery(
        () => {
          runs += 1;
          return value;
        },
        { name: 'n', taskId: () => 't' },
      );
    const task = define(world.proc());
    await expect(task()).resolves.toEqual(value);
    await expect(task()).resolves.toEqual(value);
    await expect(define(world.proc())()).resolves.toEqual(value);
    expect(runs).toBe(1);
  });

  it.each<[string, unknown]>([
    ['JSON cannot hold', { n: 1n }],
    ['is over its limit', 'x'.repeat(2_000)],
  ])('a result that %s: the task is done, is not run again, and the caller is told', async (_what, value) => {
    let runs = 0;
    const { recovery } = world.proc({ limits: { resultBytes: 1_500 } });
    const task = recovery.withRecovery(
      () => {
        runs += 1;
        return value;
      },
      { name: 'n', taskId: () => 't' },
    );
    for (let call = 0; call < 2; call += 1) {
      expect(await rejectionOf(task())).toMatchObject({ code: 'RESULT_NOT_STORABLE' });
    }
    expect(runs).toBe(1);
    await expect(recovery.tasks.get('t')).resolves.toMatchObject({ status: 'completed' });
  });

  it('joins a run of the same id in this process: one run, the same result', async () => {
    const { recovery } = world.proc();
    let runs = 0;
    const held = gate();
    const task = recovery.withRecovery(
      async (_ctx, _input: { a: number; b: number }) => {
        runs += 1;
        await held.passed;
        return { run: runs };
      },
      { name: 'n', taskId: (_input) => 't' },
    );
    const calls = [task({ a: 1, b: 2 }), task({ b: 2, a: 1 }), task({ a: 1, b: 2 })];
    const other = rejectionOf(task({ a: 1, b: 3 }));
    expect(await other).toMatchObject({ code: 'INPUT_MISMATCH', details: { taskId: 't' } });
    held.open();
    expect(await Promise.all(calls)).toEqual([{ run: 1 }, { run: 1 }, { run: 1 }]);
  });

  it('those who wait for a start hear why it failed, and the id is free again', async () => {
    const { recovery } = world.proc({ limits: { inputBytes: 100 } });
    const task = recovery.withRecovery((_ctx, text: string) => text, {
      name: 'n',
      taskId: (_text) => 't',
    });
    const big = 'x'.repeat(200);
    expect(await Promise.all([rejectionOf(task(big)), rejectionOf(task(big))])).toMatchObject([
      { code: 'PAYLOAD_TOO_LARGE' },
      { code: 'PAYLOAD_TOO_LARGE' },
    ]);
    await expect(task('ok')).resolves.toBe('ok');
  });

  it('refuses a running id when asked to, here and elsewhere, and names the owner', async () => {
    const [here, there] = [world.proc(), world.proc()];
    const held = gate();
    const fn = (): Promise<void> => held.passed;
    const options = { name: 'n', taskId: (): string => 't', ifRunning: 'reject' as const };
    const task = here.recovery.withRecovery(fn, options);
    const { result } = await task.start();
    const owner = (await here.recovery.tasks.get('t'))?.owner;
    expect(await rejectionOf(task())).toMatchObject({
      code: 'TASK_RUNNING_ELSEWHERE',
      details: { taskId: 't', owner },
    });
    const refused = await rejectionOf(task.with(there.recovery)());
    expect(refused).toMatchObject({
      code: 'TASK_RUNNING_ELSEWHERE',
      retryable: true,
      details: { taskId: 't', owner },
    });
    expect(String(refused)).toContain(owner);
    held.open();
    await result;
  });

  it('rejects elsewhere by default, joins when asked to', async () => {
    const [here, there, third] = [world.proc(), world.proc(), world.proc()];
    const held = gate();
    const fn = async (): Promise<string> => {
      await held.passed;
      return 'mine';
    };
    const task = here.recovery.withRecovery(fn, { name: 'n', taskId: () => 't' });
    const { result } = await task.start();
    expect(await rejectionOf(task.with(there.recovery)())).toMatchObject({ code: 'TASK_RUNNING_ELSEWHERE' });
    const joined = third.recovery.withRecovery(() => 'never run', {
      name: 'n',
      taskId: () => 't',
      ifRunning: 'join',
    })();
    await world.clock.advance(2_000);
    held.open();
    await result;
    await expect(world.until(joined)).resolves.toBe('mine');
  });

  it('an id belongs to one name and one input', async () => {
    const [{ recovery }, other] = [world.proc(), world.proc()];
    const one = recovery.withRecovery((_ctx, n: number) => n, { name: 'one', taskId: (_n) => 't' });
    await one(1);
    const two = recovery.withRecovery((_ctx, n: number) => n, { name: 'two', taskId: (_n) => 't' });
    const mismatch = { code: 'INPUT_MISMATCH', retryable: false };
    expect(await rejectionOf(one(2))).toMatchObject(mismatch);
    expect(await rejectionOf(two(1))).toMatchObject(mismatch);
    expect(await rejectionOf(two.with(other.recovery)(1))).toMatchObject(mismatch);
  });

  it('takes arguments that are left out for what they are', async () => {
    const { recovery } = world.proc();
    const task = recovery.withRecovery((_ctx, ...args: (string | undefined)[]) => args.length, {
      name: 'n',
      taskId: (..._args) => 't',
    });
    await expect(task('a', undefined)).resolves.toBe(2);
    await expect(task('a')).resolves.toBe(2);
    expect(await rejectionOf(task(undefined, 'a'))).toMatchObject({
      code: 'NOT_JSON',
      details: { path: '$[0]' },
    });
  });

  it('makes a new task of every call without a taskId', async () => {
    const { recovery } = world.proc();
    const task = recovery.withRecovery((ctx) => ctx.taskId, { name: 'n' });
    expect(await task()).not.toBe(await task());
  });

  it('refuses what it cannot take, before anything is written', async () => {
    const { recovery, line } = world.proc();
    const task = recovery.withRecovery((_ctx, id: unknown) => String(id), {
      name: 'n',
      taskId: (id) => String(id),
    });
    expect(await rejectionOf(task('a{b'))).toMatchObject({ code: 'INVALID_ID' });
    expect(await rejectionOf(task([1, { deep: new Map() }]))).toMatchObject({
      code: 'NOT_JSON',
      details: { path: '$[0][1].deep' },
    });
    const throws = recovery.withRecovery(() => 1, {
      name: 'throws',
      taskId: () => {
        throw new Error('no id');
      },
    });
    expect(await rejectionOf(throws())).toMatchObject({ message: 'no id' });
    expect(line.commits).toEqual([]);
  });

  it('registers a name once; .with gives the same task each time', () => {
    const [{ recovery }, other] = [world.proc(), world.proc()];
    const task = recovery.withRecovery(() => 1, { name: 'n' });
    expect(() => recovery.withRecovery(() => 2, { name: 'n' })).toThrow(
      expect.objectContaining({ code: 'DUPLICATE_TASK_NAME' }),
    );
    expect(task.with(other.recovery)).toBe(task.with(other.recovery));
    expect(() => other.recovery.withRecovery(() => 2, { name: 'n' })).toThrow(
      expect.objectContaining({ code: 'DUPLICATE_TASK_NAME' }),
    );
  });

  it('property: arguments and results of any JSON come back the same in another process', async () => {
    const [a, b] = [world.proc(), world.proc()];
    let count = 0;
    const echo = a.recovery.withRecovery((_ctx, _id: string, value: unknown) => ({ value }), {
      name: 'echo',
      taskId: (id) => id,
    });
    await fc.assert(
      fc.asyncProperty(fc.jsonValue(), async (value) => {
        count += 1;
        const plain: unknown = JSON.parse(JSON.stringify({ value }));
        expect(JSON.parse(JSON.stringify(await echo(`t${count}`, value)))).toEqual(plain);
        expect(await echo.with(b.recovery)(`t${count}`, value)).toEqual(plain);
      }),
      { numRuns: 25 },
    );
  });
});
