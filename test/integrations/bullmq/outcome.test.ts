import { Worker } from 'bullmq';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { RecoveryError } from '../../../src/errors.js';
import { recoverableProcessor } from '../../../src/integrations/bullmq/index.js';
import { outcomeOf } from '../../../src/integrations/bullmq/outcome.js';
import { closeServer, Lab, openServer } from './lab.js';

let lab: Lab;
beforeAll(openServer);
afterAll(closeServer);
beforeEach(() => {
  lab = new Lab();
});
afterEach(() => lab.close());

describe('what a job comes to after an error', () => {
  it('is a failure without another try after UNRECOVERABLE', async () => {
    const processor = recoverableProcessor(
      lab.recovery(),
      (): null => {
        throw new RecoveryError('UNRECOVERABLE', 'It is gone.');
      },
      { name: 'doc' },
    );
    lab.worker(processor);
    const id = await lab.add({}, { attempts: 3 });
    expect(await lab.ended(id)).toMatchObject({ state: 'failed', reason: 'It is gone.', attemptsMade: 1 });
  });

  it('is a failure like any other when the error is of another task, or of another Recovery', async () => {
    const errors = [
      new RecoveryError('TASK_RUNNING_ELSEWHERE', 'another task', { details: { taskId: 'other' } }),
      new RecoveryError('TASK_CANCELLED', 'another task', { details: { taskId: 'other' } }),
      new RecoveryError('SHUT_DOWN', 'another Recovery'),
    ];
    const processor = recoverableProcessor(
      lab.recovery(),
      (ctx) => {
        const error = errors[ctx.attempt - 1];
        if (error !== undefined) throw error;
        return ctx.attempt;
      },
      { name: 'doc' },
    );
    lab.worker(processor);
    const id = await lab.add({}, { attempts: 9 });
    expect(await lab.ended(id)).toMatchObject({ state: 'completed', value: 4, attemptsMade: 4 });
  });

  it('is a delay while nothing can be read, and the error itself when the job is not ours to move', async () => {
    const away = new RecoveryError('STORAGE_UNAVAILABLE', 'away');
    const given = { taskId: 'a', token: 't', recheckMs: 50, find: () => Promise.reject(away) };
    const moved: unknown[] = [];
    const job = { moveToDelayed: (...args: unknown[]) => Promise.resolve(void moved.push(args)) };
    expect(await outcomeOf(away, { ...given, job })).toMatchObject({ name: 'DelayedError', cause: away });
    expect(moved).toEqual([[expect.any(Number), 't']]);
    const lost = { moveToDelayed: () => Promise.reject(new Error('Missing lock')) };
    expect(await outcomeOf(away, { ...given, job: lost })).toBe(away);
  });

  it('hears of a cancellation that came before it began', async () => {
    const worker = new Worker(lab.name, null, { connection: lab.connection });
    await lab.add({});
    const job = await worker.getNextJob('token');
    if (job === undefined) throw new Error('There is no job.');
    const seen: boolean[] = [];
    const looking = recoverableProcessor(lab.recovery(), (ctx) => void seen.push(ctx.signal.aborted), {
      name: 'looking',
      taskId: () => 'looking',
    });
    await looking(job, 'token', AbortSignal.abort('early'));
    expect(seen).toEqual([true]);
    await worker.close();
  });
});
