import { beforeEach, afterEach, describe, expect, it } from 'vitest';
import { deferred } from '../../src/runtime/deferred.js';
import { settled } from '../support/manual-clock.js';
import { namesOf, rejectionOf, trapUnhandledRejections, World } from './harness.js';
import { die, startQuietly } from './lab.js';
import { envelope, firstOf, jobs, lab } from './queue-lab.js';
import type { Lab } from './queue-lab.js';

let world: World;
trapUnhandledRejections();
beforeEach(() => {
  world = new World();
});
afterEach(() => world.end());

const run = (at: Lab, job: unknown = envelope()): Promise<unknown> => world.until(at.recovery.runTask(job));
const refusal = (at: Lab, job?: unknown): Promise<unknown> => rejectionOf(run(at, job));

describe('a job of', () => {
  it.each([
    ['nothing', undefined],
    ['a text', '{"rekindle":1}'],
    ['a list', [1]],
    ['another version', envelope({ rekindle: 2 })],
  ])('%s is refused', async (_, job) => {
    expect(await refusal(lab(world), job ?? null)).toMatchObject({ code: 'INVALID_VALUE' });
  });

  it('an id that is none is refused', async () => {
    expect(await refusal(lab(world), envelope({ taskId: 7 }))).toMatchObject({ code: 'INVALID_ID' });
    expect(await refusal(lab(world), envelope({ name: '' }))).toMatchObject({ code: 'INVALID_ID' });
  });

  it('a task that was removed finds none, and makes none', async () => {
    const at = lab(world);
    expect(await refusal(at)).toMatchObject({ code: 'TASK_NOT_FOUND', details: { taskId: 't' } });
    expect(await at.recovery.tasks.get('t')).toBeNull();
    expect(at.ran).toEqual([]);
  });

  it('a task that there is none of does not keep a call from making it', async () => {
    const at = lab(world);
    // The job looks first, and the call waits for what it finds.
    const [job, made] = await Promise.all([rejectionOf(at.recovery.runTask(envelope())), at.task('t')]);
    expect([made, job]).toEqual(['t!', expect.objectContaining({ code: 'TASK_NOT_FOUND' })]);
  });

  it('a function that is not here is refused, and says that another try may help', async () => {
    expect(await refusal(lab(world), envelope({ name: 'other' }))).toMatchObject({
      code: 'NO_HANDLER',
      retryable: true,
      details: { taskId: 't', name: 'other' },
    });
  });

  it('another name is refused', async () => {
    const queue = jobs();
    const at = lab(world, { dispatch: queue });
    at.recovery.withRecovery(() => 'other', { name: 'other' });
    await at.task.submit('t');
    expect(await refusal(at, envelope({ name: 'other' }))).toMatchObject({ code: 'INPUT_MISMATCH' });
    expect(await at.recovery.tasks.get('t')).toMatchObject({ status: 'pending' });
  });

  it('a completed task gives the kept result, and runs nothing', async () => {
    const at = lab(world);
    await world.until(at.task('t'));
    const other = lab(world);
    expect(await run(other)).toBe('t!');
    expect(other.ran).toEqual([]);
  });

  it('a cancelled task is refused', async () => {
    const at = lab(world, { dispatch: jobs() });
    await at.task.submit('t');
    expect(await at.recovery.tasks.cancel('t')).toBe('cancelled');
    expect(await refusal(at)).toMatchObject({ code: 'TASK_CANCELLED' });
    expect(at.ran).toEqual([]);
  });

  it('a dead letter is refused', async () => {
    const at = lab(world, { waits: true });
    await startQuietly(at.task, 't');
    await die(world, at);
    const other = lab(world, { maxCrashes: 1 });
    expect(await refusal(other)).toMatchObject({ code: 'TASK_DEAD_LETTER' });
    expect(await refusal(other)).toMatchObject({ code: 'TASK_DEAD_LETTER' });
    expect(other.ran).toEqual([]);
  });

  it('a failed task tries it once more, as a call does', async () => {
    let fails = true;
    const body = (): string => {
      if (!fails) return 'mended';
      throw new TypeError('no');
    };
    const queue = jobs();
    const at = lab(world, { body, dispatch: queue });
    await at.task.submit('t');
    expect(await refusal(at, firstOf(queue))).toMatchObject({ message: 'no' });
    expect(await at.recovery.tasks.get('t')).toMatchObject({ status: 'failed' });
    fails = false;
    expect(await run(at, firstOf(queue))).toBe('mended');
    expect(at.ran).toEqual(['t 1', 't 2']);
  });

  it('a failed task rejects with what it failed with, after its last try', async () => {
    const body = (): string => {
      throw new TypeError('no');
    };
    const at = lab(world, { body, dispatch: jobs(), task: { maxAttempts: 3 } });
    await at.task.submit('t');
    expect(await refusal(at)).toMatchObject({ message: 'no' });
    expect(at.ran).toEqual(['t 1', 't 2', 't 3']);
  });
});

