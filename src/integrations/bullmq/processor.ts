/** Processors for a `Worker` of BullMQ. */
import type { Job } from 'bullmq';
import { checkOptions, isFunction } from '../../domain/check-options.js';
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
  runDispatched,
  RECHECK_MS,
} from '../queue/jobs.js';
import type { OwnOptions } from '../queue/jobs.js';
import { outcomeOf, unrecoverable } from './outcome.js';
import type { Movable } from './outcome.js';

/** What is needed of a Recovery. */
export type ProcessorRecovery = Pick<Recovery, 'withRecovery' | 'runTask' | 'tasks'>;

/** The work of a job. `job` is null when the task was resumed at boot, before BullMQ gave its job to anybody again. */
export type JobFunction<T, R, D = unknown> = (
  ctx: RecoveryContext<D>,
  data: T,
  job: Job<T, R> | null,
) => R | Promise<R>;

/** A processor for `new Worker(queue, processor)`. */
export type JobProcessor<T, R> = (job: Job<T, R>, token?: string, signal?: AbortSignal) => Promise<R>;

/** Options of `dispatchedProcessor`. */
export interface DispatchedProcessorOptions {
  /**
   * After how long a job is looked at again whose task runs elsewhere, or whose worker shuts down, in ms. Default 2,000.
   * It holds no slot meanwhile, and no attempt is used.
   */
  readonly recheckMs?: number | undefined;
}

/** Options of `recoverableProcessor`: those of `withRecovery`, but that BullMQ's `attempts` count errors, and the job is the input. */
export interface RecoverableProcessorOptions<T, R>
  extends
    DispatchedProcessorOptions,
    Omit<TaskOptions<[data: T], R>, 'taskId' | 'ifRunning' | 'maxAttempts' | 'input'> {
  /** The id of the task for a job. Default `queue:job.id`; prefix it where queues of the same name share a namespace. */
  readonly taskId?: ((job: Job<T, R>) => string) | undefined;
}

const OWN: OwnOptions = {
  checks: { taskId: isFunction, recheckMs: isRecheck },
  required: [],
  attempts: "BullMQ's `attempts` count",
};

/**
 * Makes a processor of a function: whatever makes BullMQ run the job again, it goes on from its steps and last checkpoint,
 * and a job whose task is done gets the result that was kept. Make it at module level, before `runStartupRecovery`, and let
 * the worker take jobs after that. Jobs made by `bullmqDispatcher` are run too, whatever task of the Recovery they are of.
 * @throws `INVALID_OPTION`, `DUPLICATE_TASK_NAME`
 * @example
 * const processor = recoverableProcessor(recovery, async (ctx, { path }) => ctx.step('read', () => read(path)), { name: 'import' });
 * await recovery.runStartupRecovery();
 * const worker = new Worker('imports', processor, { connection });
 */
export function recoverableProcessor<T, R, D = unknown>(
  recovery: ProcessorRecovery,
  fn: JobFunction<T, R, D>,
  options: RecoverableProcessorOptions<T, R>,
): JobProcessor<T, R> {
  assertRecovery('recoverableProcessor', recovery);
  checkJobOptions('recoverableProcessor', options, OWN);
  if (typeof fn !== 'function')
    throw new RecoveryError('INVALID_OPTION', 'recoverableProcessor needs a function second.');
  const { taskId: idOf, recheckMs, ...taskOptions } = options;
  const run = jobRunner<Job<T, R>, T, R, D>(recovery, fn, taskOptions, {
    title: 'BullMQ',
    tell: (job, percent) => job.updateProgress(percent),
  });
  // BullMQ gives a signal to processors with three parameters.
  return async (job, token, signal) => {
    const taskId = envelopedTask(job.data) ?? idFor(job, idOf);
    return run({ job, taskId, data: job.data, signal }, (error) =>
      told(recovery, error, { job, token, taskId, recheckMs }),
    );
  };
}

/**
 * A processor for a queue with nothing but jobs of `bullmqDispatcher`. The tasks are ordinary ones, of `withRecovery`: they
 * know nothing of jobs, so that `recovery.tasks.cancel`, not the worker's `cancelJob`, is what stops one.
 * @throws `INVALID_OPTION`
 * @example new Worker('recovery', dispatchedProcessor(recovery), { connection });
 */
export function dispatchedProcessor<R = unknown>(
  recovery: ProcessorRecovery,
  options: DispatchedProcessorOptions = {},
): JobProcessor<unknown, R> {
  assertRecovery('dispatchedProcessor', recovery);
  checkOptions('dispatchedProcessor', options, { recheckMs: isRecheck }, []);
  const { recheckMs } = options;
  return async (job, token) => {
    const taskId = envelopedTask(job.data);
    if (taskId === null)
      throw unrecoverable(noEnvelope(job.name, 'bullmqDispatcher', 'recoverableProcessor'));
    try {
      return await runDispatched<R>(recovery, job.data);
    } catch (error) {
      throw await told(recovery, error, { job, token, taskId, recheckMs });
    }
  };
}

/** @throws an error that BullMQ does not try again after */
function idFor<T, R>(job: Job<T, R>, idOf: ((job: Job<T, R>) => string) | undefined): string {
  try {
    return checkedTaskId(job, idOf, job.queueName, job.id ?? '');
  } catch (error) {
    throw error instanceof Error ? unrecoverable(error) : error;
  }
}

interface Delivery {
  readonly job: Movable;
  readonly token: string | undefined;
  readonly taskId: string;
  readonly recheckMs: number | undefined;
}

function told(
  recovery: ProcessorRecovery,
  error: unknown,
  { job, token, taskId, recheckMs = RECHECK_MS }: Delivery,
): Promise<unknown> {
  return outcomeOf(error, { job, token, taskId, recheckMs, find: (id) => recovery.tasks.get(id) });
}
