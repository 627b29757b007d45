/** What an error says of the next try of a job. */
import type { RecoveryError, RecoveryErrorCode } from '../../errors.js';
import type { Recovery } from '../../runtime/recovery.js';

/**
 * - `error`: of the work itself, or of something that it calls; the queue's own attempts count it.
 * - `final`: the same again with each other try.
 * - `elsewhere`: the task could not be begun or was taken away; it goes on in other hands, or later.
 * - `worker`: nothing is wrong with the task, but with what this worker needs.
 */
export type Verdict = 'error' | 'final' | 'elsewhere' | 'worker';

const VERDICTS: Readonly<Partial<Record<RecoveryErrorCode, Verdict>>> = {
  INPUT_MISMATCH: 'final',
  RESULT_NOT_STORABLE: 'final',
  TASK_CANCELLED: 'final',
  TASK_DEAD_LETTER: 'final',
  TASK_NOT_FOUND: 'final',
  LEASE_LOST: 'elsewhere',
  LEASE_UNCERTAIN: 'elsewhere',
  NO_HANDLER: 'elsewhere',
  TASK_RUNNING_ELSEWHERE: 'elsewhere',
  SHUT_DOWN: 'worker',
  SLOT_CONFLICT: 'worker',
  STORAGE_FULL: 'worker',
  STORAGE_READONLY: 'worker',
  STORAGE_UNAVAILABLE: 'worker',
};

export async function verdictOf(
  error: RecoveryError,
  taskId: string,
  find: Recovery['tasks']['get'],
): Promise<Verdict> {
  if (error.code === 'UNRECOVERABLE') return 'final';
  const verdict = VERDICTS[error.code] ?? 'error';
  if (verdict === 'worker') return (await hasFailed(taskId, find)) ? 'error' : 'worker';
  // Of another task that the function has called: an error like any other.
  return error.details['taskId'] === taskId ? verdict : 'error';
}

/** Whether the error is the task's own after all. A storage that can't say so is not. */
async function hasFailed(taskId: string, find: Recovery['tasks']['get']): Promise<boolean> {
  return find(taskId).then(
    (task) => task?.status === 'failed',
    () => false,
  );
}
