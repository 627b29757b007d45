import { FlowProducer, Queue, WaitingChildrenError } from 'bullmq';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import {
  bullmqDispatcher,
  cancelOnLostLock,
  dispatchedProcessor,
  recoverableProcessor,
} from '../../../src/integrations/bullmq/index.js';
import { gate } from '../../support/gate.js';
import { taskOf } from '../../support/queued-task.js';
import { waitFor } from '../../support/redis-server.js';
import { closeServer, Lab, openServer } from './lab.js';

let lab: Lab;
beforeAll(openServer);
afterAll(closeServer);
beforeEach(() => {
  lab = new Lab();
});
afterEach(() => lab.close());

describe('bullmqDispatcher', () => {
  it('makes one job of a hand-over, which a worker runs once', async () => {
    const ran: string[] = [];
    const dispatch = bullmqDispatcher(lab.queue, { jobName: 'recover', jobOptions: { attempts: 3 } });
    const web = lab.recovery({ dispatch });
    // BullMQ allows no colon in the id of a job.
    await taskOf(web, ran).submit('a:b c');
    const [job] = await lab.queue.getWaiting();
    expect(job).toMatchObject({
      id: expect.stringMatching(/^rekindle-a%3Ab%20c-\d+$/),
      name: 'recover',
      data: { rekindle: 1, taskId: 'a:b c', name: 'task', kind: 'new' },
      opts: expect.objectContaining({ attempts: 3 }),
    });
    await Promise.all(Array.from({ length: 10 }, () => dispatch.dispatch(job?.data, null)));
    expect(await lab.queue.getJobCountByTypes('waiting')).toBe(1);
    const other = lab.recovery();
    taskOf(other, ran);
    lab.worker(dispatchedProcessor(other));
    expect(await lab.ended(job?.id ?? '')).toMatchObject({ state: 'completed', value: 'a:b c!' });
    expect(ran).toEqual(['a:b c first', 'a:b c 1']);
  });

  it('makes a new job of a hand-over whose job came to its end before the task was begun', async () => {
    const ran: string[] = [];
    const web = lab.recovery({ dispatch: bullmqDispatcher(lab.queue) });
    const task = taskOf(web, ran);
    await task.submit('a');
    const [{ id = '' } = {}] = await lab.queue.getWaiting();
    const other = lab.recovery();
    // It fails, as it would where nobody has the function and tries are used up.
    const bad = lab.worker(() => Promise.reject(new Error('no')));
    await lab.inState(id, 'failed');
    await bad.close();
    await task.submit('a');
    taskOf(other, ran);
    lab.worker(dispatchedProcessor(other));
    expect(await lab.ended(id)).toMatchObject({ state: 'completed', value: 'a!' });
    expect(ran).toEqual(['a first', 'a 1']);
  });

  it('takes an orphan to a worker, which goes on from its steps', async () => {
    const ran: string[] = [];
    const held = gate();
    const first = lab.recovery();
    void taskOf(first, ran, held)('a').catch(() => {});
    await held.reached.promise;
    await first.shutdown({ timeoutMs: 50 });
    const planner = lab.recovery({ dispatch: bullmqDispatcher(lab.queue) });
    taskOf(planner, ran);
    await planner.runStartupRecovery();
    const runner = lab.recovery();
    // Jobs of a dispatcher are known by a recoverable processor, too.
    taskOf(runner, ran);
    lab.worker(recoverableProcessor(runner, (_, data: unknown) => data, { name: 'own' }));
    await waitFor('the task', async () => (await planner.tasks.get('a'))?.status === 'completed');
    expect(ran).toEqual(['a first', 'a 2']);
    // The queue hears of it a moment after the task is done.
    await waitFor('the job', async () => (await lab.queue.getCompletedCount()) === 1);
    const [job] = await lab.queue.getCompleted();
    expect(job?.returnvalue).toBe('a!');
  });

  it('knows what the queue does with a job', async () => {
    const { isActive, describe: counts } = bullmqDispatcher(lab.queue);
    const ask = (taskId: string, fence: number | null) => isActive?.({ taskId, name: 'task', fence });
    const own = (id: string) => `${lab.name}:${id}`;
    await lab.add({}, { jobId: 'soon', delay: 60_000 });
    await lab.add({}, { jobId: 'rekindle-x-7', priority: 3 });
    const held = gate();
    const worker = lab.worker(() => held.opened.promise, { concurrency: 2 });
    await lab.add({}, { jobId: 'now' });
    await lab.inState('now', 'active');
    await lab.inState('rekindle-x-7', 'active');
    await lab.add({}, { jobId: 'next' });
    await lab.add({}, { jobId: 'urgent', priority: 1 });
    expect(await Promise.all([ask(own('soon'), null), ask(own('next'), null)])).toEqual([
      'waiting',
      'waiting',
    ]);
    expect(await Promise.all([ask(own('urgent'), null), ask(own('now'), null)])).toEqual([
      'waiting',
      'active',
    ]);
    expect(await Promise.all([ask('x', 7), ask('x', 8), ask('x', null)])).toEqual(['active', 'gone', 'gone']);
    // Its first job is to come again, whatever became of the one that it was handed over with.
    expect(await ask(own('next'), 3)).toBe('waiting');
    expect(await counts?.()).toEqual({ waiting: 3, active: 2, failed: 0 });
    held.opened.resolve();
    await lab.ended('now');
    expect(await ask(own('now'), null)).toBe('gone');
    await worker.close();
  });

  it('leaves an orphan to its job as long as that is to come, and takes it when it is gone', async () => {
    const ran: string[] = [];
    const dispatch = bullmqDispatcher(lab.queue);
    const planner = lab.recovery({ dispatch, handOverMs: 300 });
    const task = taskOf(planner, ran);
    await task.submit('a');
    const before = await planner.tasks.get('a');
    const run = await planner.runStartupRecovery();
    const deferral = (): Promise<void> =>
      waitFor('a look at it', async () => {
        const { tasks } = await (await planner.recover()).finished;
        return tasks.some(({ outcome }) => outcome === 'deferred');
      });
    await deferral();
    expect((await run.finished).failed).toBe(0);
    expect((await planner.tasks.get('a'))?.fence).toBe(before?.fence);
    // By hand.
    await lab.queue.drain();
    await waitFor('another job', async () => (await lab.queue.getWaiting()).length > 0);
    const [job] = await lab.queue.getWaiting();
    expect(job?.data).toMatchObject({ taskId: 'a', kind: 'recovery' });
    await deferral();
    expect(await lab.queue.getWaitingCount()).toBe(1);
    const runner = lab.recovery();
    taskOf(runner, ran);
    lab.worker(dispatchedProcessor(runner));
    await lab.ended(job?.id ?? '');
    expect(ran).toEqual(['a first', 'a 1']);
  });

  it('puts a job off that this worker has no function for', async () => {
    const ran: string[] = [];
    const web = lab.recovery({ dispatch: bullmqDispatcher(lab.queue) });
    await taskOf(web, ran).submit('a');
    const [job] = await lab.queue.getWaiting();
    lab.worker(dispatchedProcessor(lab.recovery(), { recheckMs: 20 }));
    await lab.inState(job?.id ?? '', 'delayed');
    const able = lab.recovery();
    taskOf(able, ran);
    lab.worker(dispatchedProcessor(able));
    expect(await lab.ended(job?.id ?? '')).toMatchObject({ state: 'completed', attemptsMade: 1 });
  });

  it('says what is wrong with its options, and with a job that is not its own', async () => {
    const recovery = lab.recovery();
    const options: object = { jobId: 'mine' };
    const fn = (): null => null;
    const processor = (given: object) => () => recoverableProcessor(recovery, fn, { name: 'x', ...given });
    expect(() => bullmqDispatcher(lab.queue, { jobOptions: options })).toThrow('without a jobId');
    expect(() => bullmqDispatcher(JSON.parse('{}'))).toThrow('the queue must be an object with add()');
    expect(() => dispatchedProcessor(JSON.parse('{}'))).toThrow('with withRecovery(), runTask()');
    expect(() => cancelOnLostLock(JSON.parse('{}'))).toThrow('a newer BullMQ 5');
    expect(() => dispatchedProcessor(recovery, { recheckMs: 1 })).toThrow('from 10 to 3600000');
    expect(processor({ maxAttempts: 3 })).toThrow("BullMQ's `attempts` count");
    expect(processor({ ifRunning: 'join' })).toThrow('"ifRunning" is no option');
    expect(processor({ recheckMs: 'often' })).toThrow('"recheckMs" must be');
    expect(processor({ prioritty: 3 })).toThrow('"prioritty" is no option');
    lab.worker(dispatchedProcessor(recovery));
    const id = await lab.add({ doc: 'a' }, { attempts: 3 });
    expect(await lab.ended(id)).toMatchObject({
      reason: expect.stringContaining('no envelope'),
      attemptsMade: 1,
    });
    taskOf(recovery, []);
    const again = await lab.add(
      { rekindle: 1, taskId: 'gone', name: 'task', fence: 2, kind: 'new' },
      { attempts: 3 },
    );
    expect(await lab.ended(again)).toMatchObject({
      reason: expect.stringContaining('no task "gone"'),
      attemptsMade: 1,
    });
  });
});

