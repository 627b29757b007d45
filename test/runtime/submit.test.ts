import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import * as z from 'zod';
import { deferred } from '../../src/runtime/deferred.js';
import { PRIORITY_BAND, priorityBase } from '../../src/state/keys.js';
import { settled } from '../support/manual-clock.js';
import { alertsOf, gate, LEASE_MS, namesOf, rejectionOf, trapUnhandledRejections, World } from './harness.js';
import { die, startQuietly, swept, watched } from './lab.js';
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

describe('submit', () => {
  it('needs a queue, and writes nothing without one', async () => {
    const at = lab(world);
    expect(await rejectionOf(at.task.submit('t'))).toMatchObject({ code: 'INVALID_OPTION' });
    expect(at.line.commits).toEqual([]);
    expect(
      await rejectionOf(lab(world, { dispatch: jobs(), task: { dispatch: null } }).task.submit('t')),
    ).toMatchObject({ code: 'INVALID_OPTION' });
  });

  it('makes the task durable before the queue hears of it', async () => {
    const seen: unknown[] = [];
    const at: Lab = lab(world, {
      dispatch: {
        dispatch: async (job, plan) => void seen.push(job, plan, await at.recovery.tasks.get('t')),
      },
    });
    expect(await at.task.submit('t')).toEqual({ taskId: 't' });
    expect(seen).toMatchObject([
      { rekindle: 1, taskId: 't', name: 'n', kind: 'new' },
      null,
      { status: 'pending', attempt: 0, owner: null },
    ]);
    const waitingMs = (await at.recovery.tasks.get('t'))?.dueAtMs ?? 0;
    expect(waitingMs - world.clock.wallMs()).toBe(HAND_OVER_MS);
  });

  it('of a task of its own queue goes there', async () => {
    const [all, own] = [jobs(), jobs()];
    const at = lab(world, { dispatch: all, task: { dispatch: own } });
    await at.task.submit('t');
    expect([all.jobs.length, own.jobs.length]).toEqual([0, 1]);
  });

  it.each(['pending', 'processing', 'orphaned', 'completed', 'failed', 'cancelled'])(
    'leaves a task alone that is %s',
    async (status) => {
      const queue = jobs();
      const at = lab(world, {
        dispatch: queue,
        waits: status === 'processing' || status === 'orphaned',
        ...(status === 'failed' ? { body: () => Promise.reject(new Error('no')) } : {}),
      });
      if (status === 'pending' || status === 'cancelled') await at.task.submit('t');
      else await startQuietly(at.task, 't');
      if (status === 'cancelled') await at.recovery.tasks.cancel('t');
      if (status === 'orphaned') await world.until(at.recovery.shutdown({ timeoutMs: 10 }));
      const other = lab(world, { dispatch: queue });
      const before = await other.recovery.tasks.get('t');
      expect(before?.status).toBe(status);
      const made = queue.jobs.length;
      expect(await other.task.submit('t')).toEqual({ taskId: 't' });
      expect(await other.recovery.tasks.get('t')).toEqual(before);
      expect(queue.jobs.length).toBe(made);
      at.gate.open();
    },
  );

  it('leaves a dead letter alone', async () => {
    const at = lab(world, { waits: true });
    await startQuietly(at.task, 't');
    await die(world, at);
    const queue = jobs();
    const other = lab(world, { maxCrashes: 1, dispatch: queue });
    await swept(world, other);
    await other.task.submit('t');
    expect(await other.recovery.tasks.get('t')).toMatchObject({ status: 'dead_letter' });
    expect(queue.jobs).toEqual([]);
  });

  it('refuses other arguments, and another name, under the same id', async () => {
    const at = lab(world, { dispatch: jobs() });
    const same = (name: string) =>
      at.recovery.withRecovery((_ctx, value: number) => value, { name, taskId: () => 't' });
    const [one, two] = [same('one'), same('two')];
    await one.submit(1);
    expect(await rejectionOf(one.submit(2))).toMatchObject({ code: 'INPUT_MISMATCH' });
    expect(await rejectionOf(two.submit(1))).toMatchObject({ code: 'INPUT_MISMATCH' });
  });

  it('stores the raw input, and gives the parsed one to the function, at the other end too', async () => {
    const queue = jobs();
    const input = z.object({ n: z.string().transform(Number) });
    const got: unknown[] = [];
    const wrap = (at: Lab) =>
      at.recovery.withRecovery((_ctx, given) => void got.push(given.n), { name: 'parsed', input });
    const [web, worker] = [lab(world, { dispatch: queue }), lab(world)];
    wrap(worker);
    const task = wrap(web);
    await task.submit({ n: '7' });
    await run(worker, firstOf(queue));
    expect(got).toEqual([7]);
    // @ts-expect-error: what the schema refuses
    expect(await rejectionOf(task.submit({ n: 7 }))).toMatchObject({ code: 'INPUT_INVALID' });
  });

  it('fails a task whose stored input the schema of the worker refuses', async () => {
    const queue = jobs();
    const wrap = (at: Lab, input: z.ZodType<string, string>) =>
      at.recovery.withRecovery((_ctx, given) => given, { name: 'parsed', input });
    const [web, worker] = [lab(world, { dispatch: queue }), lab(world)];
    wrap(worker, z.string().max(1));
    const { taskId } = await wrap(web, z.string()).submit('long');
    expect(await rejectionOf(run(worker, firstOf(queue)))).toMatchObject({ code: 'INPUT_INVALID' });
    expect(await worker.recovery.tasks.get(taskId)).toMatchObject({ status: 'failed', attempt: 1 });
  });

  it('carries the context of the caller, and both through a codec', async () => {
    const queue = jobs();
    const codec = {
      encode: (text: string) => Buffer.from(text).toString('hex'),
      decode: (text: string) => Buffer.from(text, 'hex').toString(),
    };
    const seen: unknown[] = [];
    const options = { codec, task: { userContext: (id: string) => ({ tenant: `of ${id}` }) } } as const;
    const web = lab(world, { ...options, dispatch: queue });
    const worker = lab(world, {
      ...options,
      body: (ctx, id) => {
        seen.push(ctx.userContext);
        return id;
      },
    });
    await web.task.submit('t');
    expect(JSON.stringify(web.line.commits)).not.toContain('of t');
    expect(await run(worker, firstOf(queue))).toBe('t');
    expect(seen).toEqual([{ tenant: 'of t' }]);
    const keyless = lab(world, { codec: { ...codec, decode: () => Promise.reject as never } });
    await web.task.submit('u');
    expect(await rejectionOf(run(keyless, queue.jobs[1]))).toMatchObject({ code: 'CODEC_FAILED' });
    expect(await web.recovery.tasks.get('u')).toMatchObject({ status: 'pending' });
  });

  it('keeps the priority that it was submitted with, whatever the worker has', async () => {
    const queue = jobs();
    const web = lab(world, { dispatch: queue, task: { priority: 7 } });
    await web.task.submit('t');
    const worker = lab(world, { waits: true });
    const running = worker.recovery.runTask(firstOf(queue));
    running.catch(() => {});
    await settled();
    await world.until(worker.recovery.shutdown({ timeoutMs: 10 }));
    expect(await web.recovery.tasks.get('t')).toMatchObject({ status: 'orphaned', priority: 7 });
    const { entries } = await world.memory.range('rekindle:0', 'orphaned:n', { limit: 10 });
    // The band of its record's priority, not of the worker's.
    expect(Math.floor((entries[0]?.score ?? 0) / PRIORITY_BAND)).toBe(
      Math.floor(priorityBase(7) / PRIORITY_BAND),
    );
  });

  it('is refused in a shutdown, and when the storage is away', async () => {
    const queue = jobs();
    const at = lab(world, { dispatch: queue });
    await world.until(at.recovery.shutdown());
    expect(await rejectionOf(at.task.submit('t'))).toMatchObject({ code: 'SHUT_DOWN' });
    expect(queue.jobs).toEqual([]);
  });
});

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
    ['hangs', () => deferred<void>().promise, 'CHECK_FAILED'],
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
