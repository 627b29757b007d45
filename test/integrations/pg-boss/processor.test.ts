import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { isRecoveryError, RecoveryError } from '../../../src/errors.js';
import { recoverableProcessor } from '../../../src/integrations/pg-boss/index.js';
import type { QueuedJob } from '../../../src/integrations/pg-boss/index.js';
import type { RecoveryContext } from '../../../src/runtime/context.js';
import type { Recovery } from '../../../src/runtime/recovery.js';
import { gate } from '../../support/gate.js';
import type { Gate } from '../../support/gate.js';
import { waitFor } from '../../support/redis-server.js';
import { closeServer, Lab, openServer } from './lab.js';

interface Data {
  readonly doc: string;
}

let lab: Lab;
beforeAll(openServer);
afterAll(closeServer);
beforeEach(async () => {
  lab = new Lab();
  await lab.open();
});
afterEach(() => lab.close());

/** A handler with a step before the gate and one behind it. */
function gated(recovery: Recovery, ran: string[], { pass }: Pick<Gate, 'pass'>) {
  return recoverableProcessor(
    recovery,
    async (ctx: RecoveryContext, { doc }: Data, job: QueuedJob<Data> | null) => {
      ran.push(`${doc} ${ctx.attempt} ${job === null ? 'at boot' : 'with job'}`);
      await ctx.step('first', () => void ran.push(`${doc} first`));
      await pass(ctx.signal);
      return ctx.step('second', () => {
        ran.push(`${doc} second`);
        return `${doc}!`;
      });
    },
    { name: 'doc', boss: lab.boss, recheckMs: 50 },
  );
}

const OPEN = { pass: () => Promise.resolve() };

