import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { deferred } from '../../src/runtime/deferred.js';
import type { RecoveryReport } from '../../src/runtime/report.js';
import { settled } from '../support/manual-clock.js';
import { alertsOf, away, LEASE_MS, trapUnhandledRejections, untilAborted, World } from './harness.js';
import { die, startQuietly, swept } from './lab.js';
import { firstOf, HAND_OVER_MS, jobs, lab } from './queue-lab.js';
import type { Lab, LabOptions } from './queue-lab.js';

let world: World;
trapUnhandledRejections();
beforeEach(() => {
  world = new World();
});
afterEach(() => world.end());

const run = (at: Lab, job: unknown): Promise<unknown> => world.until(at.recovery.runTask(job));

async function pass({ recovery }: Lab): Promise<RecoveryReport> {
  const { finished } = await world.until(recovery.recover());
  return world.until(finished);
}

/** Task "t" was begun by a process that died over it. */
async function orphaned(options: Parameters<typeof lab>[1] = {}): Promise<Lab> {
  const owner = lab(world, { waits: true, ...options });
  await startQuietly(owner.task, 't');
  await die(world, owner);
  return owner;
}

describe('an orphan', () => {
  it('is handed over once, however many look at it, with the plan for it', async () => {
    await orphaned();
    const queue = jobs();
    const planners = [1, 2, 3].map(() => lab(world, { dispatch: queue }));
    const reports = await Promise.all(planners.map(pass));
    expect(queue.jobs).toHaveLength(1);
    expect(queue.plans).toMatchObject([{ action: 'restart', strategy: 'clean-restart' }]);
    expect(reports.flatMap(({ tasks }) => tasks)).toMatchObject([
      { taskId: 't', outcome: 'dispatched', decision: 'restart', error: null },
    ]);
    expect(planners.flatMap(({ ran }) => ran)).toEqual([]);
    expect(await planners[0]?.recovery.tasks.get('t')).toMatchObject({
      status: 'pending',
      orphanCause: 'lease_over',
      crashes: [{ attempt: 1 }],
    });
    const events = planners.flatMap(({ heard }) => heard).filter(({ event }) => event === 'task_dispatched');
    expect(events).toMatchObject([
      { task_id: 't', recovery: true, details: { cause: 'lease_over', decision: 'restart' } },
    ]);
  });

  it('is handed over with its checkpoint, for the worker to go on from', async () => {
    const body: NonNullable<LabOptions['body']> = async (ctx, id) => {
      if (ctx.attempt > 1) return `${id} from ${ctx.resumedFrom?.name}`;
      await ctx.createCheckpoint({ name: 'half', progressPercent: 50, recoverableData: {} });
      return untilAborted(ctx);
    };
    await orphaned({ body });
    const queue = jobs();
    const planner = lab(world, { dispatch: queue, body });
    expect(await pass(planner)).toMatchObject({ recovered: 1, tasks: [{ decision: 'resume' }] });
    expect(queue.plans).toMatchObject([{ action: 'resume' }]);
    expect(planner.ran).toEqual([]);
    expect(await run(lab(world, { body }), firstOf(queue))).toBe('t from half');
  });

  it('is not begun by the process that hands it over, though that could', async () => {
    await orphaned();
    const at = lab(world, { dispatch: jobs() });
    expect(await swept(world, at)).toMatchObject({ discovered: 1, recovered: 1, failed: 0 });
    await world.clock.advance(HAND_OVER_MS / 2);
    expect(at.ran).toEqual([]);
    expect(await at.recovery.metrics()).toMatchObject({
      recovery_jobs_created: 1,
      total_recovery_attempts_24h: 0,
    });
  });

  it('is run by a queue in the same process at once, though that waits for its end', async () => {
    await orphaned();
    const at: Lab = lab(world, { dispatch: { dispatch: (job) => at.recovery.runTask(job) } });
    const before = world.clock.monotonicMs();
    await swept(world, at);
    expect(at.ran).toEqual(['t 2']);
    expect(world.clock.monotonicMs() - before).toBeLessThan(1_000);
    expect(alertsOf(at.heard)).toEqual([]);
  });

  it('that a queue does not take comes back, under another fence', async () => {
    await orphaned();
    const taken: unknown[] = [];
    let down = true;
    const at = lab(world, {
      dispatch: {
        dispatch: ({ fence }) => {
          if (down) throw new Error('down');
          taken.push(fence);
        },
      },
    });
    await swept(world, at);
    const { fence = 0 } = (await at.recovery.tasks.get('t')) ?? {};
    expect(alertsOf(at.heard)).toEqual(['dispatch_failed']);
    down = false;
    await world.clock.advance(HAND_OVER_MS + 100_000);
    await settled();
    expect(taken[0]).toBeGreaterThan(fence);
    expect(await at.recovery.tasks.get('t')).toMatchObject({ crashes: [{ attempt: 1 }] });
  });

  it('that nobody can be found for is given up, or cancelled, without a job', async () => {
    await orphaned();
    const queue = jobs();
    const at = lab(world, { dispatch: queue, maxCrashes: 1 });
    expect(await pass(at)).toMatchObject({ deadLettered: 1 });
    await at.recovery.tasks.requeue('t');
    await at.recovery.tasks.cancel('t');
    expect(await pass(at)).toMatchObject({ tasks: [] });
    expect(queue.jobs).toEqual([]);
  });

  it('that a strategy leaves alone is left alone', async () => {
    await orphaned();
    const queue = jobs();
    const strategies = [
      { name: 'never', decide: () => ({ action: 'skip', reason: 'no', evidence: {} }) as const },
    ];
    const at = lab(world, { dispatch: queue, strategies });
    expect(await pass(at)).toMatchObject({ skipped: 1 });
    expect(await at.recovery.planRecovery()).toMatchObject([{ decision: 'skip', dispatched: false }]);
    expect(queue.jobs).toEqual([]);
  });

  it('whose owner is alive after all is not charged by those who handed it over', async () => {
    const owner = lab(world, { waits: true });
    await swept(world, owner);
    await startQuietly(owner.task, 't');
    owner.line.down = away();
    await world.clock.advance(LEASE_MS + 1);
    const queue = jobs();
    const planner = lab(world, { dispatch: queue });
    await pass(planner);
    expect(await planner.recovery.tasks.get('t')).toMatchObject({
      status: 'pending',
      crashes: [{ attempt: 1 }],
    });
    owner.line.down = null;
    await world.clock.advance(HAND_OVER_MS / 2);
    await settled();
    expect(await run(lab(world), firstOf(queue))).toBe('t!');
    expect(await planner.recovery.tasks.get('t')).toMatchObject({ status: 'completed', crashes: [] });
  });
});

