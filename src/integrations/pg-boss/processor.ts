/** Handlers for `boss.work`. */
import { checkOptions, hasMethods, isFunction } from '../../domain/check-options.js';
import { RecoveryError } from '../../errors.js';
import type { RecoveryContext } from '../../runtime/context.js';
import type { Recovery } from '../../runtime/recovery.js';
import type { TaskOptions } from '../../runtime/task-options.js';
import { envelopedTask } from '../queue/ids.js';
import {
  assertRecovery,
  checkedTaskId,
  checkJobOptions,
  isRecheck,
  jobRunner,
  noEnvelope,
  RECHECK_MS,
} from '../queue/jobs.js';
import type { OwnOptions } from '../queue/jobs.js';
import { cancelled, delivered, eachJob } from './delivery.js';
import type { ProcessorBoss, JobProcessor, QueuedJob } from './delivery.js';

/** What is needed of a Recovery. */
export type ProcessorRecovery = Pick<Recovery, 'withRecovery' | 'runTask' | 'tasks'>;

/** The work of a job. `job` is null when the task was resumed at boot, before pg-boss gave its job to anybody again. */
export type JobFunction<T, R, D = unknown> = (
  ctx: RecoveryContext<D>,
  data: T,
  job: QueuedJob<T> | null,
) => R | Promise<R>;

/** Options of `dispatchedProcessor`. */
export interface DispatchedProcessorOptions {
  /** The `PgBoss` that the handler is given to. */
  readonly boss: ProcessorBoss;
  /**
   * After how long a job is looked at again whose task runs elsewhere, or that can't be run since the storage is away, in ms.
   * Default 2,000. It holds its slot meanwhile, and no retry is used.
   */
  readonly recheckMs?: number | undefined;
}

/** Options of `recoverableProcessor`: those of `withRecovery`, but that pg-boss's `retryLimit` counts errors, and the job is the input. */
export interface RecoverableProcessorOptions<T, R>
  extends
    DispatchedProcessorOptions,
    Omit<TaskOptions<[data: T], R>, 'taskId' | 'ifRunning' | 'maxAttempts' | 'input'> {
  /** The id of the task for a job. Default `queue:job.id`. */
  readonly taskId?: ((job: QueuedJob<T>) => string) | undefined;
}

const isBoss = hasMethods('complete', 'cancel');
const OWN: OwnOptions = {
  checks: { boss: isBoss, taskId: isFunction, recheckMs: isRecheck },
  required: ['boss'],
  attempts: "pg-boss's `retryLimit` counts",
};

/**
 * Makes a handler of a function: whatever makes pg-boss run the job again, it goes on from its steps and last checkpoint, and
 * a job whose task is done gets the result that was kept. While the task runs elsewhere the handler waits for it. Make it at
 * module level, before `runStartupRecovery`, and let `boss.work` take jobs after that. Jobs made by `pgBossDispatcher` are
 * run too, whatever task of the Recovery they are of.
 * @throws `INVALID_OPTION`, `DUPLICATE_TASK_NAME`
 * @example
 * const handler = recoverableProcessor(recovery, async (ctx, { path }) => ctx.step('read', () => read(path)), { name: 'import', boss });
 * await recovery.runStartupRecovery();
 * await boss.work('imports', handler);
 */
export function recoverableProcessor<T, R, D = unknown>(
  recovery: ProcessorRecovery,
  fn: JobFunction<T, R, D>,
  options: RecoverableProcessorOptions<T, R>,
): JobProcessor<T> {
  assertRecovery('recoverableProcessor', recovery);
  checkJobOptions('recoverableProcessor', options, OWN);
  if (typeof fn !== 'function')
    throw new RecoveryError('INVALID_OPTION', 'recoverableProcessor needs a function second.');
  const { taskId: idOf, boss, recheckMs = RECHECK_MS, ...taskOptions } = options;
  const run = jobRunner<QueuedJob<T>, T, R, D>(recovery, fn, taskOptions, {
    title: 'pg-boss',
    tell: () => Promise.resolve(),
  });
  return eachJob<T>(boss, async (job) => {
    const enveloped = envelopedTask(job.data);
    const taskId = enveloped ?? (await idFor(boss, job, idOf));
    const delivery = { job, taskId, data: job.data, signal: job.signal };
    const attempt = (): Promise<R> => run(delivery);
    return delivered({ boss, recovery, recheckMs, job, taskId, dispatched: enveloped !== null, attempt });
  });
}

/**
 * A handler for a queue with nothing but jobs of `pgBossDispatcher`. The tasks are ordinary ones, of `withRecovery`: they know
 * nothing of jobs. One that runs elsewhere is left to that, and its job completed: `{ taskId, outcome: 'TASK_RUNNING_ELSEWHERE' }`.
 * @throws `INVALID_OPTION`
 * @example await boss.work('recovery', dispatchedProcessor(recovery, { boss }));
 */
export function dispatchedProcessor(
  recovery: ProcessorRecovery,
  options: DispatchedProcessorOptions,
): JobProcessor {
  assertRecovery('dispatchedProcessor', recovery);
  checkOptions('dispatchedProcessor', options, { boss: isBoss, recheckMs: isRecheck }, ['boss']);
  const { boss, recheckMs = RECHECK_MS } = options;
  return eachJob(boss, async (job) => {
    const taskId = envelopedTask(job.data);
    if (taskId === null)
      throw await cancelled(boss, job, noEnvelope(job.name, 'pgBossDispatcher', 'recoverableProcessor'));
    const attempt = (): Promise<unknown> => recovery.runTask(job.data);
    return delivered({ boss, recovery, recheckMs, job, taskId, dispatched: true, attempt });
  });
}

/** @throws after the job is taken off: with the next try it would be the same */
async function idFor<T>(
  boss: ProcessorBoss,
  job: QueuedJob<T>,
  idOf: ((job: QueuedJob<T>) => string) | undefined,
): Promise<string> {
  try {
    return checkedTaskId(job, idOf, job.name, job.id);
  } catch (error) {
    throw await cancelled(boss, job, error);
  }
}
