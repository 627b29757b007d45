/** What a job's worker is told of an error: try again, never again, or come back later at no cost. */
import type { Job } from 'bullmq';
import { isRecoveryError } from '../../errors.js';
import type { Recovery } from '../../runtime/recovery.js';
import { verdictOf } from '../queue/verdict.js';

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

/** The part of a job that is needed here. */
export type Movable = Pick<Job, 'moveToDelayed'>;

interface Circumstances {
  readonly job: Movable;
  readonly taskId: string;
  readonly token: string | undefined;
  readonly recheckMs: number;
  readonly find: Recovery['tasks']['get'];
}

/** What to throw from a processor after `error`. */
export async function outcomeOf(error: unknown, given: Circumstances): Promise<unknown> {
  if (!isRecoveryError(error)) return error;
  const verdict = await verdictOf(error, given.taskId, given.find);
  if (verdict === 'error') return error;
  return verdict === 'final' ? unrecoverable(error) : postponed(error, given);
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
