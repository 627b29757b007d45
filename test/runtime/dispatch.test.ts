import { describe, expect, it } from 'vitest';
import type { Dispatcher, TaskEnvelope } from '../../src/domain/dispatch.js';
import { createRecovery } from '../../src/runtime/create-recovery.js';
import type { Recovery } from '../../src/runtime/recovery.js';
import { memoryStorage } from '../../src/storage/memory.js';
import type { Storage } from '../../src/storage/storage.js';

/** A queue that keeps what it is given. */
function queue(): Dispatcher & { readonly jobs: TaskEnvelope[] } {
  const jobs: TaskEnvelope[] = [];
  return { jobs, dispatch: (envelope) => void jobs.push(envelope) };
}

interface Worker {
  readonly recovery: Recovery;
  readonly double: ReturnType<typeof tasksOf>;
  readonly ran: string[];
}

function tasksOf(recovery: Recovery, ran: string[], hold: Promise<unknown> | null) {
  return recovery.withRecovery(
    async (ctx, id: string) => {
      ran.push(`${id} ${ctx.attempt}`);
      await ctx.step('first', () => 1);
      if (hold !== null) {
        await Promise.race([
          hold,
          new Promise((_, reject) => ctx.signal.addEventListener('abort', () => reject(new Error('stop')))),
        ]);
      }
      return `${id}!`;
    },
    { name: 'double', taskId: (id) => id, group: (id) => id.slice(0, 1) },
  );
}

function worker(
  storage: Storage,
  dispatch: Dispatcher | undefined,
  hold: Promise<unknown> | null = null,
): Worker {
  const recovery = createRecovery({ storage, dispatch, handOverMs: 200, leaseMs: 400, sweepIntervalMs: 50 });
  const ran: string[] = [];
  return { recovery, ran, double: tasksOf(recovery, ran, hold) };
}

describe('a queue of the user', () => {
  it('is given a task that is submitted, and the other end runs it once', async () => {
    const storage = memoryStorage();
    const jobs = queue();
    const web = worker(storage, jobs);
    await expect(web.double.submit('a')).resolves.toEqual({ taskId: 'a' });
    expect(jobs.jobs).toEqual([
      { rekindle: 1, taskId: 'a', name: 'double', fence: expect.any(Number), kind: 'new' },
    ]);
    expect(await web.recovery.tasks.get('a')).toMatchObject({ status: 'pending', attempt: 0 });
    const other = worker(storage, undefined);
    const [job] = jobs.jobs;
    const results = await Promise.all(Array.from({ length: 10 }, () => other.recovery.runTask(job)));
    expect(results).toEqual(Array.from({ length: 10 }, () => 'a!'));
    expect(other.ran).toEqual(['a 1']);
    await expect(other.recovery.runTask(job)).resolves.toBe('a!');
    expect(other.ran).toEqual(['a 1']);
    expect((await web.recovery.tasks.list({ group: 'a' })).tasks.map(({ taskId }) => taskId)).toEqual(['a']);
  });

  it('is given an orphan, under a higher fence, instead of a run here', async () => {
    const storage = memoryStorage();
    const first = worker(storage, undefined, new Promise(() => {}));
    void (await first.double.start('a')).result.catch(() => {});
    await first.recovery.shutdown({ timeoutMs: 50 });
    const jobs = queue();
    const planner = worker(storage, jobs);
    const { finished } = await planner.recovery.runStartupRecovery();
    expect(await finished).toMatchObject({ recovered: 1, tasks: [{ taskId: 'a', outcome: 'dispatched' }] });
    const before = await planner.recovery.tasks.get('a');
    expect(before).toMatchObject({ status: 'pending', attempt: 1 });
    expect(jobs.jobs[0]).toMatchObject({ kind: 'recovery', fence: before?.fence });
    const runner = worker(storage, undefined);
    await expect(runner.recovery.runTask(jobs.jobs[0])).resolves.toBe('a!');
    expect(runner.ran).toEqual(['a 2']);
    expect((await planner.recovery.metrics()).recovery_jobs_created).toBe(1);
    await planner.recovery.shutdown();
  });

  it('loses a job, and the task comes back', async () => {
    const storage = memoryStorage();
    const lost = worker(storage, { dispatch: () => Promise.reject(new Error('queue is down')) });
    const alerts: string[] = [];
    lost.recovery.on('alert', ({ details }) => alerts.push(details['kind'] ?? ''));
    await lost.double.submit('a');
    expect(alerts).toEqual(['dispatch_failed']);
    const runner = worker(storage, undefined);
    const done = new Promise((resolve) => runner.recovery.on('task_completed', resolve));
    await runner.recovery.runStartupRecovery();
    await done;
    expect(runner.ran).toEqual(['a 1']);
    await runner.recovery.shutdown();
  });
});
