/** Jobs of a queue as tasks. Here the types of a job's data and result meet stored JSON. */
import { AsyncLocalStorage } from 'node:async_hooks';
import { checkOptions, hasMethods, isObject, number } from '../../domain/check-options.js';
import type { Check, OptionChecks } from '../../domain/check-options.js';
import { checkId } from '../../domain/ids.js';
import { RecoveryError } from '../../errors.js';
import type { RecoveryContext } from '../../runtime/context.js';
import type { Recovery } from '../../runtime/recovery.js';
import type { TaskOptions } from '../../runtime/task-options.js';
import { envelopedTask, taskIdOf } from './ids.js';
import { linked, Links } from './links.js';
import type { QueueTraits } from './links.js';

/** What is needed of a Recovery. */
export type JobRecovery = Pick<Recovery, 'withRecovery' | 'runTask' | 'tasks'>;

/** The default of `recheckMs`. */
export const RECHECK_MS = 2_000;
export const isRecheck: Check = number(10, 60 * 60_000);
const needsRecovery = hasMethods('withRecovery', 'runTask');

/** @throws `INVALID_OPTION` */
export function assertRecovery(where: string, recovery: unknown): void {
  const problem = needsRecovery(recovery);
  if (problem !== null) throw new RecoveryError('INVALID_OPTION', `${where}: the recovery ${problem}.`);
}

/** Checks for the options that `withRecovery` does not know, and what counts the errors of a job. */
export interface OwnOptions {
  readonly checks: OptionChecks;
  readonly required: readonly string[];
  readonly attempts: string;
}

/** @throws `INVALID_OPTION`; `withRecovery` checks what is left */
export function checkJobOptions(
  where: string,
  given: unknown,
  { checks, required, attempts }: OwnOptions,
): void {
  if (!isObject(given)) throw new RecoveryError('INVALID_OPTION', `${where} needs options, with a name.`);
  const own = Object.fromEntries(Object.keys(checks).map((name) => [name, given[name]]));
  checkOptions(where, own, checks, required);
  const refused = {
    ifRunning: 'a job waits for its task, wherever that runs',
    maxAttempts: `${attempts} the errors of a job`,
    input: 'parse the data in the function',
  };
  for (const [name, reason] of Object.entries(refused)) {
    if (given[name] === undefined) continue;
    throw new RecoveryError('INVALID_OPTION', `${where}: "${name}" is no option; ${reason}.`);
  }
}

/** The id of an ordinary job's task. @throws `INVALID_ID`, and what `idOf` throws */
export function checkedTaskId<J>(
  job: J,
  idOf: ((job: J) => string) | undefined,
  queueName: string,
  jobId: string,
): string {
  const taskId: unknown = idOf === undefined ? taskIdOf(queueName, jobId) : idOf(job);
  // An async one by mistake, which is refused: what it rejects with must not end the process.
  if (typeof taskId !== 'string') Promise.resolve(taskId).catch(() => {});
  return checkId('The task id of the job', taskId);
}

export function noEnvelope(jobName: string, dispatcher: string, other: string): RecoveryError {
  return new RecoveryError(
    'INVALID_VALUE',
    `The job "${jobName}" is none of ${dispatcher}: its data is no envelope. Give it a queue of its own, or use ${other}.`,
  );
}

/** A job as it was delivered. */
interface Delivery<J> {
  readonly job: J;
  readonly taskId: string;
  readonly data: unknown;
  readonly signal: AbortSignal | undefined;
}

/** Runs the task of a job, or joins it; `thrown` says what becomes of an error, but for one after the job was cancelled. */
export type JobRunner<J, R> = (
  delivery: Delivery<J>,
  thrown?: (error: unknown) => Promise<unknown>,
) => Promise<R>;

/** The task of an envelope. Its result is of the type that whoever wrote the worker says. */
export async function runDispatched<R>(recovery: Pick<Recovery, 'runTask'>, envelope: unknown): Promise<R> {
  return (await recovery.runTask(envelope)) as R;
}

/**
 * Makes the function of jobs a task.
 * @throws `INVALID_OPTION`, `DUPLICATE_TASK_NAME`
 */
export function jobRunner<J, T, R, D>(
  recovery: JobRecovery,
  fn: (ctx: RecoveryContext<D>, data: T, job: J | null) => R | Promise<R>,
  options: TaskOptions<[data: T], R>,
  queue: QueueTraits<J>,
): JobRunner<J, R> {
  const links = new Links<J>(queue);
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
    ...options,
    taskId: () => incoming.getStore() ?? '',
  });
  return async ({ job, taskId, data, signal }, thrown) => {
    for (;;) {
      const link = links.hold(taskId);
      const leave = link.join(job, signal);
      try {
        if (envelopedTask(data) !== null) return await runDispatched<R>(recovery, data);
        return await incoming.run(taskId, () => task(data as T));
      } catch (error) {
        // The cancellation was another job's: this one has come to go on, and does.
        if (link.signal.aborted && signal?.aborted !== true) continue;
        // What its function makes of the cancellation decides, as in any processor.
        throw link.signal.aborted || thrown === undefined ? error : await thrown(error);
      } finally {
        links.settle(link);
        await link.told();
        leave();
        links.drop(link);
      }
    }
  };
}