describe('a task that runs elsewhere', () => {
  it('is left alone, and the job is told that another try may help', async () => {
    const at = lab(world, { waits: true });
    await startQuietly(at.task, 't');
    const other = lab(world);
    expect(await refusal(other)).toMatchObject({ code: 'TASK_RUNNING_ELSEWHERE', retryable: true });
    expect(other.ran).toEqual([]);
  });

  it('is waited for with `join`', async () => {
    const at = lab(world, { waits: true });
    await startQuietly(at.task, 't');
    const other = lab(world, { task: { ifRunning: 'join' } });
    const joined = other.recovery.runTask(envelope());
    await settled();
    at.gate.open();
    expect(await world.until(joined)).toBe('t!');
    expect(other.ran).toEqual([]);
  });

  it('is taken up with `join` when its owner dies', async () => {
    const at = lab(world, { waits: true });
    await startQuietly(at.task, 't');
    const other = lab(world, { task: { ifRunning: 'join' } });
    const joined = other.recovery.runTask(envelope());
    await die(world, at);
    expect(await world.until(joined)).toBe('t!');
    expect(other.ran).toEqual(['t 2']);
  });
});

describe('one job, delivered', () => {
  it('ten times at once in one process and in three others, comes to one run', async () => {
    const queue = jobs();
    const web = lab(world, { dispatch: queue });
    await web.task.submit('t');
    const workers = [1, 2, 3, 4].map(() => lab(world, { task: { ifRunning: 'join' } }));
    const results = workers.flatMap(({ recovery }) =>
      Array.from({ length: 10 }, () => recovery.runTask({ ...firstOf(queue) })),
    );
    expect(new Set(await world.until(Promise.all(results)))).toEqual(new Set(['t!']));
    expect(workers.flatMap(({ ran }) => ran)).toEqual(['t 1']);
  });

  it('the same of an orphan', async () => {
    const queue = jobs();
    const first = lab(world, { waits: true });
    await startQuietly(first.task, 't');
    await die(world, first);
    const planner = lab(world, { dispatch: queue });
    await world.until(planner.recovery.recover().then(({ finished }) => finished));
    const workers = [1, 2, 3].map(() => lab(world));
    const results = workers.flatMap(({ recovery }) =>
      Array.from({ length: 10 }, () => recovery.runTask(firstOf(queue))),
    );
    const ended = await world.until(Promise.allSettled(results));
    for (const each of ended)
      if (each.status === 'rejected')
        expect(each.reason).toMatchObject({ code: 'TASK_RUNNING_ELSEWHERE', retryable: true });
    expect(ended.filter(({ status }) => status === 'fulfilled').length).toBeGreaterThanOrEqual(10);
    expect(workers.flatMap(({ ran }) => ran)).toEqual(['t 2']);
  });

  it('late, after the next one was made, runs it just as well; the next one finds it done', async () => {
    const queue = jobs();
    const web = lab(world, { dispatch: queue });
    await web.task.submit('t');
    await world.until(web.recovery.runStartupRecovery());
    await world.clock.advance(100_000);
    await settled();
    const [first, second] = queue.jobs;
    expect([first?.kind, second?.kind]).toEqual(['new', 'recovery']);
    expect(second?.fence).toBeGreaterThan(first?.fence ?? 0);
    const worker = lab(world);
    expect(await run(worker, first)).toBe('t!');
    expect(await run(worker, second)).toBe('t!');
    expect(worker.ran).toEqual(['t 1']);
  });

  it('after its task was removed and made anew, runs the new one', async () => {
    const queue = jobs();
    const web = lab(world, { dispatch: queue });
    await web.task.submit('t');
    const old = firstOf(queue);
    await web.recovery.tasks.cancel('t');
    await web.recovery.tasks.remove('t');
    expect(await refusal(web, old)).toMatchObject({ code: 'TASK_NOT_FOUND' });
    await web.task.submit('t');
    expect(queue.jobs[1]?.fence).toBeGreaterThan(old.fence);
    expect(await run(web, old)).toBe('t!');
    expect(await run(web, queue.jobs[1])).toBe('t!');
    expect(web.ran).toEqual(['t 1']);
  });
});

