/** A queue of the user's own through which tasks are started and recovered. */
import { hasMethods, isObject } from './check-options.js';
import type { Plan } from './task.js';

/** What is handed to the queue: plain JSON, all that `recovery.runTask` needs at the other end. */
export interface TaskEnvelope {
  /** The envelope's own version. */
  readonly rekindle: 1;
  readonly taskId: string;
  readonly name: string;
  /** Of the hand-over: another one for each, so `taskId` and `fence` name a job that is not to be made twice. */
  readonly fence: number;
  /** `new`: submitted; `recovery`: taken back, from an owner that is gone or from a queue that has lost it. */
  readonly kind: 'new' | 'recovery';
}

/** A task as the queue is asked about it. */
export interface DispatchedTask {
  readonly taskId: string;
  readonly name: string;
  /** Of the envelope that `dispatch` was given last; null: it has never been in the queue by way of `dispatch`. */
  readonly fence: number | null;
}

/** What a queue does with a task's job: works on it, has it waiting, or knows none. */
export type QueueState = 'active' | 'waiting' | 'gone';

/** Jobs of a queue, by state. */
export interface QueueCounts {
  readonly waiting: number;
  readonly active: number;
  readonly failed: number;
}

/** The way into a queue. */
export interface Dispatcher {
  /**
   * Makes a job of the envelope; `plan` is null for a new task, and else what is to be done as it looks now: whoever takes
   * the job decides afresh. Resolves once the queue has it, not when the task has run. When it throws, or takes longer than
   * half a lease, an `alert` of kind `dispatch_failed` tells of it, and the task is handed over again after `handOverMs`.
   */
  dispatch(envelope: TaskEnvelope, plan: Plan | null): unknown;
  /**
   * Asked before an orphan is handed over: with `waiting` its job is still to come, and nothing is done for the time of a
   * hand-over; `active` holds only one back whose owner may still live, for the time of a lease. `gone`, an error, or no
   * answer within 5 s hold nothing back. Without it a queue that nobody drains gets another job each `handOverMs`.
   */
  readonly isActive?: ((task: DispatchedTask) => QueueState | Promise<QueueState>) | undefined;
  /** For health reports, as the check `queue`. When it throws, or takes longer than 5 s, that is down. */
  readonly describe?: (() => QueueCounts | Promise<QueueCounts>) | undefined;
}

const hasDispatch = hasMethods('dispatch');

/** What is wrong with a dispatcher; null when nothing is. */
export function isDispatcher(value: unknown): string | null {
  const problem = hasDispatch(value);
  if (problem !== null || !isObject(value)) return problem;
  const odd = ['isActive', 'describe'].find(
    (name) => value[name] !== undefined && typeof value[name] !== 'function',
  );
  return odd === undefined ? null : `has a \`${odd}\` that is no function`;
}
