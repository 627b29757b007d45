/** Batches that belong to no attempt: claims, ends, commands. */
import { RecoveryError } from '../errors.js';
import type { CrashEvidence, TaskRecord } from '../domain/task.js';
import { endBatch } from '../state/endings.js';
import type { Head } from '../state/head.js';
import { indexes, keys } from '../state/keys.js';
import type { Stamp } from '../state/removal.js';
import { refusalError } from '../state/record-writer.js';
import { localEvent } from '../state/task-events.js';
import type { Batch } from '../storage/storage.js';
import type { Engine } from './engine.js';
import { notAfter } from './engine.js';
import { storedErrorOf } from './task-errors.js';

/** Whether it was applied, and its events told; false: somebody else was faster, look again. @throws what refuses it */
export async function applied({ queue, emitter }: Engine, partition: string, batch: Batch): Promise<boolean> {
  const { outcome, nowMs, again } = await queue.commit(partition, batch);
  if (outcome.status === 'refused') throw refusalError(outcome);
  if (outcome.status === 'conflict' || outcome.status === 'expired') return false;
  // All removals look the same: what is gone already, before this one was ever sent, somebody else has removed.
  if (outcome.status === 'duplicate' && batch.guard.next === null && !again) return false;
  for (const event of batch.append ?? [])
    if (emitter.hears(event['event'])) emitter.emit(localEvent(event, nowMs));
  return true;
}

/** Takes a worker off the books. */
export function removalOf(incarnation: string, token: string, notAfterMs: number): Batch {
  return {
    guard: { key: keys.worker(incarnation), expect: token, next: null },
    notAfter: notAfterMs,
    index: [{ index: indexes.workers, id: incarnation, score: null }],
  };
}

const CODES = { dead_letter: 'TASK_DEAD_LETTER', cancelled: 'TASK_CANCELLED' } as const;

/**
 * Ends a task that nobody runs, and has it cleaned up after; whether it was still free to be ended.
 * @param reason what the event says: nothing that users wrote into errors
 */
export async function endUnowned(
  engine: Engine,
  head: Head,
  status: 'dead_letter' | 'cancelled',
  crashes: readonly CrashEvidence[],
  message: string,
  reason: string = message,
): Promise<boolean> {
  const { taskId, name } = head.task;
  const partition = engine.store.partitionOf(taskId);
  const error = storedErrorOf(new RecoveryError(CODES[status], message), engine.settings);
  const stamp = stampFor(engine, taskId);
  if (!(await applied(engine, partition, endBatch(head, { status, crashes, error, reason, ...stamp }))))
    return false;
  const handler = engine.handlers.get(name);
  if (handler !== undefined) engine.cleanups.run(handler, taskId, status);
  return true;
}

/** Tries before a command gives up on a record that changes under its hands each time. */
export const TRIES = 50;

/** What a command's batch needs, whoever makes it. */
export function stampFor(engine: Engine, taskId: string): Stamp {
  const partition = engine.store.partitionOf(taskId);
  const atMs = engine.store.estimatedNowMs(partition);
  return { nonce: engine.random.nonce(), notAfter: notAfter(engine, partition), atMs };
}

export function wrongState({ taskId, status }: TaskRecord, advice: string): RecoveryError {
  return new RecoveryError('WRONG_STATE', `Task "${taskId}" is ${status}; ${advice}.`, {
    details: { taskId, status },
  });
}

export function changing(taskId: string): RecoveryError {
  return new RecoveryError('STORAGE_UNAVAILABLE', `Task "${taskId}" kept changing hands; try again.`, {
    retryable: true,
  });
}
