/** Processors for a `Worker` of BullMQ. Here the types of a job's data and result meet stored JSON. */
import { AsyncLocalStorage } from 'node:async_hooks';
import type { Job } from 'bullmq';
import { checkOptions, hasMethods, isFunction, isObject, number } from '../../domain/check-options.js';
import { checkId } from '../../domain/ids.js';
import { RecoveryError } from '../../errors.js';
import type { RecoveryContext } from '../../runtime/context.js';
import type { Recovery } from '../../runtime/recovery.js';
import type { TaskOptions } from '../../runtime/task-options.js';
import { envelopedTask, taskIdOf } from './ids.js';
import { linked, Links } from './links.js';
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

const RECHECK_MS = 2_000;
const isRecheck = number(10, 60 * 60_000);
const needsRecovery = hasMethods('withRecovery', 'runTask');
/** Options of `withRecovery` that have no meaning here. */
const REFUSED = {
  ifRunning: 'a job waits for its task, wherever that runs',
  maxAttempts: "BullMQ's `attempts` count the errors of a job",
  input: 'parse the data in the function',
};

function assertRecovery(where: string, recovery: unknown): void {
  const problem = needsRecovery(recovery);
  if (problem !== null) throw new RecoveryError('INVALID_OPTION', `${where}: the recovery ${problem}.`);
}

/** @throws `INVALID_OPTION`; `withRecovery` checks what is left */
function checkOwn(given: unknown): void {
  const where = 'recoverableProcessor';
  if (!isObject(given)) throw new RecoveryError('INVALID_OPTION', `${where} needs options, with a name.`);
  const { taskId, recheckMs } = given;
  checkOptions(where, { taskId, recheckMs }, { taskId: isFunction, recheckMs: isRecheck }, []);
  for (const [name, reason] of Object.entries(REFUSED)) {
    if (given[name] === undefined) continue;
    throw new RecoveryError('INVALID_OPTION', `${where}: "${name}" is no option; ${reason}.`);
  }
}

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
  checkOwn(options);
  if (typeof fn !== 'function')
    throw new RecoveryError('INVALID_OPTION', 'recoverableProcessor needs a function second.');
  const { taskId: idOf, recheckMs, ...taskOptions } = options;
  const links = new Links<Job<T, R>>();
  const incoming = new AsyncLocalStorage<string>();
  const run = async (ctx: RecoveryContext<D>, data: T): Promise<R> => {
    const link = links.hold(ctx.taskId);
    try {
      return await fn(linked(ctx, link), data, link.job);
    } finally {
      links.drop(link);
    }
  };
  const task = recovery.withRecovery<[data: T], R, D>(run, {
    ...taskOptions,
    taskId: () => incoming.getStore() ?? '',
  });
  // BullMQ gives a signal to processors with three parameters.
  return async (job, token, signal) => {
    const enveloped = envelopedTask(job.data);
    const taskId = enveloped ?? idFor(job, idOf);
    const call = (): Promise<unknown> =>
      enveloped === null ? incoming.run(taskId, () => task(job.data)) : recovery.runTask(job.data);
    const link = links.hold(taskId);
    const leave = link.join(job, signal);
    try {
      return (await call()) as R;
    } catch (error) {
      // What its function makes of the cancellation decides, as in any processor.
      if (link.signal.aborted) throw error;
      throw await told(recovery, error, { job, token, taskId, recheckMs });
    } finally {
      await link.told();
      leave();
      links.drop(link);
    }
  };
}

/**
 * A processor for a queue with nothing but jobs of `bullmqDispatcher`. The tasks are ordinary ones, of `withRecovery`: they
 * know nothing of jobs, so that `recovery.tasks.cancel`, not the worker's `cancelJob`, is what stops one.
 * @throws `INVALID_OPTION`
 * @example new Worker('recovery', dispatchedProcessor(recovery), { connection });
 */
export function dispatchedProcessor(
  recovery: ProcessorRecovery,
  options: DispatchedProcessorOptions = {},
): JobProcessor<unknown, unknown> {
  assertRecovery('dispatchedProcessor', recovery);
  checkOptions('dispatchedProcessor', options, { recheckMs: isRecheck }, []);
  const { recheckMs } = options;
  return async (job, token) => {
    const taskId = envelopedTask(job.data);
    if (taskId === null) throw unrecoverable(noEnvelope(job));
    try {
      return await recovery.runTask(job.data);
    } catch (error) {
      throw await told(recovery, error, { job, token, taskId, recheckMs });
    }
  };
}

function noEnvelope({ name }: Job<unknown, unknown>): RecoveryError {
  return new RecoveryError(
    'INVALID_VALUE',
    `The job "${name}" is none of bullmqDispatcher: its data is no envelope. Give it a queue of its own, or use recoverableProcessor.`,
  );
}

/** @throws an error that BullMQ does not try again after */
function idFor<T, R>(job: Job<T, R>, idOf: ((job: Job<T, R>) => string) | undefined): string {
  try {
    const id = idOf === undefined ? taskIdOf(job.queueName, job.id ?? '') : idOf(job);
    return checkId('The task id of the job', id);
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
  const find = (): ReturnType<Recovery['tasks']['get']> => recovery.tasks.get(taskId);
  return outcomeOf(error, { job, token, taskId, recheckMs, find });
}
