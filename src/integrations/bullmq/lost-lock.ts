/** From a lock that BullMQ could not renew to the signal of the job that it was of. */
import { hasMethods } from '../../domain/check-options.js';
import { RecoveryError } from '../../errors.js';

/** What is needed of a `Worker`. */
export interface LockWorker {
  on(event: 'lockRenewalFailed', listener: (jobIds: string[]) => void): unknown;
  off(event: 'lockRenewalFailed', listener: (jobIds: string[]) => void): unknown;
  cancelJob(jobId: string, reason?: string): unknown;
}

/**
 * Aborts `ctx.signal` of jobs whose lock BullMQ could not renew: another worker gets such a job. Without it the job goes on
 * under its lease, and whoever gets it next waits: no job runs twice either way. Returns a function that ends it.
 * @throws `INVALID_OPTION` for a worker of a BullMQ 5 that can't cancel jobs yet
 * @example cancelOnLostLock(new Worker('exports', processor, { connection }));
 */
export function cancelOnLostLock(worker: LockWorker): () => void {
  const problem = hasMethods('on', 'off', 'cancelJob')(worker);
  if (problem !== null) {
    throw new RecoveryError(
      'INVALID_OPTION',
      `cancelOnLostLock: the worker ${problem}; a newer BullMQ 5 has them.`,
    );
  }
  const cancel = (jobIds: string[]): void => {
    for (const id of jobIds) worker.cancelJob(id, 'its lock was lost');
  };
  worker.on('lockRenewalFailed', cancel);
  return () => void worker.off('lockRenewalFailed', cancel);
}