describe('a recoverable handler', () => {
  it('runs a job once, under an id of the queue and the job, and gives the kept result after that', async () => {
    const ran: string[] = [];
    const recovery = lab.recovery();
    await lab.worker(gated(recovery, ran, OPEN));
    const id = await lab.add({ doc: 'a' });
    expect(await lab.ended(id)).toMatchObject({ state: 'completed', output: { value: 'a!' } });
    expect(await recovery.tasks.get(`${lab.name}:${id}`)).toMatchObject({ status: 'completed', name: 'doc' });
    // Removed, and added by hand under the same id.
    await lab.boss.deleteJob(lab.name, id);
    await lab.add({ doc: 'a' }, { id });
    expect(await lab.ended(id)).toMatchObject({ state: 'completed', output: { value: 'a!' } });
    expect(ran).toEqual(['a 1 with job', 'a first', 'a second']);
  });

  it('goes on from its steps when pg-boss tries again, and counts what pg-boss counts', async () => {
    const ran: string[] = [];
    const failing = {
      pass: () => (ran.length < 4 ? Promise.reject(new Error('no luck')) : Promise.resolve()),
    };
    const recovery = lab.recovery();
    await lab.worker(gated(recovery, ran, failing));
    const id = await lab.add({ doc: 'a' }, { retryLimit: 5 });
    expect(await lab.ended(id)).toMatchObject({ state: 'completed', output: { value: 'a!' }, retryCount: 2 });
    expect(ran).toEqual(['a 1 with job', 'a first', 'a 2 with job', 'a 3 with job', 'a second']);
    expect(await recovery.tasks.get(`${lab.name}:${id}`)).toMatchObject({ attempt: 3, status: 'completed' });
    const hopeless = await lab.add({ doc: 'b' }, { retryLimit: 0 });
    ran.length = 0;
    expect(await lab.ended(hopeless)).toMatchObject({ state: 'failed', output: { message: 'no luck' } });
  });

  it('is taken off when another try can’t help', async () => {
    const recovery = lab.recovery();
    const ran: string[] = [];
    const stopped = gate();
    await lab.worker(
      recoverableProcessor(
        recovery,
        async (ctx, { doc }: Data) => {
          ran.push(doc);
          if (doc === 'broken') throw new RecoveryError('UNRECOVERABLE', 'broken for good');
          if (doc === 'long') await stopped.pass(ctx.signal);
        },
        {
          name: 'doc',
          boss: lab.boss,
          taskId: ({ id, data }) => (data.doc === 'odd' ? 'a{b}' : `mine:${id}`),
        },
      ),
    );
    const options = { retryLimit: 5 };
    const broken = await lab.add({ doc: 'broken' }, options);
    expect(await lab.ended(broken)).toMatchObject({ state: 'cancelled', retryCount: 0 });
    expect(await recovery.tasks.get(`mine:${broken}`)).toMatchObject({ status: 'failed' });
    const long = await lab.add({ doc: 'long' }, options);
    await stopped.reached.promise;
    await recovery.tasks.cancel(`mine:${long}`, { reason: 'not wanted' });
    expect(await lab.ended(long)).toMatchObject({ state: 'cancelled', retryCount: 0 });
    const odd = await lab.add({ doc: 'odd' }, options);
    expect(await lab.ended(odd)).toMatchObject({ state: 'cancelled', retryCount: 0 });
    // Other data under the id of a task.
    await lab.boss.deleteJob(lab.name, broken);
    await lab.add({ doc: 'other' }, { ...options, id: broken });
    expect(await lab.ended(broken)).toMatchObject({ state: 'cancelled', retryCount: 0 });
    expect(ran).toEqual(['broken', 'long']);
    // By hand, as pg-boss has it: a failed task is tried once more.
    await lab.boss.deleteJob(lab.name, broken);
    await lab.add({ doc: 'broken' }, { ...options, id: broken });
    await lab.ended(broken);
    await lab.boss.resume(lab.name, broken);
    await lab.ended(broken);
    expect(ran).toEqual(['broken', 'long', 'broken', 'broken']);
  });

  it('ends each job of a batch by itself', async () => {
    const runs = new Map<string, number>();
    const handler = recoverableProcessor(
      lab.recovery(),
      (ctx, { doc }: Data) => {
        runs.set(doc, ctx.attempt);
        if (doc === 'broken') throw new RecoveryError('UNRECOVERABLE', 'broken for good');
        if (doc.startsWith('fails') && ctx.attempt === 1) throw new Error(`no luck with ${doc}`);
        return doc === 'list' ? [1, 2] : { doc };
      },
      { name: 'doc', boss: lab.boss },
    );
    const docs = ['a', 'fails', 'broken', 'list', 'fails, too'];
    const ids = await Promise.all(docs.map((doc) => lab.add({ doc }, { retryLimit: 3, retryDelay: 1 })));
    const [first = '', failing = '', broken = '', list = '', alsoFailing = ''] = ids;
    await lab.worker(handler, docs.length);
    const retried = await lab.inState(failing, 'retry');
    expect(retried.output).toMatchObject({
      message: expect.stringMatching(/^3 of 5 jobs have failed: .*no luck/),
    });
    expect(await lab.job(first)).toMatchObject({ state: 'completed', output: { doc: 'a' } });
    expect(await lab.job(list)).toMatchObject({ state: 'completed', output: { value: [1, 2] } });
    expect(await lab.job(broken)).toMatchObject({ state: 'cancelled' });
    for (const id of [failing, alsoFailing])
      expect(await lab.ended(id)).toMatchObject({ state: 'completed', retryCount: 1 });
    expect(Object.fromEntries(runs)).toEqual({ a: 1, fails: 2, broken: 1, list: 1, 'fails, too': 2 });
  });

  it('waits while its task runs in another process, and then has its result', async () => {
    const ran: string[] = [];
    const held = gate();
    const busy = await lab.worker(gated(lab.recovery(), ran, held));
    const id = await lab.add({ doc: 'a' });
    await held.reached.promise;
    await busy();
    // pg-boss gives the job to another worker, although the first one lives.
    await lab.expire(id);
    await lab.worker(gated(lab.recovery(), ran, OPEN));
    const again = await lab.inState(id, 'active');
    expect(again.retryCount).toBe(1);
    held.opened.resolve();
    expect(await lab.ended(id)).toMatchObject({ state: 'completed', output: { value: 'a!' }, retryCount: 1 });
    expect(ran).toEqual(['a 1 with job', 'a first', 'a second']);
  });

  it('joins its task when that was resumed here at boot', async () => {
    const ran: string[] = [];
    const first = lab.recovery();
    const held = gate();
    const busy = await lab.worker(gated(first, ran, held));
    const id = await lab.add({ doc: 'a' }, { retryLimit: 5 });
    await held.reached.promise;
    await busy();
    await first.shutdown({ timeoutMs: 50 });
    const second = lab.recovery();
    const again = gate();
    const handler = gated(second, ran, again);
    await second.runStartupRecovery();
    await again.reached.promise;
    await lab.worker(handler);
    await waitFor('the job', async () => (await lab.job(id))?.retryCount === 1);
    again.opened.resolve();
    expect(await lab.ended(id)).toMatchObject({ state: 'completed', output: { value: 'a!' }, retryCount: 1 });
    expect(ran).toEqual(['a 1 with job', 'a first', 'a 2 at boot', 'a second']);
    expect(lab.errors).toEqual([]);
  });

  it('runs a job once that was delivered ten times at once', async () => {
    const ran: string[] = [];
    const held = gate();
    const handlers = [1, 2, 3, 4, 5].map(() => gated(lab.recovery(), ran, held));
    const job = { id: crypto.randomUUID(), name: lab.name, data: { doc: 'a' }, expireInSeconds: 900 };
    const results = [...handlers, ...handlers].map((handler) => handler([{ ...job }]));
    await held.reached.promise;
    held.opened.resolve();
    expect(await Promise.all(results)).toEqual(Array.from({ length: 10 }, () => 'a!'));
    expect(ran).toEqual(['a 1 with job', 'a first', 'a second']);
  });

  it('aborts the signal with that of the job, where pg-boss has one', async () => {
    const held = gate();
    const another = gate();
    const ran: string[] = [];
    const controller = new AbortController();
    const handler = recoverableProcessor(
      lab.recovery(),
      async (ctx, { doc }: Data) => {
        const { pass } = doc === 'short' ? another : held;
        await pass(ctx.signal).catch(() => ran.push(String(ctx.signal.reason)));
        if (ctx.signal.aborted && doc === 'short') return 'as far as it got';
        return ctx.step('more', () => doc);
      },
      { name: 'doc', boss: lab.boss },
    );
    const job = { id: crypto.randomUUID(), name: lab.name, data: { doc: 'a' }, expireInSeconds: 900 };
    const result = handler([{ ...job, signal: controller.signal }]);
    await held.reached.promise;
    controller.abort(new Error('expired'));
    await expect(result).rejects.toMatchObject({ code: 'TASK_CANCELLED' });
    expect(ran).toEqual([expect.stringContaining('pg-boss has cancelled the job')]);
    const short = { ...job, id: crypto.randomUUID(), data: { doc: 'short' } };
    const other = new AbortController();
    const partial = handler([{ ...short, signal: other.signal }]);
    await another.reached.promise;
    other.abort();
    expect(await partial).toBe('as far as it got');
    held.opened.resolve();
    // Not for good: it was the job that came to an end.
    expect(await handler([job])).toBe('a');
  });

  it('stops to wait for another process with the signal of the job', async () => {
    const ran: string[] = [];
    const held = gate();
    const job = { id: crypto.randomUUID(), name: lab.name, data: { doc: 'a' }, expireInSeconds: 900 };
    const first = gated(lab.recovery(), ran, held)([job]);
    await held.reached.promise;
    const controller = new AbortController();
    let looks = 0;
    const storage = new Proxy(lab.storage, {
      get: (target, key) => {
        looks += key === 'read' ? 1 : 0;
        return Reflect.get(target, key);
      },
    });
    const handler = gated(lab.recovery({ storage }), ran, OPEN);
    const second = handler([{ ...job, signal: controller.signal }]);
    await waitFor('its wait', () => looks > 5);
    controller.abort('expired');
    const stopped: unknown = await second.catch((error: unknown) => error);
    // In its wait, or at a look.
    expect(['expired', 'TASK_RUNNING_ELSEWHERE']).toContain(
      isRecoveryError(stopped) ? stopped.code : stopped,
    );
    await expect(handler([{ ...job, signal: controller.signal }])).rejects.toBe('expired');
    held.opened.resolve();
    expect(await first).toBe('a!');
    expect(ran).toEqual(['a 1 with job', 'a first', 'a second']);
  });

  it('gives its job back in a shutdown, and another worker goes on', async () => {
    const ran: string[] = [];
    const held = gate();
    const recovery = lab.recovery();
    const busy = await lab.worker(gated(recovery, ran, held));
    const id = await lab.add({ doc: 'a' }, { retryLimit: 5 });
    await held.reached.promise;
    await busy();
    await recovery.shutdown({ timeoutMs: 100 });
    await lab.inState(id, 'retry');
    await lab.worker(gated(lab.recovery(), ran, OPEN));
    expect(await lab.ended(id)).toMatchObject({ state: 'completed', output: { value: 'a!' }, retryCount: 1 });
    expect(ran).toEqual(['a 1 with job', 'a first', 'a 2 with job', 'a second']);
    await waitFor('the end of the task', async () => (await recovery.tasks.counts()).completed === 1);
  });
});
