import { UnrecoverableError } from 'bullmq';
import type { Job } from 'bullmq';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { cancelOnLostLock, recoverableProcessor } from '../../../src/integrations/bullmq/index.js';
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
beforeEach(() => {
  lab = new Lab();
});
afterEach(() => lab.close());

const FAST = { stalledInterval: 50, lockDuration: 1_000 };

/** A processor with a step before the gate and one behind it. */
function gated(recovery: Recovery, ran: string[], { pass }: Pick<Gate, 'pass'>) {
  return recoverableProcessor(
    recovery,
    async (ctx: RecoveryContext, { doc }: Data, job: Job<Data, string> | null) => {
      ran.push(`${doc} ${ctx.attempt} ${job === null ? 'at boot' : 'with job'}`);
      await ctx.step('first', () => void ran.push(`${doc} first`));
      await ctx.updateProgress(40 + ctx.attempt);
      await pass(ctx.signal);
      return ctx.step('second', () => {
        ran.push(`${doc} second`);
        return `${doc}!`;
      });
    },
    { name: 'doc', recheckMs: 50 },
  );
}

const OPEN = { pass: () => Promise.resolve() };

describe('a recoverable processor', () => {
  it('runs a job once, under an id of the queue and the job, and gives the kept result after that', async () => {
    const ran: string[] = [];
    const recovery = lab.recovery();
    lab.worker(gated(recovery, ran, OPEN));
    const id = await lab.add({ doc: 'a' });
    expect(await lab.ended(id)).toMatchObject({ state: 'completed', value: 'a!', attemptsMade: 1 });
    expect(await recovery.tasks.get(`${lab.name}:${id}`)).toMatchObject({ status: 'completed', name: 'doc' });
    const job = await lab.queue.getJob(id);
    await job?.retry('completed');
    await lab.ended(id);
    // Removed, and added by hand under the same id.
    await job?.remove();
    expect(await lab.state(id)).toBe('unknown');
    const taskId = `${lab.name}:again`;
    await lab.add({ doc: 'b' }, { jobId: 'again', removeOnComplete: true });
    await lab.inState('again', 'unknown');
    expect(await recovery.tasks.get(taskId)).toMatchObject({ status: 'completed' });
    await lab.add({ doc: 'b' }, { jobId: 'again' });
    expect(await lab.ended('again')).toMatchObject({ value: 'b!' });
    expect(ran).toEqual(['a 1 with job', 'a first', 'a second', 'b 1 with job', 'b first', 'b second']);
  });

  it('goes on from its steps when BullMQ tries again, and counts what BullMQ counts', async () => {
    const ran: string[] = [];
    const failing = {
      pass: () => (ran.length < 4 ? Promise.reject(new Error('no luck')) : Promise.resolve()),
    };
    const recovery = lab.recovery();
    lab.worker(gated(recovery, ran, failing));
    const id = await lab.add({ doc: 'a' }, { attempts: 5 });
    expect(await lab.ended(id)).toMatchObject({ state: 'completed', value: 'a!', attemptsMade: 3 });
    expect(ran).toEqual(['a 1 with job', 'a first', 'a 2 with job', 'a 3 with job', 'a second']);
    expect(await recovery.tasks.get(`${lab.name}:${id}`)).toMatchObject({ attempt: 3, status: 'completed' });
  });

  it('is not tried again when that can’t help', async () => {
    const recovery = lab.recovery();
    const stopped = gate();
    lab.worker(
      recoverableProcessor(
        recovery,
        async (ctx, { doc }: Data) => {
          if (doc === 'unrecoverable') throw new UnrecoverableError('broken for good');
          await stopped.pass(ctx.signal);
        },
        { name: 'doc' },
      ),
      { concurrency: 5 },
    );
    const options = { attempts: 5 };
    const thrown = await lab.add({ doc: 'unrecoverable' }, options);
    expect(await lab.ended(thrown)).toMatchObject({ reason: 'broken for good', attemptsMade: 1 });
    const cancelled = await lab.add({ doc: 'long' }, options);
    await stopped.reached.promise;
    await recovery.tasks.cancel(`${lab.name}:${cancelled}`, { reason: 'not wanted' });
    expect(await lab.ended(cancelled)).toMatchObject({
      state: 'failed',
      reason: expect.stringContaining('not wanted'),
      attemptsMade: 1,
    });
    const odd = await lab.add({ doc: 'long' }, { ...options, jobId: 'a{b}' });
    expect(await lab.ended(odd)).toMatchObject({
      reason: expect.stringContaining('holds a brace'),
      attemptsMade: 1,
    });
  });

  it('refuses other data under the id of a task', async () => {
    const ran: string[] = [];
    const recovery = lab.recovery();
    lab.worker(gated(recovery, ran, OPEN));
    await lab.add({ doc: 'a' }, { jobId: 'one', removeOnComplete: true });
    await lab.inState('one', 'unknown');
    await lab.add({ doc: 'b' }, { jobId: 'one', attempts: 3 });
    expect(await lab.ended('one')).toMatchObject({
      reason: expect.stringContaining('exists with other arguments'),
      attemptsMade: 1,
    });
  });

  it('waits without a slot while its task runs in another process, and then has its result', async () => {
    const ran: string[] = [];
    const held = gate();
    lab.worker(gated(lab.recovery(), ran, held), { skipStalledCheck: true });
    const id = await lab.add({ doc: 'a' });
    await held.reached.promise;
    await lab.queue.pause();
    // Its stall check gives the job to another worker, although the first one lives.
    await lab.unlock(id);
    lab.worker(gated(lab.recovery(), ran, OPEN), { ...FAST, concurrency: 1 });
    await lab.inState(id, 'waiting', 'paused');
    // The first worker takes no more jobs: it is busy.
    await lab.queue.resume();
    await lab.inState(id, 'delayed');
    const other = await lab.add({ doc: 'b' });
    expect(await lab.ended(other)).toMatchObject({ state: 'completed', value: 'b!' });
    expect(['delayed', 'active', 'waiting']).toContain(await lab.state(id));
    held.opened.resolve();
    // The first worker can't complete what is not its own any more; the second has the kept result.
    expect(await lab.ended(id)).toMatchObject({ state: 'completed', value: 'a!', attemptsMade: 1 });
    expect(ran.filter((line) => line.startsWith('a'))).toEqual(['a 1 with job', 'a first', 'a second']);
  });

  it('joins its task when that was resumed here at boot', async () => {
    const ran: string[] = [];
    const held = gate();
    const first = lab.recovery();
    const dead = lab.worker(gated(first, ran, held));
    const id = await lab.add({ doc: 'a' });
    await held.reached.promise;
    // Gone with its task given back, and its job active: as after a kill, but for the wait.
    await dead.pause(true);
    await lab.queue.pause();
    const second = lab.recovery();
    const again = gate();
    const processor = gated(second, ran, again);
    await first.shutdown({ timeoutMs: 50 });
    await second.runStartupRecovery();
    await again.reached.promise;
    lab.worker(processor, FAST);
    await lab.queue.resume();
    // What it has missed.
    await waitFor('its progress', async () => (await lab.queue.getJob(id))?.progress === 42);
    expect(await lab.state(id)).toBe('active');
    again.opened.resolve();
    expect(await lab.ended(id)).toMatchObject({ state: 'completed', value: 'a!', attemptsMade: 1 });
    expect(ran).toEqual(['a 1 with job', 'a first', 'a 2 at boot', 'a second']);
  });

  it('aborts the signal when the worker cancels the job, and what the function makes of it counts', async () => {
    const held = gate();
    const seen: unknown[] = [];
    const processor = recoverableProcessor(
      lab.recovery(),
      async (ctx, { doc }: Data) => {
        // The abort was that of the delivery before.
        if (ctx.attempt > 1) return ctx.step('again', () => `${doc} ${ctx.signal.aborted}`);
        await held.pass(ctx.signal).catch(() => seen.push(ctx.signal.reason));
        return ctx.step('more', () => 'never');
      },
      { name: 'doc' },
    );
    const worker = lab.worker(processor);
    const id = await lab.add({ doc: 'a' }, { attempts: 2 });
    await held.reached.promise;
    worker.cancelJob(id, 'not now');
    expect(await lab.ended(id)).toMatchObject({ state: 'completed', value: 'a false', attemptsMade: 2 });
    expect(seen).toEqual([expect.objectContaining({ code: 'TASK_CANCELLED', cause: 'not now' })]);
  });

  it('aborts the signal when the lock is lost, and the next worker goes on', async () => {
    const ran: string[] = [];
    const held = gate();
    const worker = lab.worker(gated(lab.recovery(), ran, held), {
      lockDuration: 400,
      skipStalledCheck: true,
    });
    const off = cancelOnLostLock(worker);
    const id = await lab.add({ doc: 'a' });
    await held.reached.promise;
    await worker.pause(true);
    await lab.unlock(id);
    lab.worker(gated(lab.recovery(), ran, OPEN), FAST);
    expect(await lab.ended(id)).toMatchObject({ state: 'completed', value: 'a!' });
    expect(ran).toEqual(['a 1 with job', 'a first', 'a 2 with job', 'a second']);
    off();
    expect(worker.listenerCount('lockRenewalFailed')).toBe(0);
  });

  it('mirrors progress and checkpoints to the job', async () => {
    const seen: unknown[] = [];
    const done = gate();
    const worker = lab.worker(
      recoverableProcessor(
        lab.recovery(),
        async (ctx) => {
          await ctx.updateProgress(10);
          await done.opened.promise;
          for (let percent = 11; percent < 90; percent += 1) await ctx.updateProgress(percent);
          await ctx.createCheckpoint({ name: 'nearly', progressPercent: 95 });
          await expect(ctx.updateProgress(101)).rejects.toThrow('from 0 to 100');
        },
        { name: 'doc' },
      ),
    );
    worker.on('progress', (_, progress) => {
      seen.push(progress);
      done.opened.resolve();
    });
    const id = await lab.add({});
    expect(await lab.ended(id)).toMatchObject({ state: 'completed' });
    expect((await lab.queue.getJob(id))?.progress).toBe(95);
    expect(seen[0]).toBe(10);
    expect(seen.length).toBeLessThan(10);
  });

  it('gives its job back in a shutdown at no cost, and another worker goes on', async () => {
    const ran: string[] = [];
    const held = gate();
    const recovery = lab.recovery();
    const worker = lab.worker(gated(recovery, ran, held));
    const id = await lab.add({ doc: 'a' });
    await held.reached.promise;
    const closed = worker.close();
    await recovery.shutdown({ timeoutMs: 100 });
    await closed;
    expect(await lab.state(id)).toBe('delayed');
    expect((await lab.queue.getJob(id))?.attemptsMade).toBe(0);
    lab.worker(gated(lab.recovery(), ran, OPEN));
    expect(await lab.ended(id)).toMatchObject({ state: 'completed', value: 'a!', attemptsMade: 1 });
    expect(ran).toEqual(['a 1 with job', 'a first', 'a 2 with job', 'a second']);
    expect(lab.errors).toEqual([]);
  });
});
