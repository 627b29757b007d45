import { expect, test } from 'vitest';
import { RecoveryError } from '../../../src/errors.js';
import type { RecoveryErrorCode } from '../../../src/errors.js';
import { delivered } from '../../../src/integrations/pg-boss/delivery.js';
import { createRecovery, memoryStorage } from '../../../src/index.js';

const ID = 'q:1';

/** What comes of a job whose tries reject with these errors, one after the other, and then succeed. */
async function deliver(
  errors: readonly unknown[],
  given: {
    dispatched?: boolean;
    expireInSeconds?: number;
    abort?: 'before' | 'meanwhile' | 'in its wait';
  } = {},
): Promise<{ result: unknown; tries: number; taken: string[] }> {
  const { dispatched = false, expireInSeconds = 900, abort } = given;
  const controller = new AbortController();
  if (abort === 'before') controller.abort('given up');
  const recovery = createRecovery({ storage: memoryStorage() });
  const taken: string[] = [];
  const boss = {
    complete: () => Promise.reject(new Error('It is not for this to complete a job.')),
    cancel: (queue: string, id: string) => {
      taken.push(`${queue} ${id}`);
      return Promise.reject(new Error('PostgreSQL is away'));
    },
  };
  let tries = 0;
  const attempt = (): Promise<unknown> => {
    if (abort === 'meanwhile') controller.abort('given up');
    if (abort === 'in its wait') setTimeout(() => controller.abort('given up'), 20);
    const error = errors[(tries += 1) - 1];
    return error === undefined ? Promise.resolve('done') : Promise.reject(error);
  };
  const job = { id: '1', name: 'q', data: {}, expireInSeconds, signal: controller.signal };
  // Long enough for the test to end by its time limit instead.
  const recheckMs = abort === 'in its wait' ? 600_000 : 10;
  const run = { boss, recovery, recheckMs, job, taskId: ID, dispatched, attempt };
  const result = await delivered(run).catch((error: unknown) => error);
  await recovery.shutdown();
  return { result, tries, taken };
}

const own = (code: RecoveryErrorCode, taskId = ID): RecoveryError =>
  new RecoveryError(code, code, { details: { taskId } });

test.each<RecoveryErrorCode>([
  'STORAGE_UNAVAILABLE',
  'STORAGE_FULL',
  'STORAGE_READONLY',
  'LEASE_LOST',
  'LEASE_UNCERTAIN',
  'TASK_RUNNING_ELSEWHERE',
])('after %s a job is kept and tried again here, at no cost in retries', async (code) => {
  expect(await deliver([own(code), own(code)])).toEqual({ result: 'done', tries: 3, taken: [] });
});

test.each<RecoveryErrorCode>(['SHUT_DOWN', 'SLOT_CONFLICT', 'NO_HANDLER'])(
  'after %s a job is left to another worker',
  async (code) => {
    expect(await deliver([own(code)], { dispatched: true })).toMatchObject({
      result: { code },
      tries: 1,
      taken: [],
    });
  },
);

test('it is not kept beyond its time, or when pg-boss has given it up', async () => {
  const away = own('STORAGE_UNAVAILABLE');
  expect(await deliver([away, away], { expireInSeconds: 0 })).toEqual({ result: away, tries: 1, taken: [] });
  const late = { result: away, tries: 1, taken: [] };
  expect(await deliver([away, away], { abort: 'meanwhile' })).toEqual(late);
  expect(await deliver([own('TASK_CANCELLED')], { abort: 'meanwhile' })).toMatchObject({
    tries: 1,
    taken: [],
  });
  const waiting = { result: 'given up', tries: 1, taken: [] };
  expect(await deliver([away, away], { abort: 'in its wait' })).toEqual(waiting);
  expect(await deliver([], { abort: 'before' })).toEqual({ result: 'given up', tries: 0, taken: [] });
});

test.each<RecoveryErrorCode>(['TASK_RUNNING_ELSEWHERE', 'LEASE_LOST', 'LEASE_UNCERTAIN'])(
  'a dispatched job is completed after %s: its task is looked after',
  async (outcome) => {
    const result = { taskId: ID, outcome };
    expect(await deliver([own(outcome)], { dispatched: true })).toEqual({ result, tries: 1, taken: [] });
  },
);

test.each<RecoveryErrorCode>([
  'INPUT_MISMATCH',
  'RESULT_NOT_STORABLE',
  'TASK_CANCELLED',
  'TASK_DEAD_LETTER',
  'TASK_NOT_FOUND',
  'UNRECOVERABLE',
])('after %s a job is taken off, and its worker told', async (code) => {
  const taken = ['q 1'];
  expect(await deliver([own(code)])).toMatchObject({ result: { code }, tries: 1, taken });
});

test('errors of another task are errors like any other', async () => {
  for (const code of ['TASK_CANCELLED', 'TASK_RUNNING_ELSEWHERE', 'LEASE_LOST'] as const) {
    const error = own(code, 'other');
    expect(await deliver([error], { dispatched: true })).toEqual({ result: error, tries: 1, taken: [] });
  }
  const error = new Error('no luck');
  expect(await deliver([error])).toEqual({ result: error, tries: 1, taken: [] });
});
