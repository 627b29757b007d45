import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { RecoveryReport } from '../../src/runtime/report.js';
import { TOKEN_FIELD } from '../../src/storage/storage.js';
import { settled } from '../support/manual-clock.js';
import { alertsOf, namesOf, rejectionOf, trapUnhandledRejections, World } from './harness.js';
import { swept } from './lab.js';
import { firstOf, HAND_OVER_MS, jobs, lab } from './queue-lab.js';
import type { Lab } from './queue-lab.js';

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

it('a task that kills its worker each time ends as a dead letter, later and later', async () => {
  const queue = jobs();
  const planner = lab(world, { dispatch: queue });
  await swept(world, planner);
  await planner.task.submit('t');
  let handled = 0;
  const times: number[] = [];
  while ((await planner.recovery.tasks.get('t'))?.status !== 'dead_letter' && handled < 10) {
    const job = queue.jobs[handled];
    if (job !== undefined) {
      handled += 1;
      times.push(world.clock.monotonicMs());
      const worker = lab(world, { waits: true });
      worker.recovery.runTask(job).catch(() => {});
      await settled();
      await world.clock.advance(50);
      await settled();
      worker.crash();
    }
    await world.clock.advance(500);
    await settled();
  }
  expect(handled).toBe(3);
  const task = await planner.recovery.tasks.get('t');
  expect(task).toMatchObject({ status: 'dead_letter', attempt: 3 });
  expect(task?.crashes).toHaveLength(3);
  expect(await rejectionOf(run(lab(world), queue.jobs[0]))).toMatchObject({ code: 'TASK_DEAD_LETTER' });
});

describe('the next try after an error', () => {
  const flaky = { task: { maxAttempts: 3 } } as const;

  it('is made by the process that lives, not by the queue', async () => {
    const queue = jobs();
    let fails = 2;
    const body = (): string => {
      if ((fails -= 1) >= 0) throw new Error('no');
      return 'at last';
    };
    const at = lab(world, { ...flaky, dispatch: queue, body });
    await swept(world, at);
    await at.task.submit('t');
    expect(await run(at, firstOf(queue))).toBe('at last');
    expect(at.ran).toEqual(['t 1', 't 2', 't 3']);
    expect(queue.jobs).toHaveLength(1);
  });

  it('goes through the queue when that process is gone', async () => {
    const at = lab(world, { ...flaky, body: () => Promise.reject(new Error('no')) });
    const started = at.task.start('t');
    (await started).result.catch(() => {});
    await settled();
    at.crash();
    const queue = jobs();
    const planner = lab(world, { ...flaky, dispatch: queue });
    await swept(world, planner);
    await world.clock.advance(100_000);
    await settled();
    expect(queue.jobs.length).toBeGreaterThan(0);
    expect(await planner.recovery.tasks.get('t')).toMatchObject({
      orphanCause: expect.stringMatching(/retry_due|not_started/),
    });
    const worker = lab(world, flaky);
    expect(await run(worker, queue.jobs.at(-1))).toBe('t!');
    expect(namesOf(worker.heard)).toContain('recovery_completed');
  });

  it('is taken by whoever waits for it, though another process has handed it over', async () => {
    const queue = jobs();
    let fails = true;
    const body = (): string => {
      if (!fails) return 'mended';
      fails = false;
      throw new Error('no');
    };
    const at = lab(world, { ...flaky, body });
    const ended = at.task('t');
    await settled();
    await world.clock.advance(1_001);
    const head = await at.recovery.tasks.get('t');
    expect(head?.status).toBe('orphaned');
    const planner = lab(world, { ...flaky, dispatch: queue });
    await world.clock.advance((head?.dueAtMs ?? 0) - world.clock.wallMs() - 1);
    await pass(planner);
    expect(await world.until(ended)).toBe('mended');
    expect(at.ran).toEqual(['t 1', 't 2']);
  });
});

it('a requeued document that goes through the queue is a retry like any other', async () => {
  const queue = jobs();
  let fails = true;
  const body = (): string => {
    if (fails) throw new Error('no');
    return 'done';
  };
  const options = { body, task: { document: (id: string) => id } } as const;
  const at = lab(world, { ...options, dispatch: queue });
  await rejectionOf(world.until(at.task('t')));
  expect(await at.recovery.failures.count()).toBe(1);
  await at.recovery.tasks.requeue('t');
  await pass(at);
  expect(firstOf(queue)).toMatchObject({ kind: 'recovery' });
  // Its first job is lost.
  await world.clock.advance(HAND_OVER_MS + 1);
  await pass(at);
  expect(await at.recovery.tasks.get('t')).toMatchObject({ status: 'pending', orphanCause: 'requeued' });
  const worker = lab(world, options);
  expect(await rejectionOf(run(worker, queue.jobs[1]))).toMatchObject({ message: 'no' });
  expect(await worker.recovery.failures.get('t')).toMatchObject({ recoveryAttempts: 1 });
  expect(await worker.recovery.documents.getStatus()).toMatchObject({
    recovery_attempts: 1,
    failed_recoveries: 1,
  });
  fails = false;
  await worker.recovery.tasks.requeue('t');
  await pass(at);
  expect(await run(worker, queue.jobs[2])).toBe('done');
  expect(await worker.recovery.failures.count()).toBe(0);
  expect(await worker.recovery.documents.getStatus()).toMatchObject({
    recovery_attempts: 2,
    successful_recoveries: 1,
  });
});

it('a document that was reported by hand and put back is retried through the queue', async () => {
  const queue = jobs();
  const options = { task: { document: (id: string) => id } } as const;
  const at = lab(world, { ...options, dispatch: queue });
  await at.recovery.failures.record({
    documentPath: 't',
    name: 'n',
    error: new Error('outside'),
    args: ['t'],
    taskId: 't',
  });
  await at.recovery.tasks.requeue('t');
  await pass(at);
  const worker = lab(world, options);
  expect(await run(worker, firstOf(queue))).toBe('t!');
  expect(await worker.recovery.failures.count()).toBe(0);
  expect(await worker.recovery.documents.getStatus()).toMatchObject({
    recovery_attempts: 1,
    successful_recoveries: 1,
  });
});

it('a pending task whose record can not be read is taken out of the queues', async () => {
  const queue = jobs();
  const at = lab(world, { dispatch: queue });
  await at.task.submit('t');
  const { records } = await world.memory.read('rekindle:0', ['h:t']);
  const token = records[0]?.get(TOKEN_FIELD) ?? '';
  expect(token).not.toBe('');
  const { outcomes } = await world.memory.commit('rekindle:0', [
    {
      guard: { key: 'h:t', expect: token, next: `${token}x` },
      set: [{ key: 'h:t', fields: { createdAt: 'never' } }],
    },
  ]);
  expect(outcomes).toMatchObject([{ status: 'applied' }]);
  await world.clock.advance(HAND_OVER_MS + 1);
  await pass(at);
  expect(alertsOf(at.heard)).toEqual(['corrupt_record']);
  await pass(at);
  expect(alertsOf(at.heard)).toEqual(['corrupt_record']);
  expect(queue.jobs).toHaveLength(1);
});
