/** The changes of state around a queue of the user's own: a task waits there, `pending`, for somebody to begin it. */
import type { OrphanCause, Plan } from '../domain/task.js';
import type { Batch, Fields } from '../storage/storage.js';
import { GROUP_FIELD, HAND_OVER_FENCE_FIELD, HAND_OVER_FIELD, INLINE_CHARACTERS } from './head.js';
import type { Head } from './head.js';
import { indexes, keys } from './keys.js';
import { countRecovery } from './recovery-counters.js';
import type { Stamp } from './removal.js';
import { eventFields } from './task-events.js';
import { makeToken } from './token.js';
import { held, leave, replaced } from './transitions.js';
import type { Holder, NewTask } from './transitions.js';

type Told = Batch & { append: Fields[] };

/** Makes a task that nobody runs yet. */
export function submitBatch(task: NewTask, fence: number, handOverMs: number, stamp: Stamp): Told {
  const { taskId, name, storedInput, userContext, group } = task;
  const inline = storedInput.length <= INLINE_CHARACTERS;
  const head: Fields = {
    status: 'pending',
    name,
    priority: String(task.priority),
    attempt: '0',
    origin: String(fence),
    createdAt: { fromNow: 0 },
    [HAND_OVER_FIELD]: { fromNow: handOverMs },
    [HAND_OVER_FENCE_FIELD]: String(fence),
    eventSeq: '1',
    version: task.version,
    ...(userContext === null ? {} : { user: userContext }),
    ...(group === null ? {} : { [GROUP_FIELD]: group }),
    ...(inline ? { input: storedInput } : {}),
  };
  const set = [{ key: keys.head(taskId), fields: head }];
  if (!inline) set.push({ key: keys.input(taskId), fields: { data: storedInput } });
  return {
    guard: { key: keys.head(taskId), expect: null, next: makeToken(fence, stamp.nonce, 0) },
    notAfter: stamp.notAfter,
    set,
    index: [
      { index: indexes.inState('pending', name), id: taskId, score: { fromNow: handOverMs } },
      ...(group === null ? [] : [{ index: indexes.group(group), id: taskId, score: { fromNow: 0 } }]),
    ],
    append: [eventFields('task_submitted', { taskId, name, attempt: 0, recovered: false }, 1)],
  };
}

/** Gives an orphan to the queue, under a fence one higher: whoever held it before is refused from then on. */
export function handOverBatch(
  head: Head,
  { plan, cause }: { readonly plan: Plan; readonly cause: OrphanCause },
  { fence, handOverMs }: { readonly fence: number; readonly handOverMs: number },
  stamp: Stamp,
): Told {
  const { taskId, name, attempt } = head.task;
  const seq = head.eventSeq + 1;
  const key = keys.head(taskId);
  return {
    guard: { key, expect: head.token, next: makeToken(fence, stamp.nonce, 0) },
    notAfter: stamp.notAfter,
    set: [
      {
        key,
        fields: {
          status: 'pending',
          [HAND_OVER_FIELD]: { fromNow: handOverMs },
          [HAND_OVER_FENCE_FIELD]: String(fence),
          eventSeq: String(seq),
          stuckSince: '',
        },
      },
    ],
    increment: countRecovery({ handedOver: 1 }, stamp.atMs),
    index: replaced(leave(head), [
      { index: indexes.inState('pending', name), id: taskId, score: { fromNow: handOverMs } },
    ]),
    append: [
      eventFields('task_dispatched', { taskId, name, attempt, recovered: true }, seq, {
        cause,
        decision: plan.action,
        reason: plan.reason,
      }),
    ],
  };
}

/** Leaves an orphan in the recovery queue for later: its job is still to come. */
export function holdBackBatch(head: Head, delayMs: number, score: number, stamp: Stamp): Batch {
  const { taskId, name, fence } = head.task;
  const key = keys.head(taskId);
  return {
    guard: { key, expect: head.token, next: makeToken(fence, stamp.nonce, 0) },
    notAfter: stamp.notAfter,
    set: [{ key, fields: { dueAt: { fromNow: delayMs } } }],
    index: [{ index: indexes.inState('orphaned', name), id: taskId, score: { fromNow: score + delayMs } }],
  };
}

/** Begins a task that was submitted and never run. */
export function beginBatch(head: Head, holder: Holder, version: string): Told {
  const { taskId, name } = head.task;
  const seq = head.eventSeq + 1;
  const key = keys.head(taskId);
  return {
    guard: { key, expect: head.token, next: makeToken(holder.fence, holder.nonce, 0) },
    notAfter: holder.notAfter,
    // It was late, and nothing else.
    ...(head.task.orphanCause === null ? {} : { unset: [{ key, fields: ['cause'] }] }),
    set: [
      {
        key,
        fields: {
          status: 'processing',
          owner: holder.owner,
          leaseUntil: { fromNow: holder.leaseMs },
          attempt: '1',
          claimedAt: { fromNow: 0 },
          version,
          eventSeq: String(seq),
        },
      },
    ],
    index: replaced(leave(head), held(holder, name, taskId)),
    append: [eventFields('task_started', { taskId, name, attempt: 1, recovered: false }, seq)],
  };
}
