/** What becomes of a delivered job: pg-boss completes it, tries it again, never again; or it is kept until it can be run. */
import { setTimeout as delay } from 'node:timers/promises';
import { isRecoveryError, messageOf } from '../../errors.js';
import type { RecoveryErrorCode } from '../../errors.js';
import { verdictOf } from '../queue/verdict.js';
import type { JobRecovery } from '../queue/jobs.js';

/** What is needed of a `PgBoss`. */
export interface ProcessorBoss {
  complete(queue: string, jobId: string, output: object): Promise<unknown>;
  cancel(queue: string, jobId: string): Promise<unknown>;
}

/** A job as pg-boss gives it to a handler. */
export interface QueuedJob<T = unknown> {
  readonly id: string;
  /** Of the queue. */
  readonly name: string;
  readonly data: T;
  readonly expireInSeconds: number;
  /** From pg-boss 12 on. */
  readonly signal?: AbortSignal;
}

/** A handler for `boss.work`, for batches of any size. */
export type JobProcessor<T = unknown> = (jobs: QueuedJob<T>[]) => Promise<unknown>;

/** What is kept for a job whose task goes on without it. */
interface LeftAlone {
  readonly taskId: string;
  readonly outcome: RecoveryErrorCode;
}

type Next = { readonly kind: 'again' } | { readonly kind: 'done'; readonly output: LeftAlone };

interface Circumstances {
  readonly boss: ProcessorBoss;
  readonly recovery: JobRecovery;
  readonly recheckMs: number;
}

interface Run extends Circumstances {
  readonly job: QueuedJob;
  readonly taskId: string;
  /** Whether a planner looks after the task, whatever becomes of the job. */
  readonly dispatched: boolean;
  readonly attempt: () => Promise<unknown>;
}

/**
 * Runs a job until it comes to an end, and waits while its task runs elsewhere, or nothing but the surroundings is wrong. pg-boss
 * can't put a job off: an error uses a retry, and a job sent in its place has another id, and this one a result too early.
 */
export async function delivered(run: Run): Promise<unknown> {
  const { job, recheckMs, attempt } = run;
  // pg-boss gives the number as a text, which is one again when it is multiplied.
  const untilMs = performance.now() + job.expireInSeconds * 1_000 - recheckMs;
  for (;;) {
    // Given up before it began: whoever gets it next begins.
    job.signal?.throwIfAborted();
    try {
      return await attempt();
    } catch (error) {
      if (job.signal?.aborted === true) throw error;
      const next = await after(error, run);
      if (next.kind === 'done') return next.output;
      // pg-boss has given it up by then, or is about to.
      if (performance.now() > untilMs) throw error;
      await delay(recheckMs, undefined, { signal: job.signal }).catch(() => {});
    }
  }
}

/** Out of this worker's reach until it starts anew. */
const OVER_HERE: ReadonlySet<RecoveryErrorCode> = new Set(['NO_HANDLER', 'SHUT_DOWN', 'SLOT_CONFLICT']);

/** @throws what pg-boss is to be told */
async function after(error: unknown, { boss, recovery, job, taskId, dispatched }: Run): Promise<Next> {
  if (!isRecoveryError(error)) throw error;
  const verdict = await verdictOf(error, taskId, (id) => recovery.tasks.get(id));
  if (verdict === 'final') throw await cancelled(boss, job, error);
  if (verdict === 'error' || OVER_HERE.has(error.code)) throw error;
  if (verdict === 'elsewhere' && dispatched) return { kind: 'done', output: { taskId, outcome: error.code } };
  return { kind: 'again' };
}

/** Takes the job off: else pg-boss tries it again. It can't be told to fail one for good. */
export async function cancelled(boss: ProcessorBoss, job: QueuedJob, error: unknown): Promise<unknown> {
  await boss.cancel(job.name, job.id).catch(() => {});
  return error;
}

/**
 * A handler of a function for one job. pg-boss itself ends what came alone. In a batch it would end all jobs alike: each that
 * is done is completed by itself, with its result, and what is thrown in the end fails only those that are not.
 */
export function eachJob<T>(
  boss: ProcessorBoss,
  run: (job: QueuedJob<T>) => Promise<unknown>,
): JobProcessor<T> {
  return async (jobs) => {
    const [first] = jobs;
    if (first !== undefined && jobs.length === 1) return run(first);
    const ends = await Promise.allSettled(
      jobs.map(async (job) => boss.complete(job.name, job.id, asOutput(await run(job)))),
    );
    const errors = ends.flatMap((end) => (end.status === 'rejected' ? [end.reason] : []));
    if (errors.length === 0) return undefined;
    throw errors.length === 1 ? errors[0] : together(errors, jobs.length);
  };
}

/** As pg-boss keeps what a handler returns. */
function asOutput(result: unknown): object {
  return typeof result === 'object' && result !== null && !Array.isArray(result) ? result : { value: result };
}

/** pg-boss keeps one and the same error for all of them. */
function together(errors: readonly unknown[], jobs: number): Error {
  const texts = errors.map(messageOf);
  return new AggregateError(errors, `${errors.length} of ${jobs} jobs have failed: ${texts.join('; ')}`);
}
