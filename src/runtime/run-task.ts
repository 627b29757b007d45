/** The worker's side of a queue: from a job's envelope to the task's result. */
import { isObject } from '../domain/check-options.js';
import type { TaskEnvelope } from '../domain/dispatch.js';
import { checkId } from '../domain/ids.js';
import { RecoveryError } from '../errors.js';
import type { Engine } from './engine.js';
import { assertOpen } from './engine.js';
import type { Starter } from './starter.js';

/** @throws `INVALID_VALUE`, `INVALID_ID` */
function envelopeOf(given: unknown): Pick<TaskEnvelope, 'taskId' | 'name'> {
  if (!isObject(given) || given['rekindle'] !== 1) {
    throw new RecoveryError(
      'INVALID_VALUE',
      'runTask needs the envelope that `dispatch` was given, as it was: { rekindle: 1, taskId, name, fence, kind }.',
    );
  }
  const { taskId, name } = given;
  return { taskId: checkId('The task id', taskId), name: checkId('The task name', name) };
}

/** Begins, takes up or joins the task of an envelope. Several deliveries of one job come to one run. */
export async function runTask(engine: Engine, starter: Starter, given: unknown): Promise<unknown> {
  const { taskId, name } = envelopeOf(given);
  assertOpen(engine);
  const handler = engine.handlers.get(name);
  if (handler === undefined) {
    throw new RecoveryError(
      'NO_HANDLER',
      `No function is registered under "${name}" here. Wrap it before the queue's jobs are taken, or leave this job to a worker that has it.`,
      { retryable: true, details: { taskId, name } },
    );
  }
  const { result } = await starter.run(handler, taskId);
  return result;
}
