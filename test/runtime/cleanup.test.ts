import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { TaskSnapshot } from '../../src/domain/task.js';
import type { RecoveryContext } from '../../src/runtime/context.js';
import type { TaskOptions } from '../../src/runtime/task-options.js';
import { settled } from '../support/manual-clock.js';
import {
  away,
  gate,
  LEASE_MS,
  rejectionOf,
  SWEEP_MS,
  trapUnhandledRejections,
  untilAborted,
  World,
} from './harness.js';
import type { Proc } from './harness.js';
import { die, startQuietly, swept, watched } from './lab.js';

trapUnhandledRejections();

type Told = [reason: string, file: string, n: number, snapshot: TaskSnapshot];

describe.each([1, 3])('cleanup, on %i partitions', (partitions) => {
  let world: World;
  let told: Told[];
  beforeEach(() => {
    world = new World(partitions);
    told = [];
  });
  afterEach(() => world.end());

  function define(
    { recovery }: Pick<Proc, 'recovery'>,
    fn: (ctx: RecoveryContext) => unknown,
    options: Omit<TaskOptions<[string, number]>, 'name' | 'taskId'> = {},
  ) {
    return recovery.withRecovery<[string, number], unknown>(fn, {
      name: 'n',
      taskId: () => 't',
      cleanup: (snapshot, reason, file, n) => void told.push([reason, file, n, snapshot]),
      ...options,
    });
  }

  const marked = (ctx: RecoveryContext): Promise<void> =>
    ctx.createCheckpoint({ name: 'half', progressPercent: 50, recoverableData: { temp: '/tmp/x' } });

  it('is called once after a failure, with the arguments and what there was to resume from', async () => {
    const proc = world.proc();
    const task = define(proc, async (ctx) => {
      await marked(ctx);
      throw new Error('no');
    });
    await rejectionOf(task('file', 7));
    await settled();
    expect(told).toMatchObject([
      [
        'failed',
        'file',
        7,
        {
          task: { taskId: 't', status: 'failed', progressPercent: 50, error: { message: 'no' } },
          checkpoint: { name: 'half', recoverableData: { temp: '/tmp/x' } },
        },
      ],
    ]);
    await world.clock.advance(2 * SWEEP_MS);
    expect(told).toHaveLength(1);
  });

  it('is called after the last of several tries only', async () => {
    const proc = world.proc();
    const task = define(proc, () => Promise.reject(new Error('no')), { maxAttempts: 3 });
    const call = rejectionOf(task('f', 1));
    await world.clock.advance(1_250);
    expect(told).toEqual([]);
    await world.until(call);
    await settled();
    expect(told).toMatchObject([['failed', 'f', 1, { task: { attempt: 3 } }]]);
  });

  it('is called after a cancellation, and again after the next one', async () => {
    const { recovery } = world.proc();
    const task = define({ recovery }, untilAborted);
    for (let n = 1; n <= 2; n += 1) {
      await startQuietly(task, 'f', 1);
      await recovery.tasks.cancel('t');
      await settled();
      expect(told).toHaveLength(n);
      expect(told.at(-1)).toMatchObject(['cancelled', 'f', 1, { task: { status: 'cancelled' } }]);
      await recovery.tasks.requeue('t');
    }
  });

  it('is called by the owner that hears of it, not by who asked', async () => {
    const [here, there] = [world.proc(), world.proc()];
    await startQuietly(define(there, untilAborted), 'f', 1);
    let asked = 0;
    define(here, untilAborted, { cleanup: () => (asked += 1) });
    await here.recovery.tasks.cancel('t');
    await world.clock.advance(LEASE_MS);
    expect([told.length, asked]).toEqual([1, 0]);
  });

  it('is called for one that waited for its next try, by who cancelled it', async () => {
    const [old, next] = [world.proc(), world.proc()];
    const fn = (): Promise<never> => Promise.reject(new Error('no'));
    await startQuietly(define(old, fn, { maxAttempts: 9 }), 'f', 1);
    old.crash();
    define(next, fn);
    await next.recovery.tasks.cancel('t', { reason: 'enough' });
    await settled();
    expect(told).toMatchObject([
      ['cancelled', 'f', 1, { task: { error: { message: expect.stringContaining('enough') } } }],
    ]);
  });

  it('is called for a dead letter, and for one that is found cancelled, by who found it', async () => {
    for (const reason of ['dead_letter', 'cancelled'] as const) {
      world = new World(partitions);
      told = [];
      const [old, next] = [world.proc(), world.proc()];
      await startQuietly(define(old, untilAborted, { maxCrashes: 1 }), 'f', 1);
      if (reason === 'cancelled') await next.recovery.tasks.cancel('t');
      await die(world, old);
      define(next, untilAborted, { maxCrashes: 1 });
      await swept(world, next);
      await settled();
      expect(told).toMatchObject([[reason, 'f', 1, { task: { status: reason } }]]);
      await world.clock.advance(2 * SWEEP_MS);
      expect(told).toHaveLength(1);
      await world.end();
    }
  });

  it('is called for a function that was fenced off, and for what never ran', async () => {
    const proc = world.proc();
    const deaf = gate();
    await startQuietly(
      define(proc, () => deaf.passed, { maxDurationMs: 1_000 }),
      'f',
      1,
    );
    await world.clock.advance(1_000 + LEASE_MS / 3);
    expect(told).toMatchObject([['failed', 'f', 1, { task: { error: { code: 'TASK_TIMED_OUT' } } }]]);
    deaf.open();
    await settled();
    expect(told).toHaveLength(1);
  });

  it('is not called after success, a release, a takeover, or a result that could not be kept', async () => {
    const first = world.proc();
    const fn = async (ctx: RecoveryContext): Promise<unknown> =>
      ctx.attempt < 3 ? untilAborted(ctx) : new Date(0);
    await startQuietly(define(first, fn), 'f', 1);
    await world.until(first.recovery.shutdown({ timeoutMs: 100 }));
    const second = world.proc();
    await startQuietly(define(second, fn), 'f', 1);
    await die(world, second);
    const third = world.proc();
    expect(await rejectionOf(define(third, fn)('f', 1))).toMatchObject({ code: 'RESULT_NOT_STORABLE' });
    await expect(third.recovery.tasks.get('t')).resolves.toMatchObject({ status: 'completed' });
    await settled();
    expect(told).toEqual([]);
  });

  it.each<[string, () => unknown]>([
    [
      'throws',
      () => {
        throw new Error('disk is gone');
      },
    ],
    ['rejects', () => Promise.reject(new Error('disk is gone'))],
  ])(
    'what it %s becomes an alert; the end stands, and callers hear what they would have',
    async (_what, cleanup) => {
      const proc = world.proc();
      const task = define(proc, () => Promise.reject(new Error('no')), { cleanup });
      expect(await rejectionOf(task('f', 1))).toMatchObject({ message: 'no' });
      await settled();
      expect(proc.heard.find(({ event }) => event === 'alert')).toMatchObject({
        details: { kind: 'cleanup_failed', error_name: 'Error', task_id: 't', name: 'n' },
      });
      await expect(proc.recovery.tasks.get('t')).resolves.toMatchObject({ status: 'failed' });
    },
  );

  it('when the storage is away, an alert tells that it was not called', async () => {
    const proc = world.proc();
    const task = define(proc, () => Promise.reject(new Error('no')));
    proc.recovery.on('task_failed', () => void (proc.line.down = away()));
    await rejectionOf(task('f', 1));
    await settled();
    expect(told).toEqual([]);
    expect(proc.heard.at(-1)).toMatchObject({ event: 'alert', details: { kind: 'cleanup_failed' } });
  });

  it.each<[string, number, number]>([
    ['waits for it', 3_000, 3_000],
    ['does not wait for it longer than its own time', 60_000, 5_000],
  ])('a shutdown %s', async (_what, takesMs, expectedMs) => {
    const proc = world.proc();
    const task = define(proc, () => Promise.reject(new Error('no')), {
      cleanup: () => new Promise<void>((resolve) => void world.clock.schedule(takesMs, resolve)),
    });
    await rejectionOf(task('f', 1));
    const atMs = world.clock.monotonicMs();
    const over = watched(proc.recovery.shutdown({ timeoutMs: 5_000 }));
    await world.clock.advance(expectedMs - 1);
    expect(over.state).toBe('open');
    await world.clock.advance(1);
    expect([over.state, world.clock.monotonicMs() - atMs]).toEqual(['resolved', expectedMs]);
  });
});
