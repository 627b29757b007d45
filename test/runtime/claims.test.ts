import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { TaskSnapshot } from '../../src/domain/task.js';
import { settled } from '../support/manual-clock.js';
import {
  alertsOf,
  gate,
  LEASE_MS,
  rejectionOf,
  trapUnhandledRejections,
  untilAborted,
  World,
} from './harness.js';

trapUnhandledRejections();

type Answer = 'complete' | 'resume' | 'restart' | 'unrecoverable' | { readonly complete: string };

describe.each([1, 3])('claiming, on %i partitions', (partitions) => {
  let world: World;
  beforeEach(() => void (world = new World(partitions)));
  afterEach(() => world.end());

  /** A task that died at 97 %, and a process that asks `validate` about it. */
  async function nearlyDone(validate: (snapshot: TaskSnapshot) => Answer | Promise<Answer>) {
    const old = world.proc();
    const runs: unknown[] = [];
    const task = old.recovery.withRecovery(
      async (ctx) => {
        if (ctx.attempt > 1) {
          runs.push([ctx.resumedFrom?.name ?? null, ctx.reached('nearly')]);
          return 'run to the end';
        }
        await ctx.createCheckpoint({ name: 'nearly', progressPercent: 97, databaseState: { rows: 5 } });
        return untilAborted(ctx);
      },
      { name: 'n', taskId: () => 't', validate },
    );
    (await task.start()).result.catch(() => {});
    await settled();
    old.crash();
    await world.clock.advance(LEASE_MS + 1);
    const next = world.proc();
    return { ...next, runs, task: task.with(next.recovery) };
  }

  it.each<[string, () => Answer, unknown, unknown[]]>([
    ['complete', () => 'complete', undefined, []],
    ['complete with a result', () => ({ complete: 'found in the database' }), 'found in the database', []],
    ['resume', () => 'resume', 'run to the end', [['nearly', true]]],
    ['restart', () => 'restart', 'run to the end', [[null, false]]],
    ['nonsense', () => JSON.parse('"maybe"'), 'run to the end', [['nearly', true]]],
  ])('validate answers %s', async (_what, answer, result, expectedRuns) => {
    const asked: TaskSnapshot[] = [];
    const { recovery, runs, task } = await nearlyDone((snapshot) => {
      asked.push(snapshot);
      return answer();
    });
    await expect(task()).resolves.toEqual(result);
    expect(runs).toEqual(expectedRuns);
    expect(asked).toMatchObject([
      { checkpoint: { name: 'nearly', databaseState: { rows: 5 } }, validation: null, cause: 'lease_over' },
    ]);
    await expect(recovery.tasks.get('t')).resolves.toMatchObject({ status: 'completed', attempt: 2 });
    await expect(task()).resolves.toEqual(result);
    expect(asked).toHaveLength(1);
  });

  it('validate answers unrecoverable: failed, not run', async () => {
    const { recovery, runs, task } = await nearlyDone(() => 'unrecoverable');
    expect(await rejectionOf(task())).toMatchObject({ code: 'UNRECOVERABLE', details: { taskId: 't' } });
    expect(runs).toEqual([]);
    await expect(recovery.tasks.get('t')).resolves.toMatchObject({
      status: 'failed',
      error: { code: 'UNRECOVERABLE' },
    });
  });

  it.each<[string, () => Answer | Promise<Answer>]>([
    [
      'throws',
      () => {
        throw new Error('no database');
      },
    ],
    ['rejects', async () => Promise.reject(new Error('no database'))],
  ])('validate %s: it is resumed', async (_what, validate) => {
    const { runs, task } = await nearlyDone(validate);
    await expect(task()).resolves.toBe('run to the end');
    expect(runs).toEqual([['nearly', true]]);
  });

  it('a lease that is lost while validate is asked: the function does not run as a zombie', async () => {
    const answer = gate();
    const first = await nearlyDone(async (): Promise<Answer> => {
      await answer.passed;
      return 'resume';
    });
    const call = rejectionOf(first.task());
    await settled();
    world.clock.stepWall(LEASE_MS + 1);
    const second = world.proc();
    let rerun = 0;
    const other = second.recovery.withRecovery(() => (rerun += 1), { name: 'n', taskId: () => 't' });
    await other();
    // The next renewal tells the first one.
    await world.clock.advance(LEASE_MS / 2);
    answer.open();
    expect(await call).toMatchObject({ code: 'LEASE_LOST' });
    expect([first.runs, rerun]).toEqual([[], 1]);
  });

  it('a corrupt newest checkpoint: resumes from the one before, and says so', async () => {
    const old = world.proc();
    const task = old.recovery.withRecovery(
      async (ctx) => {
        if (ctx.attempt > 1) return [ctx.resumedFrom?.name, ctx.reached('one'), ctx.reached('two')];
        await ctx.createCheckpoint({ name: 'one', progressPercent: 10 });
        await ctx.createCheckpoint({ name: 'two', progressPercent: 20 });
        return untilAborted(ctx);
      },
      { name: 'n', taskId: () => 't' },
    );
    (await task.start()).result.catch(() => {});
    await settled();
    old.crash();
    for (let p = 0; p < partitions; p += 1) {
      const guard = { key: 'vandal', expect: null, next: '1.v.0' };
      const { records } = await world.memory.read(`rekindle:${p}`, ['c2:t']);
      if (!records[0]) continue;
      await world.memory.commit(`rekindle:${p}`, [
        { guard, notAfter: Number.MAX_SAFE_INTEGER, set: [{ key: 'c2:t', fields: { data: 'scribble' } }] },
      ]);
    }
    await world.clock.advance(LEASE_MS + 1);
    const next = world.proc();
    await expect(task.with(next.recovery)()).resolves.toEqual(['one', true, false]);
    expect(alertsOf(next.heard)).toEqual(['corrupt_checkpoint']);
  });

  it('a direct call takes an orphan back without any start-up recovery', async () => {
    const old = world.proc();
    const task = old.recovery.withRecovery((ctx, n: number) => (ctx.attempt > 1 ? n : untilAborted(ctx)), {
      name: 'n',
      taskId: (n) => `t${n}`,
    });
    (await task.start(5)).result.catch(() => {});
    old.crash();
    const next = world.proc();
    expect(await rejectionOf(task.with(next.recovery)(5))).toMatchObject({ code: 'TASK_RUNNING_ELSEWHERE' });
    await world.clock.advance(LEASE_MS + 1);
    await expect(task.with(next.recovery)(5)).resolves.toBe(5);
    await expect(next.recovery.tasks.get('t5')).resolves.toMatchObject({ crashedAtMs: [expect.any(Number)] });
  });
});
