/** What a job's worker is told of an error: try again, never again, or come back later at no cost. */
import type { Job } from 'bullmq';
import { isRecoveryError } from '../../errors.js';
import type { RecoveryErrorCode } from '../../errors.js';
import type { TaskRecord } from '../../domain/task.js';

/** Errors that BullMQ knows by their names, over process borders too: the name is a member of its own. */
class Signal extends Error {
  override readonly name: 'DelayedError' | 'UnrecoverableError';

  constructor(name: 'DelayedError' | 'UnrecoverableError', message: string, cause: unknown) {
    super(message, { cause });
    this.name = name;
  }
}

/** Says that the job has failed and is not to be tried again. */
export function unrecoverable(error: Error): Error {
  return new Signal('UnrecoverableError', error.message, error);
}

/** Whether a task could not be begun or was taken away: it goes on elsewhere, or later. */
const ELSEWHERE: readonly RecoveryErrorCode[] = [
  'TASK_RUNNING_ELSEWHERE',
  'LEASE_LOST',
  'LEASE_UNCERTAIN',
  'NO_HANDLER',
];
const WORKER_AT_FAULT: readonly RecoveryErrorCode[] = [
  'SHUT_DOWN',
  'SLOT_CONFLICT',
  'STORAGE_FULL',
  'STORAGE_READONLY',
  'STORAGE_UNAVAILABLE',
];
/** The same again with each other try. */
const FINAL: readonly RecoveryErrorCode[] = [
  'INPUT_MISMATCH',
  'RESULT_NOT_STORABLE',
  'TASK_CANCELLED',
  'TASK_DEAD_LETTER',
  'TASK_NOT_FOUND',
];

/** The part of a job that is needed here. */
export type Movable = Pick<Job, 'moveToDelayed'>;

interface Circumstances {
  readonly job: Movable;
  readonly taskId: string;
  readonly token: string | undefined;
  readonly recheckMs: number;
  readonly find: () => Promise<TaskRecord | null>;
}

/** What to throw from a processor after `error`. */
export async function outcomeOf(error: unknown, given: Circumstances): Promise<unknown> {
  if (!isRecoveryError(error)) return error;
  if (error.code === 'UNRECOVERABLE') return unrecoverable(error);
  const { taskId } = given;
  // Of another task that the function has called: an error like any other.
  const own = error.details['taskId'] === taskId;
  if (own && FINAL.includes(error.code)) return unrecoverable(error);
  const notItsFault = WORKER_AT_FAULT.includes(error.code) && !(await hasFailed(given));
  return notItsFault || (own && ELSEWHERE.includes(error.code)) ? postponed(error, given) : error;
}

/** Whether the error is the task's own after all. A storage that can't say so is not. */
async function hasFailed({ find }: Circumstances): Promise<boolean> {
  return find().then(
    (task) => task?.status === 'failed',
    () => false,
  );
}

/** Puts the job off: no slot is held meanwhile, and none of its attempts is used. */
async function postponed(error: Error, { job, token, recheckMs }: Circumstances): Promise<unknown> {
  try {
    await job.moveToDelayed(Date.now() + recheckMs, token);
    return new Signal('DelayedError', 'bullmq:movedToDelayed', error);
  } catch {
    // The job is somebody else's already, or its Redis is away: BullMQ finds that out by itself.
    return error;
  }
}
