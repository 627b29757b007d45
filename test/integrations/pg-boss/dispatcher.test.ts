import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import {
  dispatchedProcessor,
  pgBossDispatcher,
  recoverableProcessor,
} from '../../../src/integrations/pg-boss/index.js';
import { gate } from '../../support/gate.js';
import { taskOf } from '../../support/queued-task.js';
import { waitFor } from '../../support/redis-server.js';
import { closeServer, Lab, openServer } from './lab.js';

let lab: Lab;
beforeAll(openServer);
afterAll(closeServer);
beforeEach(async () => {
  lab = new Lab();
  await lab.open();
});
afterEach(() => lab.close());

const dispatcher = () => pgBossDispatcher(lab.boss, { queue: lab.name });

/** The one job of the queue. */
async function onlyJob(): Promise<{ id: string; data: unknown }> {
  const jobs = await lab.jobs('created', 'retry', 'active', 'completed', 'cancelled', 'failed');
  expect(jobs).toHaveLength(1);
  return jobs[0] ?? { id: '', data: null };
}

describe('pgBossDispatcher', () => {
  it('makes one job of a hand-over, which a worker runs once', async () => {
    const ran: string[] = [];
    const dispatch = pgBossDispatcher(lab.boss, {
      queue: lab.name,
      sendOptions: { retryLimit: 7, priority: 3, expireInSeconds: 60 },
    });
    const web = lab.recovery({ dispatch });
    await taskOf(web, ran).submit('a:b c');
    const { id, data } = await onlyJob();
    expect(data).toMatchObject({ rekindle: 1, taskId: 'a:b c', name: 'task', kind: 'new' });
    expect(id).toMatch(/^[\da-f]{8}-[\da-f]{4}-8[\da-f]{3}-[89ab][\da-f]{3}-[\da-f]{12}$/);
    expect(await lab.job(id)).toMatchObject({ retryLimit: 7, priority: 3, expireIn: { minutes: 1 } });
    await Promise.all(
      Array.from({ length: 10 }, () => dispatch.dispatch(JSON.parse(JSON.stringify(data)), null)),
    );
    await onlyJob();
    const other = lab.recovery();
    const held = gate();
    taskOf(other, ran, held);
    await lab.worker(dispatchedProcessor(other, { boss: lab.boss }));
    await held.reached.promise;
    await dispatch.dispatch(JSON.parse(JSON.stringify(data)), null);
    expect(await lab.job(id)).toMatchObject({ state: 'active' });
    held.opened.resolve();
    expect(await lab.ended(id)).toMatchObject({ state: 'completed', output: { value: 'a:b c!' } });
    expect(ran).toEqual(['a:b c first', 'a:b c 1']);
    // Another fence is another job.
    await dispatch.dispatch({ rekindle: 1, taskId: 'a:b c', name: 'task', fence: 9, kind: 'recovery' }, null);
    expect(await lab.jobs('created', 'active', 'completed')).toHaveLength(2);
  });

  it('takes an orphan to a worker, which goes on from its steps', async () => {
    const ran: string[] = [];
    const held = gate();
    const first = lab.recovery();
    void taskOf(first, ran, held)('a').catch(() => {});
    await held.reached.promise;
    await first.shutdown({ timeoutMs: 50 });
    const planner = lab.recovery({ dispatch: dispatcher() });
    taskOf(planner, ran);
    await planner.runStartupRecovery();
    const runner = lab.recovery();
    // Jobs of a dispatcher are known by a recoverable handler, too.
    taskOf(runner, ran);
    const { boss } = lab;
    await lab.worker(recoverableProcessor(runner, (_, data: unknown) => data, { name: 'own', boss }));
    await waitFor('the task', async () => (await planner.tasks.get('a'))?.status === 'completed');
    expect(ran).toEqual(['a first', 'a 2']);
    expect(await lab.ended((await onlyJob()).id)).toMatchObject({ output: { value: 'a!' } });
  });

  it('comes to one run when its job is delivered ten times at once', async () => {
    const ran: string[] = [];
    const held = gate();
    const web = lab.recovery({ dispatch: dispatcher() });
    await taskOf(web, ran).submit('a');
    const { data } = await onlyJob();
    // Ten jobs of the same envelope, to three workers.
    await Promise.all(Array.from({ length: 9 }, () => lab.boss.send(lab.name, Object(data))));
    for (const batchSize of [4, 3, 3]) {
      const runner = lab.recovery();
      taskOf(runner, ran, held);
      await lab.worker(dispatchedProcessor(runner, { boss: lab.boss }), batchSize);
    }
    await held.reached.promise;
    // All but those of the batch that it runs in.
    await waitFor('the others', async () => (await lab.jobs('completed')).length >= 6);
    held.opened.resolve();
    await waitFor('their ends', async () => (await lab.jobs('completed')).length === 10);
    expect(ran).toEqual(['a first', 'a 1']);
    const ended = await Promise.all((await lab.jobs('completed')).map(({ id }) => lab.job(id)));
    // Those in hand with it have its result; those elsewhere leave it alone.
    const left = { taskId: 'a', outcome: 'TASK_RUNNING_ELSEWHERE' };
    const outputs = ended.map((job) => JSON.stringify(job?.output));
    expect(new Set(outputs)).toEqual(new Set([JSON.stringify({ value: 'a!' }), JSON.stringify(left)]));
  });

  it('knows what the queue does with a job', async () => {
    const { isActive, describe: counts } = dispatcher();
    const ask = (taskId: string, fence: number | null = null) => isActive?.({ taskId, name: 'task', fence });
    const own = (id: string) => `${lab.name}:${id}`;
    const id = await lab.add({}, { retryLimit: 1, retryDelay: 60, startAfter: 60 });
    expect(await ask(own(id))).toBe('waiting');
    await lab.boss.getDb().executeSql('UPDATE pgboss.job SET start_after = now() WHERE id = $1', [id]);
    expect(await lab.boss.fetch(lab.name)).toHaveLength(1);
    expect(await ask(own(id))).toBe('active');
    expect(await counts?.()).toEqual({ waiting: 0, active: 1, failed: 0 });
    await lab.boss.fail(lab.name, id);
    expect(await lab.job(id)).toMatchObject({ state: 'retry' });
    expect(await counts?.()).toEqual({ waiting: 1, active: 0, failed: 0 });
    expect(await ask(own(id))).toBe('waiting');
    await lab.boss.getDb().executeSql('UPDATE pgboss.job SET start_after = now() WHERE id = $1', [id]);
    await lab.boss.fetch(lab.name);
    await lab.boss.fail(lab.name, id);
    expect(await lab.job(id)).toMatchObject({ state: 'failed' });
    expect(await ask(own(id))).toBe('gone');
    const cancelled = await lab.add({});
    await lab.boss.cancel(lab.name, cancelled);
    expect(await ask(own(cancelled))).toBe('gone');
    const completed = await lab.add({});
    await lab.boss.fetch(lab.name);
    await lab.boss.complete(lab.name, completed);
    expect(await ask(own(completed))).toBe('gone');
    // Not of this queue, no job of pg-boss, never there.
    expect(await Promise.all([ask('x'), ask(own('7')), ask(`other:${id}`), ask('x', 8)])).toEqual(
      Array.from({ length: 4 }, () => 'gone'),
    );
    await dispatcher().dispatch(
      { rekindle: 1, taskId: own(id), name: 'task', fence: 7, kind: 'recovery' },
      null,
    );
    // Its last hand-over is to come, whatever became of the job that it first came with.
    expect(await Promise.all([ask(own(id), 7), ask(own(id), 8)])).toEqual(['waiting', 'gone']);
    expect(await counts?.()).toEqual({ waiting: 1, active: 0, failed: 1 });
  });

  it('leaves an orphan to its job as long as that is to come, and takes it when it is gone', async () => {
    const ran: string[] = [];
    const planner = lab.recovery({ dispatch: dispatcher(), handOverMs: 300 });
    const task = taskOf(planner, ran);
    await task.submit('a');
    const before = await planner.tasks.get('a');
    await planner.runStartupRecovery();
    const deferral = (): Promise<void> =>
      waitFor('a look at it', async () => {
        const { tasks } = await (await planner.recover()).finished;
        return tasks.some(({ outcome }) => outcome === 'deferred');
      });
    await deferral();
    expect((await planner.tasks.get('a'))?.fence).toBe(before?.fence);
    const lost = await onlyJob();
    // By hand.
    await lab.boss.deleteJob(lab.name, lost.id);
    await waitFor('another job', async () => (await lab.jobs('created')).length > 0);
    const { id, data } = await onlyJob();
    expect(id).not.toBe(lost.id);
    expect(data).toMatchObject({ taskId: 'a', kind: 'recovery' });
    await deferral();
    expect((await onlyJob()).id).toBe(id);
    const runner = lab.recovery();
    taskOf(runner, ran);
    await lab.worker(dispatchedProcessor(runner, { boss: lab.boss }));
    await lab.ended(id);
    expect(ran).toEqual(['a first', 'a 1']);
  });

  it('sends a task that nobody could begin once more, although its job is still to be seen', async () => {
    const ran: string[] = [];
    const dispatch = pgBossDispatcher(lab.boss, { queue: lab.name, sendOptions: { retryLimit: 0 } });
    const web = lab.recovery({ dispatch });
    const task = taskOf(web, ran);
    await task.submit('a');
    const { id } = await onlyJob();
    const unable = await lab.worker(dispatchedProcessor(lab.recovery(), { boss: lab.boss }));
    expect(await lab.ended(id)).toMatchObject({ state: 'failed' });
    await unable();
    await task.submit('a');
    expect(await onlyJob()).toMatchObject({ id });
    const able = lab.recovery();
    taskOf(able, ran);
    await lab.worker(dispatchedProcessor(able, { boss: lab.boss }));
    expect(await lab.ended(id)).toMatchObject({ state: 'completed', output: { value: 'a!' } });
  });

  it('gives a job back that this worker has no function for', async () => {
    const ran: string[] = [];
    const dispatch = pgBossDispatcher(lab.boss, { queue: lab.name, sendOptions: { retryLimit: 1_000 } });
    const web = lab.recovery({ dispatch });
    await taskOf(web, ran).submit('a');
    const { id } = await onlyJob();
    const unable = await lab.worker(dispatchedProcessor(lab.recovery(), { boss: lab.boss }));
    await waitFor('its return', async () => ((await lab.job(id))?.retryCount ?? 0) > 0);
    await unable();
    const able = lab.recovery();
    taskOf(able, ran);
    await lab.worker(dispatchedProcessor(able, { boss: lab.boss }));
    expect(await lab.ended(id)).toMatchObject({ state: 'completed', output: { value: 'a!' } });
  });

  it('tells of a queue that takes no job', async () => {
    const codes: unknown[] = [];
    const dispatch = pgBossDispatcher(lab.boss, { queue: 'nowhere' });
    const web = lab.recovery({ dispatch });
    web.on('alert', ({ details }) => codes.push([details['kind'], details['code']]));
    await taskOf(web, []).submit('a');
    expect(codes).toEqual([['dispatch_failed', 'QUEUE_UNAVAILABLE']]);
    expect(await web.tasks.get('a')).toMatchObject({ status: 'pending' });
  });

  it('says what is wrong with its options, and takes off what is none of its jobs', async () => {
    const recovery = lab.recovery();
    const { boss, name: queue } = lab;
    const fn = (): null => null;
    const withId: object = { id: 'mine' };
    const handler = (given: object) => () =>
      recoverableProcessor(recovery, fn, { name: 'x', boss, ...given });
    expect(() => pgBossDispatcher(boss, { queue, sendOptions: withId })).toThrow('without an id');
    expect(() => pgBossDispatcher(boss, { queue: '' })).toThrow('the name of a queue');
    expect(() => pgBossDispatcher(boss, { queue, schema: 'x; DROP TABLE y' })).toThrow(
      'the name of a schema',
    );
    expect(() => pgBossDispatcher(JSON.parse('{}'), { queue })).toThrow(
      'pg-boss must be an object with send()',
    );
    expect(() => dispatchedProcessor(JSON.parse('{}'), { boss })).toThrow('with withRecovery(), runTask()');
    expect(() => dispatchedProcessor(recovery, JSON.parse('{}'))).toThrow('"boss"');
    expect(() => dispatchedProcessor(recovery, { boss, recheckMs: 1 })).toThrow('from 10 to 3600000');
    expect(handler({ maxAttempts: 3 })).toThrow("pg-boss's `retryLimit` counts the errors");
    expect(handler({ ifRunning: 'join' })).toThrow('"ifRunning" is no option');
    expect(handler({ boss: undefined })).toThrow('"boss"');
    expect(handler({ prioritty: 3 })).toThrow('"prioritty" is no option');
    taskOf(recovery, []);
    const single = dispatchedProcessor(recovery, { boss });
    const job = (data: unknown) => [{ id: crypto.randomUUID(), name: queue, data, expireInSeconds: 9 }];
    await expect(single(job({ doc: 'a' }))).rejects.toThrow('is none of pgBossDispatcher');
    await lab.worker(single);
    const id = await lab.add({ doc: 'a' });
    expect(await lab.ended(id)).toMatchObject({ state: 'cancelled', retryCount: 0 });
    const gone = await lab.add({ rekindle: 1, taskId: 'gone', name: 'task', fence: 2, kind: 'new' });
    expect(await lab.ended(gone)).toMatchObject({ state: 'cancelled', retryCount: 0 });
  });
});
