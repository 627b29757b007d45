/** One attempt at a failed document: a claim of its task, followed to its end, with a limit on its time. */
import { isRecoveryError, messageOf, RecoveryError } from '../errors.js';
import type { StoredError } from '../domain/task.js';
import { requeueBatch } from '../state/endings.js';
import type { Head } from '../state/head.js';
import { claim } from './claims.js';
import { applied, stampFor } from './commits.js';
import { deferred } from './deferred.js';
import type { Engine, Handler } from './engine.js';
import { leaveToOthers } from './engine.js';
import { readHeads } from './heads.js';
import type { Freed } from './orphans.js';
import { outcomeOf } from './report.js';
import type { TaskReport } from './report.js';
import type { Starter } from './starter.js';
import { isUndecodable } from './task-errors.js';

/** What is tried. */
export interface Retry {
  readonly handler: Handler;
  readonly head: Head;
  /** How it is free to be tried; null: all its retries are given back first, and it may be a dead letter. */
  readonly freed: Freed | null;
  readonly timeoutMs: number;
  /** Throws when something of the document can't be read here: then nothing of it is touched. */
  readonly readable: (head: Head) => Promise<unknown>;
}

/** What became of it; `skipped` when there was no attempt. */
export type Tried = Pick<TaskReport, 'decision' | 'reason' | 'outcome' | 'items' | 'error'>;

const REQUEUED: Freed = { cause: 'requeued', ownerSuspects: 0 };
const NO_ATTEMPT = { items: null, error: null } as const;
const LOST: Tried = {
  ...NO_ATTEMPT,
  decision: 'skip',
  reason: 'Another worker was faster.',
  outcome: 'skipped',
};

/** @throws `STORAGE_UNAVAILABLE` and what else is not about this document */
export async function retryDocument(engine: Engine, starter: Starter, retry: Retry): Promise<Tried> {
  const { handler, head: found } = retry;
  const { taskId, name } = found.task;
  if (engine.flights.has(taskId)) return LOST;
  const own = engine.flights.open(taskId, name, null);
  try {
    await retry.readable(found);
    const head = retry.freed === null ? await putBack(engine, found) : found;
    const freed = retry.freed ?? REQUEUED;
    const claimed = head && (await claim(engine, handler, head, freed.cause, freed));
    if (claimed === null || claimed.kind === 'lost') {
      own.lost();
      return LOST;
    }
    const told = { decision: claimed.plan.action, reason: claimed.plan.reason };
    if (claimed.kind !== 'started') {
      own.lost();
      return { ...NO_ATTEMPT, ...told, outcome: claimed.kind };
    }
    own.flight.inputText = claimed.inputText;
    const result = starter.follow(handler, taskId, claimed);
    own.won(result);
    const { outcome, error } = await ended(engine, taskId, result, retry.timeoutMs);
    return { ...told, outcome, error, items: claimed.attempt.items };
  } catch (error) {
    own.lost();
    if (isUndecodable(error, taskId)) leaveToOthers(engine, taskId, name);
    else if (!isRecoveryError(error, 'CORRUPT_RECORD') && !isRecoveryError(error, 'CODEC_FAILED'))
      throw error;
    return { ...NO_ATTEMPT, decision: 'skip', reason: messageOf(error), outcome: 'skipped' };
  }
}

/** Into the recovery queue, with all its retries; null when somebody else has it by then. */
async function putBack(engine: Engine, head: Head): Promise<Head | null> {
  // It is being removed.
  if (head.purged !== null) return null;
  const { taskId } = head.task;
  const { nonce, notAfter } = stampFor(engine, taskId);
  const partition = engine.store.partitionOf(taskId);
  if (!(await applied(engine, partition, requeueBatch(head, nonce, notAfter)))) return null;
  engine.undecodable.delete(taskId);
  const [now = null] = await readHeads(engine.store, partition, [taskId]);
  if (now instanceof Error) throw now;
  return now?.task.status === 'orphaned' ? now : null;
}

type Ended = Pick<TaskReport, 'outcome' | 'error'>;

/** How it ended. One that waits for its own next try when its time is over is left to itself. */
async function ended(
  engine: Engine,
  taskId: string,
  result: Promise<unknown>,
  timeoutMs: number,
): Promise<Ended> {
  const over = deferred<Ended>();
  const cancel = engine.clock.schedule(timeoutMs, () => {
    const running = [...engine.attempts].filter((attempt) => attempt.taskId === taskId);
    for (const attempt of running) attempt.halt(timedOut(taskId, timeoutMs), 'failed');
    if (running.length === 0) over.resolve({ outcome: 'deferred', error: null });
  });
  try {
    return await Promise.race([
      over.promise,
      result.then(
        (): Ended => ({ outcome: 'completed', error: null }),
        (thrown: unknown) => outcomeOf(thrown, engine.closing),
      ),
    ]);
  } finally {
    cancel();
  }
}

function timedOut(taskId: string, timeoutMs: number): RecoveryError {
  return new RecoveryError(
    'TASK_TIMED_OUT',
    `The retry of "${taskId}" took over ${timeoutMs} ms. Give it more time with attemptTimeoutMs, or make it shorter.`,
    { details: { taskId, limit: 'attemptTimeoutMs', timeoutMs } },
  );
}

/** Characters of an error that stand in the reason for a dead letter. */
const LONGEST_REASON = 500;

/** Why a document is given up. */
export function givenUp(retries: number, error: StoredError | null): string {
  const last =
    error === null ? '' : ` ${error.name}: ${error.message}`.slice(0, LONGEST_REASON).toWellFormed();
  return `The document failed again after ${retries} retries.${last}`;
}