describe('flows', () => {
  it('a parent keeps what its children gave it in a step, and waits for more of them without a run too many', async () => {
    const flow = new FlowProducer({ connection: lab.connection });
    const more = new Queue(`${lab.name}-more`, { connection: lab.connection });
    const ran: string[] = [];
    const recovery = lab.recovery();
    const child = recoverableProcessor(
      recovery,
      (ctx, { page }: { page: number }) =>
        ctx.step('read', () => {
          ran.push(`page ${page}`);
          return page * 2;
        }),
      { name: 'page' },
    );
    const parent = recoverableProcessor(
      recovery,
      async (ctx, _: object, job) => {
        const sum = await ctx.step('first pages', async () => {
          ran.push('sum');
          const values: number[] = Object.values((await job?.getChildrenValues()) ?? {});
          return values.reduce((all, value) => all + value, 0);
        });
        if (job === null) return sum;
        await ctx.step('last page', async () => {
          const queue = `bull:${lab.name}`;
          await more.add('page', { page: 10 }, { parent: { id: job.id ?? '', queue } });
        });
        if (await job.moveToWaitingChildren(job.token ?? '')) throw new WaitingChildrenError();
        const all: number[] = Object.values(await job.getChildrenValues());
        return { sum, all: all.length };
      },
      { name: 'book' },
    );
    lab.worker(child, {}, `${lab.name}-more`);
    lab.worker(parent);
    const { job } = await flow.add({
      name: 'book',
      queueName: lab.name,
      data: {},
      children: [1, 2].map((page) => ({ name: 'page', queueName: `${lab.name}-more`, data: { page } })),
    });
    const ended = await lab.ended(job.id ?? '');
    expect(ended).toMatchObject({ state: 'completed', value: { sum: 6, all: 3 } });
    expect(ran.toSorted()).toEqual(['page 1', 'page 10', 'page 2', 'sum']);
    await Promise.all([flow.close(), more.close()]);
  });
});
