/** The changes of state by which somebody who does not hold a task ends it, or puts it back. */
import type { CrashEvidence, StoredError } from '../domain/task.js';
import type { Batch, Fields } from '../storage/storage.js';
import { counterFields, exhausted, forgotten, requeued } from './failures.js';
import type { Failure } from './failures.js';
import type { Head } from './head.js';
import { indexes, keys, priorityBase } from './keys.js';
import { countRecovery } from './recovery-counters.js';
import { eventFields } from './task-events.js';
import { makeToken } from './token.js';
import { crashesText, leave, replaced } from './transitions.js';

/** How a task that nobody runs is ended. */
export interface Ending {
  readonly status: 'dead_letter' | 'cancelled' | 'failed';
  readonly crashes: readonly CrashEvidence[];
  readonly error: StoredError;
  /** What the event says. */
  readonly reason: string;
  readonly nonce: string;
  readonly notAfter: number;
  /** The storage's time, as whoever ends it knows it. */
  readonly atMs: number;
}

const END_EVENTS = {
  dead_letter: 'dead_lettered',
  cancelled: 'task_cancelled',
  failed: 'task_failed',
} as const;

/** Ends a task that nobody runs: gives it up with the evidence, or cancels it. */
export function endBatch(head: Head, ending: Ending): Batch & { append: Fields[] } {
  const { taskId, name, attempt, fence } = head.task;
  const { status, crashes, error, reason, nonce, notAfter } = ending;
  const seq = head.eventSeq + 1;
  // A dead letter is still a failed document; a cancelled task is none.
  const kept = status === 'dead_letter';
  const failure = head.failed?.failure ?? null;
  const change = failure === null || kept ? null : forgotten(taskId, failure);
  const index = failure === null ? [] : (change?.index ?? exhausted(taskId, failure));
  return {
    guard: { key: keys.head(taskId), expect: head.token, next: makeToken(fence, nonce, 0) },
    notAfter,
    ...(change === null ? {} : { remove: [keys.failure(taskId)] }),
    set: [
      {
        key: keys.head(taskId),
        fields: {
          ...change?.head,
          status,
          endedAt: { fromNow: 0 },
          crashes: crashesText(crashes),
          error: JSON.stringify(error),
          eventSeq: String(seq),
          stuckSince: '',
        },
      },
    ],
    index: [
      ...leave(head),
      { index: indexes.inState(status, name), id: taskId, score: { fromNow: 0 } },
      ...index,
    ],
    increment: counted(head, ending),
    append: [
      eventFields(END_EVENTS[status], { taskId, name, attempt, recovered: true }, seq, {
        reason,
        crashes: String(crashes.length),
      }),
    ],
  };
}

/** An end that is a failure is counted; one that had failed by itself was counted then. */
function counted({ task, failed }: Head, { status, atMs }: Ending): NonNullable<Batch['increment']> {
  if (status === 'cancelled' || task.status === 'failed') return [];
  return [
    ...countRecovery({ failed: 1, failures: 1 }, atMs),
    // A retry that ends here, by the crash budget, has failed.
    ...(failed === null || status !== 'dead_letter'
      ? []
      : [{ key: keys.retryCounters, field: counterFields.failed, by: 1 }]),
  ];
}

/** Forgets what a task is known for as a failed document; the task itself stays as it is. */
export function forgetBatch(head: Head, failure: Failure, nonce: string, notAfter: number): Batch {
  const { taskId, fence } = head.task;
  const { head: fields, index } = forgotten(taskId, failure);
  return {
    guard: { key: keys.head(taskId), expect: head.token, next: makeToken(fence, nonce, 0) },
    notAfter,
    remove: [keys.failure(taskId)],
    set: [{ key: keys.head(taskId), fields }],
    index,
  };
}

/** Puts a task that was given up, or that waits, into the recovery queue afresh: due now, all its budgets whole. */
export function requeueBatch(head: Head, nonce: string, notAfter: number): Batch & { append: Fields[] } {
  const { taskId, name, attempt, priority, fence, status, crashes } = head.task;
  const seq = head.eventSeq + 1;
  const queue = { index: indexes.inState('orphaned', name), id: taskId };
  const change = head.failed && requeued(taskId, head.failed);
  return {
    guard: { key: keys.head(taskId), expect: head.token, next: makeToken(fence, nonce, 0) },
    notAfter,
    set: [
      {
        key: keys.head(taskId),
        fields: {
          status: 'orphaned',
          dueAt: { fromNow: 0 },
          cause: 'requeued',
          crashes: '[]',
          errors: '0',
          ranMs: '0',
          stuckSince: '',
          eventSeq: String(seq),
          ...change?.head,
        },
      },
    ],
    // Whoever puts it back has read it.
    remove: [keys.control(taskId), keys.quarantine(taskId)],
    index: replaced(
      [...leave(head), { index: indexes.quarantined(name), id: taskId, score: null }],
      [{ ...queue, score: { fromNow: priorityBase(priority) } }, ...(change?.index ?? [])],
    ),
    append: [
      eventFields('task_requeued', { taskId, name, attempt, recovered: true }, seq, {
        status,
        crashes: String(crashes.length),
      }),
    ],
  };
}
