/**
 * The changes of state that are made by somebody who does not hold the task: start, find orphaned, claim, give up on.
 * Each is one batch under the head's guard, so exactly one of several tries wins.
 */
import { KEPT_CRASHES } from '../domain/task.js';
import type { CrashEvidence, OrphanCause, Plan } from '../domain/task.js';
import type { Batch, Fields } from '../storage/storage.js';
import { counterFields, isRetry, retried } from './failures.js';
import type { KnownFailure } from './failures.js';
import type { Head } from './head.js';
import { GROUP_FIELD, INLINE_CHARACTERS } from './head.js';
import { indexes, keys, priorityBase } from './keys.js';
import { countRecovery } from './recovery-counters.js';
import { eventFields } from './task-events.js';
import { makeToken } from './token.js';

type IndexChange = NonNullable<Batch['index']>[number];

/** What a new holder brings. */
export interface Holder {
  /** Its incarnation. */
  readonly owner: string;
  readonly leaseMs: number;
  readonly fence: number;
  readonly nonce: string;
  /** Storage time after which the batch must not apply any more. */
  readonly notAfter: number;
}

/** What a task in somebody's hands is in. */
export function held(holder: Holder, name: string, taskId: string): IndexChange[] {
  return [
    { index: indexes.inState('processing', name), id: taskId, score: { fromNow: holder.leaseMs } },
    { index: indexes.held(holder.owner), id: taskId, score: 0 },
  ];
}

/** What takes a head out of the indexes of the state that it is in. */
export function leave({ task }: Head): IndexChange[] {
  const { taskId, name, status, owner, stuckSinceMs } = task;
  const changes: IndexChange[] = [{ index: indexes.inState(status, name), id: taskId, score: null }];
  if (status === 'processing' && owner !== null)
    changes.push({ index: indexes.held(owner), id: taskId, score: null });
  if (stuckSinceMs !== null) changes.push({ index: indexes.stuck(name), id: taskId, score: null });
  return changes;
}

/** Both, without the removals of entries that are put in anew: a batch says one thing about an entry. */
export function replaced(removals: readonly IndexChange[], entries: readonly IndexChange[]): IndexChange[] {
  const stays = new Set(entries.map(({ index }) => index));
  return [...removals.filter(({ index }) => !stays.has(index)), ...entries];
}

/** A task that is to be started. */
export interface NewTask {
  readonly taskId: string;
  readonly name: string;
  readonly priority: number;
  readonly version: string;
  /** The arguments, as they are to be stored. */
  readonly storedInput: string;
  /** What was captured of the caller's context, as it is to be stored. */
  readonly userContext: string | null;
  /** What several tasks of one job have in common. */
  readonly group: string | null;
}

/** Starts a new task. Its event is the last of `append`. */
export function createBatch(task: NewTask, holder: Holder): Batch & { append: Fields[] } {
  const { taskId, name, group } = task;
  const inline = task.storedInput.length <= INLINE_CHARACTERS;
  const head: Fields = {
    status: 'processing',
    name,
    priority: String(task.priority),
    owner: holder.owner,
    leaseUntil: { fromNow: holder.leaseMs },
    attempt: '1',
    origin: String(holder.fence),
    createdAt: { fromNow: 0 },
    eventSeq: '1',
    version: task.version,
    ...(task.userContext === null ? {} : { user: task.userContext }),
    ...(group === null ? {} : { [GROUP_FIELD]: group }),
    ...(inline ? { input: task.storedInput } : {}),
  };
  const set = [{ key: keys.head(taskId), fields: head }];
  if (!inline) set.push({ key: keys.input(taskId), fields: { data: task.storedInput } });
  return {
    guard: { key: keys.head(taskId), expect: null, next: makeToken(holder.fence, holder.nonce, 0) },
    notAfter: holder.notAfter,
    set,
    index: [
      ...held(holder, name, taskId),
      ...(group === null ? [] : [{ index: indexes.group(group), id: taskId, score: { fromNow: 0 } }]),
    ],
    append: [eventFields('task_started', { taskId, name, attempt: 1, recovered: false }, 1)],
  };
}

export function crashesText(crashes: readonly CrashEvidence[]): string {
  return JSON.stringify(crashes.slice(-KEPT_CRASHES));
}

/** How a task goes into the recovery queue. */
export interface Orphaning {
  readonly cause: OrphanCause;
  /** The crashes charged to it, with this one if it counts. */
  readonly crashes: readonly CrashEvidence[];
  /** How long it has to wait at least, in ms. */
  readonly delayMs: number;
}

/** Puts a task whose owner is gone into the recovery queue. The owner's token is void from then on. */
export function orphanBatch(
  head: Head,
  { cause, crashes, delayMs }: Orphaning,
  nonce: string,
  notAfter: number,
): Batch {
  const { taskId, name, priority, fence } = head.task;
  return {
    guard: { key: keys.head(taskId), expect: head.token, next: makeToken(fence, nonce, 0) },
    notAfter,
    set: [
      {
        key: keys.head(taskId),
        fields: {
          status: 'orphaned',
          dueAt: { fromNow: delayMs },
          cause,
          crashes: crashesText(crashes),
          stuckSince: '',
        },
      },
    ],
    index: [
      ...leave(head),
      {
        index: indexes.inState('orphaned', name),
        id: taskId,
        score: { fromNow: priorityBase(priority) + delayMs },
      },
    ],
  };
}

