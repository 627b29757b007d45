import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Recovery } from '../../src/runtime/recovery.js';
import type { TaskOptions } from '../../src/runtime/task-options.js';
import { settled } from '../support/manual-clock.js';
import { LEASE_MS, rejectionOf, trapUnhandledRejections, untilAborted, World } from './harness.js';

trapUnhandledRejections();

type Options = Omit<TaskOptions<[string], string>, 'name' | 'taskId'>;

/** Ids that start with "e" make an explicit checkpoint, those with "p" report progress; all hang on the first attempt. */
function define(recovery: Recovery, name = 'n', options: Options = {}) {
  return recovery.withRecovery<[string], string>(
    async (ctx, id) => {
      if (ctx.attempt > 1) return `${id} again`;
      if (id.startsWith('e')) await ctx.createCheckpoint({ name: 'saved', progressPercent: 10 });
      if (id.startsWith('p')) await ctx.updateProgress(60);
      return untilAborted(ctx);
    },
    { name, taskId: (given) => given, ...options },
  );
}

describe.each([1, 3])('recovery on demand, on %i partitions', (partitions) => {
  let world: World;
  beforeEach(() => void (world = new World(partitions)));
  afterEach(() => world.end());

  async function orphans(ids: readonly string[], name = 'n', options: Options = {}): Promise<void> {
    const { recovery, crash } = world.proc();
    const task = define(recovery, name, options);
    for (const id of ids) (await task.start(id)).result.catch(() => {});
    await settled();
    crash();
    await world.clock.advance(LEASE_MS + 1);
  }

  it('planRecovery tells what would be done and why, and does nothing', async () => {
    await orphans(['e1', 'p1', 'x1'], 'n', { checkpointFrequency: 50 });
    const { recovery, line } = world.proc();
    define(recovery, 'n', { checkpointFrequency: 50 });
    const before = line.commits.length;
    const plans = await recovery.planRecovery();
    expect(line.commits.length).toBe(before);
    const byId = Object.fromEntries(plans.map((plan) => [plan.taskId, plan]));
    expect(byId).toMatchObject({
      e1: {
        name: 'n',
        decision: 'resume',
        strategy: 'checkpoint-resume',
        evidence: { checkpoint: 'saved', cause: 'lease_over' },
      },
      p1: {
        decision: 'resume',
        evidence: { checkpoint: null, progressPercent: 60 },
        reason: expect.stringContaining('60 %'),
      },
      x1: {
        decision: 'restart',
        strategy: 'clean-restart',
        reason: 'There is no usable checkpoint; steps and items that were kept are skipped.',
      },
    });
    expect(await recovery.planRecovery()).toEqual(plans);
    await expect(recovery.tasks.get('e1')).resolves.toMatchObject({ status: 'processing', attempt: 1 });
    const run = await recovery.recover();
    const report = await run.finished;
    for (const { taskId, decision, reason } of report.tasks)
      expect(byId[taskId]).toMatchObject({ decision, reason });
    await expect(recovery.planRecovery()).resolves.toEqual([]);
  });

  it('planRecovery plans what waits in the queue too, once', async () => {
    await orphans(['e1']);
    const finder = world.proc();
    define(finder.recovery, 'n', {
      strategies: [
        { name: 'later', decide: () => ({ action: 'skip', reason: 'not today', evidence: { day: 1 } }) },
      ],
    });
    const run = await finder.recovery.recover();
    await expect(run.finished).resolves.toMatchObject({
      discovered: 1,
      recovered: 0,
      skipped: 1,
      tasks: [{ outcome: 'skipped', reason: 'not today' }],
    });
    await expect(finder.recovery.tasks.get('e1')).resolves.toMatchObject({
      status: 'orphaned',
      attempt: 1,
      crashedAtMs: [expect.any(Number)],
    });
    const { recovery } = world.proc();
    define(recovery);
    await expect(recovery.planRecovery()).resolves.toMatchObject([{ taskId: 'e1', decision: 'resume' }]);
  });

  it('recover() takes only what the filter wants', async () => {
    await orphans(['a', 'b', 'c'], 'one');
    await orphans(['d'], 'two');
    const { recovery } = world.proc();
    define(recovery, 'one');
    define(recovery, 'two');
    const idsOf = async (filter: Parameters<Recovery['recover']>[0]): Promise<string[]> => {
      const { finished } = await recovery.recover(filter);
      return (await finished).tasks.map(({ taskId }) => taskId);
    };
    expect(await idsOf({ taskIds: ['b', 'never'] })).toEqual(['b']);
    expect(await idsOf({ names: ['two'] })).toEqual(['d']);
    expect(await idsOf({ names: ['two'], taskIds: ['a'] })).toEqual([]);
    expect((await idsOf({})).toSorted((a, b) => (a < b ? -1 : 1))).toEqual(['a', 'c']);
    expect(await idsOf(undefined)).toEqual([]);
    expect(await rejectionOf(Reflect.apply(recovery.recover, null, [{ group: 'x' }]))).toMatchObject({
      code: 'INVALID_OPTION',
    });
  });

  it('recover({ taskIds }) says nothing of tasks that it was not asked about', async () => {
    await orphans(['a'], 'unknown');
    const { recovery } = world.proc();
    define(recovery);
    const { finished } = await recovery.recover({ taskIds: ['other'] });
    await expect(finished).resolves.toMatchObject({ skipped: 0, tasks: [] });
  });

  it('several recoveries at once run each task once', async () => {
    await orphans(['a', 'b', 'c', 'd']);
    const runs = new Map<string, number>();
    const procs = [world.proc(), world.proc(), world.proc()];
    for (const { recovery } of procs) {
      recovery.withRecovery((_ctx, id: string) => void runs.set(id, (runs.get(id) ?? 0) + 1), {
        name: 'n',
        taskId: (id) => id,
      });
    }
    const started = await Promise.all(
      procs.flatMap(({ recovery }) => [recovery.recover(), recovery.recover()]),
    );
    const reports = await Promise.all(started.map(({ finished }) => finished));
    expect(runs).toEqual(
      new Map([
        ['a', 1],
        ['b', 1],
        ['c', 1],
        ['d', 1],
      ]),
    );
    expect(reports.reduce((sum, { recovered }) => sum + recovered, 0)).toBe(4);
  });

  it('crashes until the budget is spent, then it is a dead letter with its evidence, once and for all', async () => {
    const crashes: number[] = [];
    for (let attempt = 1; attempt <= 3; attempt += 1) {
      const { recovery, crash } = world.proc();
      const task = recovery.withRecovery(untilAborted, { name: 'n', taskId: () => 't', maxCrashes: 3 });
      if (attempt === 1) (await task.start()).result.catch(() => {});
      else {
        await recovery.recover();
        crashes.push(world.clock.wallMs());
        // From the second crash on it has to wait.
        if (attempt === 3)
          await expect(recovery.tasks.get('t')).resolves.toMatchObject({ status: 'orphaned' });
        await world.clock.advance(1_500);
        await recovery.recover();
      }
      await settled();
      crash();
      await world.clock.advance(LEASE_MS + 1);
    }
    const { recovery, heard } = world.proc();
    const task = recovery.withRecovery(() => 'never', { name: 'n', taskId: () => 't', maxCrashes: 3 });
    const { finished } = await recovery.recover();
    crashes.push(world.clock.wallMs());
    const reason = 'It crashed 3 times within 72 h; the budget is 3.';
    await expect(finished).resolves.toMatchObject({
      deadLettered: 1,
      recovered: 0,
      tasks: [{ outcome: 'dead_letter', reason }],
    });
    await expect(recovery.tasks.get('t')).resolves.toMatchObject({
      status: 'dead_letter',
      crashedAtMs: crashes,
      error: { message: reason },
    });
    expect(heard).toMatchObject([
      { event: 'dead_lettered', task_id: 't', details: { reason, crashes: '3' } },
    ]);
    expect(await rejectionOf(task())).toMatchObject({
      code: 'TASK_DEAD_LETTER',
      details: { taskId: 't', crashedAtMs: crashes },
    });
    const again = await recovery.recover();
    await expect(again.finished).resolves.toMatchObject({ discovered: 0 });
  });

  it('a direct call spends the budget just the same', async () => {
    await orphans(['a']);
    const { recovery } = world.proc();
    const task = define(recovery, 'n', { maxCrashes: 1 });
    expect(await rejectionOf(task('a'))).toMatchObject({ code: 'TASK_DEAD_LETTER' });
  });

  it('strategies that throw, and listeners that throw, break nothing', async () => {
    await orphans(['e1']);
    const broken = {
      name: 'broken',
      decide: () => {
        throw new Error('bad rule');
      },
    };
    const { recovery } = world.proc();
    const task = define(recovery, 'n', { strategies: [broken] });
    recovery.on('*', () => {
      throw new Error('bad listener');
    });
    recovery.on('*', async () => Promise.reject(new Error('worse listener')));
    const { finished } = await recovery.recover();
    await expect(finished).resolves.toMatchObject({
      recovered: 1,
      tasks: [{ decision: 'restart', reason: 'No strategy decided.' }],
    });
    await expect(task('e1')).resolves.toBe('e1 again');
  });

  it('a recovered task that fails is reported as failed, with its error', async () => {
    await orphans(['a']);
    const { recovery } = world.proc();
    recovery.withRecovery(
      () => {
        throw new Error('still broken');
      },
      { name: 'n', taskId: () => 'a' },
    );
    const { finished } = await recovery.recover();
    await expect(finished).resolves.toMatchObject({
      recovered: 1,
      failed: 1,
      tasks: [{ outcome: 'failed', error: 'still broken' }],
    });
  });

  it('a call joins the recovered run of its id', async () => {
    await orphans(['a']);
    const { recovery } = world.proc();
    let runs = 0;
    const task = recovery.withRecovery((_ctx, _id: string) => (runs += 1), { name: 'n', taskId: (id) => id });
    const [{ finished }, value] = await Promise.all([recovery.recover(), task('a')]);
    await finished;
    expect([value, runs]).toEqual([1, 1]);
  });
});
