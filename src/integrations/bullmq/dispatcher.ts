/** A queue of BullMQ as the way that tasks take. */
import type { JobsOptions, JobType } from 'bullmq';
import { checkOptions, hasMethods, isObject, isText } from '../../domain/check-options.js';
import type { Dispatcher, QueueState } from '../../domain/dispatch.js';
import { RecoveryError } from '../../errors.js';
import { jobOfTask } from '../queue/ids.js';
import { dispatchedJobId } from './ids.js';

/** What is needed of a `Queue`. */
export interface DispatchQueue {
  readonly name: string;
  /** What is added is a `TaskEnvelope`, whatever the queue's own jobs are. */
  add(name: string, data: object, options?: JobsOptions): Promise<unknown>;
  getJobState(jobId: string): Promise<string>;
  remove(jobId: string): Promise<unknown>;
  getJobCounts(...types: JobType[]): Promise<Readonly<Record<string, number>>>;
}

/** Options of `bullmqDispatcher`. */
export interface BullmqDispatcherOptions {
  /** The name of its jobs. Default: that of the task. */
  readonly jobName?: string | undefined;
  /** As `queue.add` takes them: `attempts`, `backoff`, `removeOnComplete`, `priority`. The id is the dispatcher's. */
  readonly jobOptions?: Omit<JobsOptions, 'jobId'> | undefined;
}

const CHECKS = {
  jobName: isText,
  jobOptions: (value: unknown) =>
    isObject(value) && value['jobId'] === undefined ? null : 'must be options of a job, without a jobId',
};

const ENDED: ReadonlySet<string> = new Set(['completed', 'failed']);
const WAITING: readonly JobType[] = ['waiting', 'paused', 'prioritized', 'delayed', 'waiting-children'];
const STATES = new Map<string, QueueState>([['active', 'active'], ...WAITING.map(waiting)]);

function waiting(state: string): [string, QueueState] {
  return [state, 'waiting'];
}

/**
 * A `dispatch` that makes a job of each task that is submitted or recovered; `recoverableProcessor` or
 * `dispatchedProcessor` takes them at the other end. One job a hand-over: its id is made of the task's id and the fence.
 * @throws `INVALID_OPTION`
 * @example
 * const recovery = createRecovery({ storage, dispatch: bullmqDispatcher(new Queue('recovery', { connection })) });
 */
export function bullmqDispatcher(queue: DispatchQueue, options: BullmqDispatcherOptions = {}): Dispatcher {
  checkOptions('bullmqDispatcher', options, CHECKS, []);
  const problem = hasMethods('add', 'getJobState', 'getJobCounts', 'remove')(queue);
  if (problem !== null) throw new RecoveryError('INVALID_OPTION', `bullmqDispatcher: the queue ${problem}.`);
  const { jobName, jobOptions } = options;
  return {
    dispatch: async (envelope) => {
      const jobId = dispatchedJobId(envelope.taskId, envelope.fence);
      // It came to its end with nobody who could begin the task, and that is sent once more: BullMQ keeps one job an id.
      if (ENDED.has(await queue.getJobState(jobId))) await queue.remove(jobId);
      await queue.add(jobName ?? envelope.name, envelope, { ...jobOptions, jobId });
    },
    isActive: async ({ taskId, fence }) => {
      // It may have both: the job it first came with, back after a stall, and that of its last hand-over.
      const ids = [jobOfTask(queue.name, taskId), fence === null ? null : dispatchedJobId(taskId, fence)];
      const known = ids.filter((id) => id !== null);
      const states = await Promise.all(known.map((id) => queue.getJobState(id)));
      const found = states.map((state) => STATES.get(state));
      if (found.includes('waiting')) return 'waiting';
      return found.includes('active') ? 'active' : 'gone';
    },
    describe: async () => {
      const counts = await queue.getJobCounts(...WAITING, 'active', 'failed');
      const of = (state: string): number => counts[state] ?? 0;
      return {
        waiting: WAITING.reduce((sum, state) => sum + of(state), 0),
        active: of('active'),
        failed: of('failed'),
      };
    },
  };
}
