/** A queue of pg-boss as the way that tasks take. */
import { checkOptions, hasMethods, isObject } from '../../domain/check-options.js';
import type { Dispatcher, QueueCounts, QueueState } from '../../domain/dispatch.js';
import { RecoveryError } from '../../errors.js';
import { jobOfTask } from '../queue/ids.js';
import { dispatchedJobId, isUuid } from './ids.js';

/** What is needed of a `PgBoss`. */
export interface DispatchBoss {
  send(
    queue: string,
    data: object,
    options: DispatchedJobOptions & { readonly id: string },
  ): Promise<string | null>;
  deleteJob(queue: string, jobId: string): Promise<unknown>;
  getJobById(queue: string, jobId: string): Promise<{ readonly state: string } | null>;
  getDb(): { executeSql(text: string, values: unknown[]): Promise<{ rows: unknown[] }> };
}

/** Options of jobs, as `boss.send` takes them; what is left out is up to the queue. */
export interface DispatchedJobOptions {
  readonly priority?: number;
  readonly retryLimit?: number;
  /** In seconds. */
  readonly retryDelay?: number;
  readonly retryBackoff?: boolean;
  readonly expireInSeconds?: number;
  readonly deadLetter?: string;
}

/** Options of `pgBossDispatcher`. */
export interface PgBossDispatcherOptions {
  /** The queue, made with `boss.createQueue` before. */
  readonly queue: string;
  /** For each job. The id is the dispatcher's. */
  readonly sendOptions?: DispatchedJobOptions | undefined;
  /** Where pg-boss has its tables, when its own option of that name is set. Default `pgboss`. */
  readonly schema?: string | undefined;
}

const CHECKS = {
  queue: (value: unknown) =>
    typeof value === 'string' && value !== '' ? null : 'must be the name of a queue of pg-boss',
  sendOptions: (value: unknown) =>
    isObject(value) && value['id'] === undefined ? null : 'must be options of a job, without an id',
  // What pg-boss takes for one: it goes into the text of a query.
  schema: (value: unknown) =>
    typeof value === 'string' && /^[a-z_]\w{0,49}$/i.test(value) ? null : 'must be the name of a schema',
};

const WAITING: ReadonlySet<string | undefined> = new Set(['created', 'retry']);

/**
 * A `dispatch` that makes a job of each task that is submitted or recovered; `recoverableProcessor` or `dispatchedProcessor`
 * takes them at the other end. One job a hand-over: its id is made of the task's id and the fence. When the queue refuses
 * it, since there is no such queue or by its policy, an `alert` of kind `dispatch_failed` says so.
 * @throws `INVALID_OPTION`
 * @example
 * await boss.createQueue('recovery');
 * const recovery = createRecovery({ storage, dispatch: pgBossDispatcher(boss, { queue: 'recovery' }) });
 */
export function pgBossDispatcher(boss: DispatchBoss, options: PgBossDispatcherOptions): Dispatcher {
  checkOptions('pgBossDispatcher', options, CHECKS, ['queue']);
  const problem = hasMethods('send', 'deleteJob', 'getJobById', 'getDb')(boss);
  if (problem !== null) throw new RecoveryError('INVALID_OPTION', `pgBossDispatcher: pg-boss ${problem}.`);
  const { queue, sendOptions, schema = 'pgboss' } = options;
  return {
    dispatch: async (envelope) => {
      const id = dispatchedJobId(envelope.taskId, envelope.fence);
      const send = (): Promise<string | null> => boss.send(queue, envelope, { ...sendOptions, id });
      if ((await send()) !== null) return;
      const found = await boss.getJobById(queue, id);
      if (found === null) throw refused(queue);
      if (WAITING.has(found.state) || found.state === 'active') return;
      // It came to its end with nobody who could begin the task, and that is sent once more.
      await boss.deleteJob(queue, id);
      await send();
    },
    isActive: async ({ taskId, fence }): Promise<QueueState> => {
      // It may have both: the job it first came with, back after it expired, and that of its last hand-over.
      const first = jobOfTask(queue, taskId);
      const ids = [
        first !== null && isUuid(first) ? first : null,
        fence === null ? null : dispatchedJobId(taskId, fence),
      ];
      const known = ids.filter((id) => id !== null);
      const jobs = await Promise.all(known.map((id) => boss.getJobById(queue, id)));
      if (jobs.some((job) => WAITING.has(job?.state))) return 'waiting';
      return jobs.some((job) => job?.state === 'active') ? 'active' : 'gone';
    },
    describe: () => countsOf(boss, schema, queue),
  };
}

function refused(queue: string): RecoveryError {
  return new RecoveryError(
    'QUEUE_UNAVAILABLE',
    `pg-boss has made no job in the queue "${queue}". Make the queue with boss.createQueue, with a policy that allows several waiting jobs.`,
    { retryable: true },
  );
}

/** By a query on pg-boss's own connection: its methods count no failed jobs, and not the same ones in each version. */
async function countsOf(boss: DispatchBoss, schema: string, queue: string): Promise<QueueCounts> {
  const text = `SELECT state::text, count(*)::int FROM ${schema}.job WHERE name = $1 GROUP BY state`;
  const { rows } = await boss.getDb().executeSql(text, [queue]);
  const counts = new Map(rows.filter(isObject).map(({ state, count }) => [state, Number(count)]));
  const of = (state: string): number => counts.get(state) ?? 0;
  return { waiting: of('created') + of('retry'), active: of('active'), failed: of('failed') };
}