describe('the queue', () => {
  it.each([
    ['waiting', 'lease_over', 'WAITING'],
    ['active', 'lease_over', 'ACTIVE'],
    ['gone', 'lease_over', null],
    ['active', 'owner_dead', null],
    ['waiting', 'owner_dead', 'WAITING'],
    ['nonsense', 'lease_over', null],
  ] as const)('that has a job %s of one that is free by %s: %s', async (state, cause, held) => {
    const owner = lab(world, { waits: true });
    await startQuietly(owner.task, 't');
    if (cause === 'lease_over') await die(world, owner);
    else owner.crash();
    const asked: unknown[] = [];
    const queue = jobs({
      // @ts-expect-error: nonsense, in one of the cases
      isActive: (task) => {
        asked.push(task);
        return state;
      },
    });
    const at = lab(world, { dispatch: queue, ...(cause === 'owner_dead' ? { born: '2' } : {}) });
    const [planned] = await at.recovery.planRecovery();
    expect(planned).toMatchObject({ taskId: 't', dispatched: held === null, evidence: { cause } });
    expect(planned?.decision).toBe(held === null ? 'restart' : 'skip');
    expect(await at.recovery.tasks.get('t')).toMatchObject({ status: 'processing' });
    const report = await pass(at);
    expect(asked[0]).toEqual({ taskId: 't', name: 'n', fence: null });
    if (held === null) {
      expect(queue.jobs).toHaveLength(1);
      return;
    }
    expect(report).toMatchObject({ recovered: 0, deferred: 1, skipped: 0 });
    expect(report.tasks).toMatchObject([{ taskId: 't', decision: 'skip', outcome: 'deferred' }]);
    expect(report.tasks[0]?.reason).toMatch(new RegExp(`^${held}: `));
    expect(planned?.reason).toBe(report.tasks[0]?.reason);
    const { dueAtMs = 0, status } = (await at.recovery.tasks.get('t')) ?? {};
    // A job under way is about to go on, or to be lost; one that waits may wait for long.
    const delayMs = state === 'waiting' ? HAND_OVER_MS : LEASE_MS;
    expect([status, (dueAtMs ?? 0) - world.clock.wallMs()]).toEqual(['orphaned', delayMs]);
    expect(await pass(at)).toMatchObject({ deferred: 1, tasks: [] });
    expect(queue.jobs).toEqual([]);
  });

  it.each([
    [
      'throws',
      () => {
        throw new Error('no');
      },
    ],
    ['rejects', () => Promise.reject(new Error('no'))],
    ['hangs', () => deferred<'gone'>().promise],
  ] as const)('that %s when it is asked holds nothing back', async (_, isActive) => {
    await orphaned();
    const queue = jobs({ isActive });
    await pass(lab(world, { dispatch: queue }));
    expect(queue.jobs).toHaveLength(1);
  });

  it('with a hand-over shorter than a lease is asked again after that', async () => {
    await orphaned();
    const at = lab(world, { dispatch: jobs({ isActive: () => 'active' }), handOverMs: LEASE_MS / 2 });
    await pass(at);
    const { dueAtMs } = (await at.recovery.tasks.get('t')) ?? {};
    expect((dueAtMs ?? 0) - world.clock.wallMs()).toBe(LEASE_MS / 2);
  });

  it('is asked again when the time is over, and its waiting job runs the task before that', async () => {
    await orphaned();
    let state: 'waiting' | 'gone' = 'waiting';
    const queue = jobs({ isActive: () => state });
    const at = lab(world, { dispatch: queue });
    await swept(world, at);
    state = 'gone';
    await world.clock.advance(HAND_OVER_MS + 100_000);
    await settled();
    expect(queue.jobs.length).toBeGreaterThan(0);
    expect(await run(lab(world), queue.jobs.at(-1))).toBe('t!');
  });
});
