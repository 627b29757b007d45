import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { deferred } from '../../src/runtime/deferred.js';
import { settled } from '../support/manual-clock.js';
import { alertsOf, gate, LEASE_MS, namesOf, rejectionOf, trapUnhandledRejections, World } from './harness.js';
import { die, swept, watched } from './lab.js';
import { firstOf, HAND_OVER_MS, jobs, lab } from './queue-lab.js';
import type { Lab } from './queue-lab.js';

let world: World;
trapUnhandledRejections();
beforeEach(() => {
  world = new World();
});
afterEach(() => world.end());

const run = (at: Lab, job: unknown): Promise<unknown> => world.until(at.recovery.runTask(job));

/** The hand-over is over, and sweeps have seen it. */
async function handOverPasses(): Promise<void> {
  await world.clock.advance(2 * HAND_OVER_MS + 60_000);
  await settled();
}

describe('a task that was submitted', () => {
  it('by a process that died before the queue heard of it comes back by itself', async () => {
    const web = lab(world, { dispatch: { dispatch: () => deferred<void>().promise } });
    void web.task.submit('t').catch(() => {});
    await settled();
    web.crash();
    const queue = jobs();
    const next = lab(world, { dispatch: queue });
    await swept(world, next);
    expect(queue.jobs).toEqual([]);
    await handOverPasses();
    expect(queue.jobs.length).toBeGreaterThan(0);
    const worker = lab(world);
    expect(await run(worker, queue.jobs.at(-1))).toBe('t!');
    expect((await worker.recovery.tasks.history('t')).attempts).toMatchObject([
      { attempt: 1, cause: 'dispatched', end: 'task_completed' },
    ]);
  });

  it.each([
    [
      'throws',
      () => {
        throw new Error('down');
      },
      'Error',
    ],
    ['rejects', () => Promise.reject(new Error('down')), 'Error'],
    ['hangs', () => deferred<void>().promise, 'QUEUE_UNAVAILABLE'],
  ] as const)('to a queue that %s stays, and an alert says so', async (_, dispatch, code) => {
    const at = lab(world, { dispatch: { dispatch } });
    expect(await world.until(at.task.submit('t'))).toEqual({ taskId: 't' });
    expect(alertsOf(at.heard)).toEqual(['dispatch_failed']);
    expect(at.heard.at(-1)?.details).toMatchObject({ task_id: 't', name: 'n', code });
    expect(await at.recovery.tasks.get('t')).toMatchObject({ status: 'pending' });
    const queue = jobs();
    await swept(world, lab(world, { dispatch: queue }));
    await handOverPasses();
    expect(await run(lab(world), queue.jobs.at(-1))).toBe('t!');
  });

  it('is begun by a call, and its job finds it running, or done', async () => {
    const queue = jobs();
    const at = lab(world, { dispatch: queue, waits: true });
    await at.task.submit('t');
    const called = at.task('t');
    await settled();
    expect(await rejectionOf(run(lab(world), firstOf(queue)))).toMatchObject({
      code: 'TASK_RUNNING_ELSEWHERE',
    });
    at.gate.open();
    expect(await world.until(called)).toBe('t!');
    expect(await run(lab(world), firstOf(queue))).toBe('t!');
    expect(namesOf(at.heard)).toEqual(['task_submitted', 'task_started', 'task_completed']);
  });

  it('is refused to a call with other arguments', async () => {
    const at = lab(world, { dispatch: jobs() });
    const one = at.recovery.withRecovery((_ctx, value: number) => value, { name: 'o', taskId: () => 't' });
    await one.submit(1);
    expect(await rejectionOf(one(2))).toMatchObject({ code: 'INPUT_MISMATCH' });
  });

  it('to a queue in this very process runs there, though the queue waits for it', async () => {
    const at: Lab = lab(world, { dispatch: { dispatch: (job) => at.recovery.runTask(job) } });
    await world.until(at.task.submit('t'));
    expect(at.ran).toEqual(['t 1']);
    expect(await at.recovery.tasks.get('t')).toMatchObject({ status: 'completed' });
    expect(alertsOf(at.heard)).toEqual([]);
  });

  it('can be looked at, and cancelled, but not requeued or removed', async () => {
    const at = lab(world, { dispatch: jobs() });
    await at.task.submit('t');
    const { tasks } = at.recovery;
    expect((await tasks.list({ status: 'pending' })).tasks.map(({ taskId }) => taskId)).toEqual(['t']);
    expect(await tasks.counts()).toMatchObject({ pending: 1, processing: 0, orphaned: 0 });
    expect((await tasks.history('t')).events.map(({ event }) => event)).toEqual(['task_submitted']);
    expect((await at.recovery.metrics()).task_state_distribution.pending).toBe(1);
    expect(await at.recovery.health()).toMatchObject({ orphaned_task_count: 0, recovery_queue_depth: 0 });
    expect(await rejectionOf(tasks.requeue('t'))).toMatchObject({ code: 'WRONG_STATE' });
    expect(await rejectionOf(tasks.remove('t'))).toMatchObject({ code: 'WRONG_STATE' });
    expect(
      await rejectionOf(at.recovery.failures.record({ documentPath: 'a', taskId: 't', name: 'n', error: 1 })),
    ).toMatchObject({ code: 'WRONG_STATE' });
    expect(await tasks.cancel('t')).toBe('cancelled');
    expect(await tasks.counts()).toMatchObject({ pending: 0, cancelled: 1 });
    await tasks.requeue('t');
    expect(await tasks.get('t')).toMatchObject({ status: 'orphaned' });
  });

  it('counts as an orphan once its hand-over is over', async () => {
    const at = lab(world, { dispatch: jobs() });
    await at.task.submit('t');
    await world.clock.advance(HAND_OVER_MS + 1);
    expect(await at.recovery.health()).toMatchObject({ orphaned_task_count: 1, recovery_queue_depth: 0 });
    expect(await at.recovery.planRecovery()).toMatchObject([
      { taskId: 't', decision: 'restart', dispatched: true, evidence: { cause: 'not_started' } },
    ]);
    const other = world.proc();
    const report = await swept(world, { ...other });
    expect(report).toMatchObject({ skipped: 1, tasks: [{ taskId: 't', outcome: 'skipped' }] });
    expect(report.tasks[0]?.reason).toContain('NO_HANDLER');
  });

  it('is begun, not recovered, by a job that comes late', async () => {
    const queue = jobs({ isActive: () => 'waiting' });
    const at = lab(world, { dispatch: queue });
    await at.task.submit('t');
    await world.clock.advance(HAND_OVER_MS + 1);
    expect(await swept(world, at)).toMatchObject({ deferred: 1, recovered: 0 });
    expect(await at.recovery.tasks.get('t')).toMatchObject({
      status: 'orphaned',
      orphanCause: 'not_started',
    });
    const worker = lab(world);
    expect(await run(worker, firstOf(queue))).toBe('t!');
    expect(queue.jobs).toHaveLength(1);
    expect(await at.recovery.tasks.get('t')).toMatchObject({ attempt: 1, orphanCause: null, crashes: [] });
    const { events } = await at.recovery.tasks.history('t');
    expect(events.map(({ event }) => event)).toEqual(['task_submitted', 'task_started', 'task_completed']);
    expect(await at.recovery.metrics()).toMatchObject({ total_recovery_attempts_24h: 0 });
    expect(await at.recovery.tasks.counts()).toMatchObject({ orphaned: 0, completed: 1 });
  });

  it('and was to be cancelled by somebody who died over it is not begun', async () => {
    const queue = jobs();
    const at = lab(world, { dispatch: queue });
    await at.task.submit('t');
    const held = at.line.hold(({ kind, keys: [key] }) => kind === 'commit' && key === 'h:t');
    void at.recovery.tasks.cancel('t', { reason: 'no more' }).catch(() => {});
    await held.reached;
    at.crash();
    held.release();
    const worker = lab(world);
    expect(await rejectionOf(run(worker, firstOf(queue)))).toMatchObject({ code: 'TASK_CANCELLED' });
    expect(worker.ran).toEqual([]);
    expect(await worker.recovery.tasks.get('t')).toMatchObject({ status: 'cancelled' });
  });

  it('is taken back when the worker that began it dies', async () => {
    const queue = jobs();
    const web = lab(world, { dispatch: queue });
    await web.task.submit('t');
    const worker = lab(world, { waits: true });
    void worker.recovery.runTask(firstOf(queue)).catch(() => {});
    await settled();
    expect(worker.ran).toEqual(['t 1']);
    await die(world, worker);
    await swept(world, web);
    expect(queue.jobs).toMatchObject([{ kind: 'new' }, { kind: 'recovery' }]);
    expect(queue.plans[1]).toMatchObject({ action: 'restart' });
    const next = lab(world);
    expect(await run(next, queue.jobs[1])).toBe('t!');
    expect(next.ran).toEqual(['t 2']);
    expect(await next.recovery.tasks.get('t')).toMatchObject({ crashes: [{ attempt: 1 }] });
  });

  it('is not lost when the answer to its begin is', async () => {
    const queue = jobs();
    const at = lab(world, { dispatch: queue });
    await at.task.submit('t');
    const slow = lab(world);
    const held = slow.line.hold(({ kind, keys: [key] }) => kind === 'commit' && key === 'h:t');
    const late = slow.recovery.runTask(firstOf(queue));
    late.catch(() => {});
    await held.reached;
    await world.clock.advance(LEASE_MS + 1);
    held.release();
    await settled();
    // Too late to count: it is begun by whoever comes next.
    const next = lab(world);
    const results = await world.until(Promise.allSettled([late, run(next, firstOf(queue))]));
    expect(results.some(({ status }) => status === 'fulfilled')).toBe(true);
    expect([...slow.ran, ...next.ran]).toEqual(['t 1']);
  });
});

it('waits for nobody: a gate that is never opened holds no submit back', async () => {
  const never = gate();
  const at = lab(world, { dispatch: { dispatch: () => never.passed } });
  const submitted = watched(at.task.submit('t'));
  await world.clock.advance(LEASE_MS);
  await settled();
  expect(submitted.state).toBe('resolved');
});
