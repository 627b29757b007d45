import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { RecoveryContext } from '../../src/runtime/context.js';
import type { TaskOptions } from '../../src/runtime/task-options.js';
import { series } from './crash-lab.js';
import { rejectionOf, SWEEP_MS, trapUnhandledRejections, untilAborted, World } from './harness.js';
import type { Proc } from './harness.js';
import { die, startQuietly, swept, watched } from './lab.js';

trapUnhandledRejections();

type Options = Pick<TaskOptions<[]>, 'maxCrashes'>;

describe('the crash budget', () => {
  let world: World;
  beforeEach(() => void (world = new World()));
  afterEach(() => world.end());

  function define(
    { recovery }: Proc,
    fn: (ctx: RecoveryContext) => unknown = untilAborted,
    options: Options = {},
  ) {
    return recovery.withRecovery<[], unknown>(fn, { name: 'n', taskId: () => 't', ...options });
  }

  it('the first takeover is at once, the second waits', async () => {
    const first = world.proc();
    await startQuietly(define(first));
    await die(world, first);
    const second = world.proc();
    const begun: number[] = [];
    const fn = (ctx: RecoveryContext): Promise<never> => {
      begun.push(world.clock.monotonicMs());
      return untilAborted(ctx);
    };
    define(second, fn);
    await second.recovery.runStartupRecovery();
    expect(begun).toEqual([world.clock.monotonicMs()]);
    await die(world, second);
    const third = world.proc();
    define(third, fn);
    await expect(swept(world, third)).resolves.toMatchObject({ discovered: 0, recovered: 0, deferred: 1 });
    await expect(third.recovery.tasks.get('t')).resolves.toMatchObject({
      status: 'orphaned',
      orphanCause: 'lease_over',
      dueAtMs: world.clock.wallMs() + 1_250,
      crashes: [{ attempt: 1 }, { attempt: 2 }],
    });
    const foundAtMs = world.clock.monotonicMs();
    await world.clock.advance(1_249);
    expect(begun).toHaveLength(1);
    // Suspects gather for a moment.
    await world.clock.advance(100);
    expect((begun[1] ?? 0) - foundAtMs).toBeGreaterThanOrEqual(1_250);
  });

  it('a direct call does not wait for it', async () => {
    for (let crash = 0; crash < 2; crash += 1) {
      const proc = world.proc();
      await startQuietly(define(proc));
      await die(world, proc);
    }
    const proc = world.proc();
    define(proc);
    await swept(world, proc);
    await expect(proc.recovery.tasks.get('t')).resolves.toMatchObject({ status: 'orphaned' });
    const atMs = world.clock.monotonicMs();
    expect(await world.until(define(world.proc(), () => 'called')())).toBe('called');
    // Suspects gather for a moment, but the backoff is more than a second.
    expect(world.clock.monotonicMs() - atMs).toBeLessThanOrEqual(100);
  });

  it.each([1, 2, 3, 5])(
    'maxCrashes %i: a task that kills its process each time is given up after as many',
    async (maxCrashes) => {
      const { crashes, runs, proc } = await series(world, ['t'], new Set(['t']), { maxCrashes });
      expect([crashes, runs.length]).toEqual([maxCrashes, maxCrashes]);
      const { tasks } = await proc.recovery.tasks.deadLetters();
      expect(tasks).toMatchObject([
        {
          taskId: 't',
          status: 'dead_letter',
          attempt: maxCrashes,
          error: { code: 'TASK_DEAD_LETTER', message: expect.stringContaining(`budget is ${maxCrashes}`) },
        },
      ]);
      const evidence = tasks[0]?.crashes ?? [];
      expect(evidence).toHaveLength(maxCrashes);
      for (const [index, crash] of evidence.entries()) {
        expect(crash).toMatchObject({
          attempt: index + 1,
          cause: 'lease_over',
          owner: expect.stringMatching(/^nonce/),
          step: 'step of t',
          progressPercent: 20,
          suspects: index < 2 ? null : 1,
        });
      }
      expect(new Set(evidence.map(({ owner }) => owner)).size).toBe(maxCrashes);
      expect(await rejectionOf(define(world.proc())())).toMatchObject({
        code: 'TASK_DEAD_LETTER',
        details: { crashedAtMs: evidence.map(({ atMs }) => atMs) },
      });
      await world.clock.advance(3 * SWEEP_MS);
      expect(runs).toHaveLength(maxCrashes);
    },
  );

  it('crashes that are out of the window do not count, and neither make suspects nor wait', async () => {
    const windowMs = 10_000;
    for (let crash = 0; crash < 4; crash += 1) {
      const proc = world.proc();
      const task = define(proc, untilAborted, { maxCrashes: { count: 2, windowMs } });
      const call = watched(task());
      await world.clock.advance(windowMs);
      expect(call.state).toBe('open');
      await die(world, proc);
    }
    const proc = world.proc();
    const last = define(proc, () => 'fine', { maxCrashes: { count: 2, windowMs } });
    await expect(swept(world, proc)).resolves.toMatchObject({ recovered: 1, deferred: 0 });
    await expect(last()).resolves.toBe('fine');
  });

  it.each([1, 2, 3, 7, 8, 16])(
    '%i tasks in flight, one of which kills the process: found, and the others complete',
    async (n) => {
      const ids = Array.from({ length: n }, (_, index) => `t${index}`);
      const guilty = ids[Math.floor(n / 3)] ?? '';
      const { crashes, runs, proc } = await series(world, ids, new Set([guilty]), { concurrency: 50 });
      const { tasks } = await proc.recovery.tasks.list({ name: 'n' });
      const states = tasks.map(({ taskId, status }) => `${taskId} ${status}`);
      const expected = ids.map((id) => `${id} ${id === guilty ? 'dead_letter' : 'completed'}`);
      expect(states.toSorted()).toEqual(expected.toSorted());
      expect(crashes).toBeLessThanOrEqual(3 + Math.ceil(Math.log2(n)));
      expect(runs.filter((run) => run.startsWith(`${guilty} `))).toHaveLength(crashes);
      const [dead] = (await proc.recovery.tasks.deadLetters()).tasks;
      expect(dead?.crashes.at(-1)).toMatchObject({ suspects: 1, step: `step of ${guilty}` });
      expect(dead?.crashes.at(-1)?.attempt).toBe(crashes);
    },
  );

  it('two that kill it, wherever they stand, are both found', async () => {
    const ids = Array.from({ length: 9 }, (_, index) => `t${index}`);
    const guilty = new Set(['t0', 't7']);
    const { proc, crashes } = await series(world, ids, guilty, { concurrency: 50 });
    const { tasks } = await proc.recovery.tasks.list({ name: 'n' });
    for (const { taskId, status } of tasks) {
      expect([taskId, status]).toEqual([taskId, guilty.has(taskId) ? 'dead_letter' : 'completed']);
    }
    expect(tasks).toHaveLength(9);
    expect(crashes).toBeLessThanOrEqual(2 * (3 + 4));
  });

  it('one slot is enough: suspects take their turns', async () => {
    const ids = ['a', 'b', 'c', 'd'];
    const { proc } = await series(world, ids, new Set(['c']), { concurrency: 1 });
    await expect(proc.recovery.tasks.counts('n')).resolves.toMatchObject({ completed: 3, dead_letter: 1 });
  });

  it('is requeued with a whole budget, and completes when it is mended', async () => {
    const { proc } = await series(world, ['t'], new Set(['t']));
    const mended = world.proc();
    await proc.recovery.tasks.requeue('t');
    await expect(define(mended, (ctx) => ctx.resumedFrom?.name)()).rejects.toMatchObject({
      code: 'INPUT_MISMATCH',
    });
    const task = mended.recovery.withRecovery((ctx, id: string) => [id, ctx.resumedFrom?.name], {
      name: 'm',
      taskId: (id) => id,
    });
    expect(task.taskName).toBe('m');
    const same = world.proc().recovery.withRecovery((ctx, id: string) => [id, ctx.resumedFrom?.name], {
      name: 'n',
      taskId: (id) => id,
    });
    await expect(same('t')).resolves.toEqual(['t', 'before']);
  });
});