/** A claim of a task that was run before. */
export interface Claim {
  readonly head: Head;
  readonly cause: OrphanCause;
  readonly plan: Plan;
  readonly crashes: readonly CrashEvidence[];
  /** Whether it may be what crashes its process. */
  readonly suspect: boolean;
  /** The version of the code that takes it. */
  readonly version: string;
  /** The storage's time, as the claimer knows it. */
  readonly atMs: number;
  /** The checkpoint's number that is resumed from; null for a clean restart. */
  readonly resumeSeq: number | null;
  readonly resumeName: string | null;
  readonly resumePercent: number;
}

/** How it became free in the first place: what was handed over carries that through the queue. */
export function firstCause({ head, cause }: Pick<Claim, 'head' | 'cause'>): OrphanCause {
  return cause === 'dispatched' ? (head.task.orphanCause ?? cause) : cause;
}

/** What a failed document is known for that is retried with this claim; null for all other claims. */
export function retriedDocument(claim: Pick<Claim, 'head' | 'cause'>): KnownFailure | null {
  return isRetry(firstCause(claim)) ? claim.head.failed : null;
}

function claimFields(claim: Claim, holder: Holder, eventSeq: number): Fields {
  const { head, cause, plan } = claim;
  const document = retriedDocument(claim);
  const restart = plan.action === 'restart';
  return {
    status: 'processing',
    owner: holder.owner,
    leaseUntil: { fromNow: holder.leaseMs },
    attempt: String(head.task.attempt + 1),
    cause,
    version: claim.version,
    claimedAt: { fromNow: 0 },
    crashes: crashesText(claim.crashes),
    suspect: claim.suspect ? '1' : '',
    eventSeq: String(eventSeq),
    stuckSince: '',
    // Called again after it failed, it has all its tries again.
    ...(cause === 'retried' ? { errors: '0', ranMs: '0' } : {}),
    ...(head.task.error === null ? {} : { error: '' }),
    ...(document === null ? {} : retried(head.task.taskId, document, firstCause(claim)).head),
    ...(restart ? { progress: '0', checkpointBase: String(head.checkpointSeq), auto: '' } : {}),
  };
}

/** Takes a task back, under a fence one higher. */
export function claimBatch(claim: Claim, holder: Holder): Batch & { append: Fields[] } {
  const { head, cause, plan } = claim;
  const { taskId, name, attempt } = head.task;
  const subject = { taskId, name, attempt: attempt + 1, recovered: true };
  const restart = plan.action === 'restart';
  const document = retriedDocument(claim);
  const append = [
    eventFields('recovery_started', subject, head.eventSeq + 1, {
      cause,
      decision: plan.action,
      reason: plan.reason,
      crashes: String(claim.crashes.length),
      ...(claim.version === head.task.version
        ? {}
        : { version_from: head.task.version, version_to: claim.version }),
    }),
  ];
  if (!restart) {
    append.push(
      eventFields('processing_resumed', subject, head.eventSeq + 2, {
        checkpoint: claim.resumeName ?? '',
        checkpoint_seq: String(claim.resumeSeq ?? 0),
        progress_percent: String(claim.resumePercent),
      }),
    );
  }
  return {
    guard: { key: keys.head(taskId), expect: head.token, next: makeToken(holder.fence, holder.nonce, 0) },
    notAfter: holder.notAfter,
    set: [{ key: keys.head(taskId), fields: claimFields(claim, holder, head.eventSeq + append.length) }],
    // An old wish to cancel it is not meant for a task that is called again.
    ...(cause === 'retried' ? { remove: [keys.control(taskId)] } : {}),
    index: [
      ...replaced(leave(head), held(holder, name, taskId)),
      ...(document === null ? [] : retried(taskId, document, firstCause(claim)).index),
    ],
    increment: [
      ...countRecovery({ attempts: 1, received: cause === 'dispatched' ? 1 : 0 }, claim.atMs),
      ...(document === null ? [] : [{ key: keys.retryCounters, field: counterFields.attempts, by: 1 }]),
    ],
    append,
  };
}

/**
 * Takes a task whose records can't be read out of the queues, so that nothing stumbles over it again, and keeps the
 * reason. The unreadable head can't be a guard; the quarantine record is its own.
 * @param expect the record's token when it is there already: a task may be found by its owner, and then by its name
 */
export function quarantineBatch(
  task: { taskId: string; name: string; owner: string | null; reason: string },
  nonce: string,
  notAfter: number,
  expect: string | null = null,
): Batch {
  const { taskId, name, owner } = task;
  const out: IndexChange[] = [
    { index: indexes.inState('processing', name), id: taskId, score: null },
    { index: indexes.inState('orphaned', name), id: taskId, score: null },
    { index: indexes.inState('pending', name), id: taskId, score: null },
    { index: indexes.quarantined(name), id: taskId, score: { fromNow: 0 } },
  ];
  if (owner !== null) out.push({ index: indexes.held(owner), id: taskId, score: null });
  return {
    guard: { key: keys.quarantine(taskId), expect, next: makeToken(1, nonce, 0) },
    notAfter,
    set: [{ key: keys.quarantine(taskId), fields: { name, reason: task.reason, at: { fromNow: 0 } } }],
    index: out,
  };
}