it('begins a submitted task by code of another version without a word', async () => {
  const queue = jobs();
  const web = lab(world, { dispatch: queue });
  await web.task.submit('t');
  const worker = lab(world, { task: { version: '2', onVersionMismatch: 'quarantine' } });
  expect(await run(worker, firstOf(queue))).toBe('t!');
  expect(await worker.recovery.tasks.get('t')).toMatchObject({ version: '2', attempt: 1 });
});

it('decides about a recovered task of another version as the worker does', async () => {
  const at = lab(world, { waits: true });
  await startQuietly(at.task, 't');
  await die(world, at);
  const queue = jobs();
  const planner = lab(world, { dispatch: queue });
  await world.until(planner.recovery.recover().then(({ finished }) => finished));
  const worker = lab(world, { task: { version: '2', onVersionMismatch: 'quarantine' } });
  expect(await refusal(worker, firstOf(queue))).toMatchObject({ code: 'TASK_DEAD_LETTER' });
});

it('refuses a call with other arguments that joins it', async () => {
  const queue = jobs();
  const worker = lab(world, { dispatch: queue, waits: true });
  const other = worker.recovery.withRecovery((_, value: number) => value, {
    name: 'm',
    taskId: () => 'same',
    dispatch: queue,
  });
  const hold = deferred<string>();
  const held = worker.recovery.withRecovery(async (_ctx, value: number) => `${value} ${await hold.promise}`, {
    name: 'h',
    taskId: () => 'held',
    dispatch: queue,
  });
  await other.submit(1);
  await held.submit(1);
  const running = worker.recovery.runTask(queue.jobs[1]);
  await settled();
  expect(await rejectionOf(world.until(held(2)))).toMatchObject({ code: 'INPUT_MISMATCH' });
  const joined = held(1);
  hold.resolve('done');
  expect(await world.until(Promise.all([running, joined]))).toEqual(['1 done', '1 done']);
});

it('is refused in a shutdown, which gives the task back for the next job', async () => {
  const queue = jobs();
  const worker = lab(world, { dispatch: queue, waits: true });
  await worker.task.submit('t');
  const running = rejectionOf(worker.recovery.runTask(firstOf(queue)));
  await settled();
  await world.until(worker.recovery.shutdown({ timeoutMs: 1_000 }));
  expect(await running).toMatchObject({ code: 'SHUT_DOWN' });
  expect(await refusal(worker)).toMatchObject({ code: 'SHUT_DOWN' });
  const next = lab(world);
  expect(await run(next, firstOf(queue))).toBe('t!');
  expect(next.ran).toEqual(['t 2']);
  expect(namesOf(next.heard)).toContain('recovery_completed');
});
