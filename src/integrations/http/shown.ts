/** What of a record leaves this process: named field by field, so that a new one stays inside until somebody thought of it. */
import { isObject } from '../../domain/check-options.js';
import type { RecoveryEvent } from '../../domain/events.js';
import type { FailedDocumentRecord, FailureGroup } from '../../domain/failed-document.js';
import type { TaskAttempt } from '../../domain/operations.js';
import type { Checkpoint, StoredError, TaskRecord } from '../../domain/task.js';
import { kindOf } from '../../errors.js';
import type { PlannedRecovery } from '../../index.js';
import { log } from '../../log.js';
import { withoutPasswords } from './redact-secrets.js';

/** An error. What is not shown is undefined, here and below, and so absent from the JSON. */
export interface ShownError {
  readonly name: string;
  readonly code: string | null;
  readonly message?: string | undefined;
}

export interface ShownTask extends Omit<TaskRecord, 'error'> {
  readonly error: ShownError | null;
}

export interface ShownCheckpoint extends Omit<Checkpoint, 'recoverableData' | 'databaseState'> {
  readonly recoverableData?: unknown;
  readonly databaseState?: unknown;
}

export interface ShownFailure extends Omit<
  FailedDocumentRecord,
  'errorMessage' | 'frame' | 'query' | 'metadata'
> {
  readonly errorMessage?: string | undefined;
  readonly frame?: string | null | undefined;
  readonly query?: unknown;
  readonly metadata?: unknown;
}

export interface ShownGroup extends Omit<FailureGroup, 'errorMessage' | 'frame'> {
  readonly errorMessage?: string | undefined;
  readonly frame?: string | null | undefined;
}

export interface ShownPlan extends Omit<PlannedRecovery, 'evidence'> {
  readonly evidence?: unknown;
}

/** What may be shown. */
export interface Showing {
  readonly showErrors: boolean;
  readonly redactPayload: ((value: unknown) => unknown) | null;
}

/** A message, where they are shown. */
function message({ showErrors }: Showing, text: string): string | undefined {
  return showErrors ? withoutPasswords(text) : undefined;
}

/** Whether somebody is still at it; its end is of no use any more, and of no harm. */
function isLate(value: unknown): boolean {
  if (!isObject(value) || typeof value['then'] !== 'function') return false;
  Promise.resolve(value).catch((error: unknown) => log.http('redactPayload failed: %s', kindOf(error)));
  return true;
}

/** A payload after redaction; undefined when it is not to be seen, or can't be written down. */
function payload({ redactPayload }: Showing, value: unknown): unknown {
  if (redactPayload === null) return undefined;
  try {
    const shown = redactPayload(value);
    if (isLate(shown)) return undefined;
    JSON.stringify(shown);
    return shown;
  } catch {
    return undefined;
  }
}

function shownError(showing: Showing, error: StoredError | null): ShownError | null {
  if (error === null) return null;
  const { name, code } = error;
  return { name, code, message: message(showing, error.message) };
}

export function shownTask(showing: Showing, task: TaskRecord): ShownTask {
  return {
    taskId: task.taskId,
    name: task.name,
    status: task.status,
    priority: task.priority,
    version: task.version,
    attempt: task.attempt,
    errorCount: task.errorCount,
    fence: task.fence,
    owner: task.owner,
    leaseUntilMs: task.leaseUntilMs,
    dueAtMs: task.dueAtMs,
    progressPercent: task.progressPercent,
    step: task.step,
    description: task.description,
    createdAtMs: task.createdAtMs,
    progressAtMs: task.progressAtMs,
    endedAtMs: task.endedAtMs,
    stuckSinceMs: task.stuckSinceMs,
    crashes: task.crashes,
    crashedAtMs: task.crashedAtMs,
    orphanCause: task.orphanCause,
    items: task.items,
    error: shownError(showing, task.error),
  };
}

export function shownCheckpoint(showing: Showing, checkpoint: Checkpoint): ShownCheckpoint {
  const { name, seq, automatic, progressPercent, stepDescription, createdAtMs, version } = checkpoint;
  const recoverableData = payload(showing, checkpoint.recoverableData);
  const databaseState = payload(showing, checkpoint.databaseState);
  const rest = { name, seq, automatic, progressPercent, stepDescription, createdAtMs, version };
  return { ...rest, recoverableData, databaseState };
}

export function shownFailure(showing: Showing, failure: FailedDocumentRecord): ShownFailure {
  return {
    taskId: failure.taskId,
    name: failure.name,
    documentPath: failure.documentPath,
    status: failure.status,
    errorName: failure.errorName,
    errorCode: failure.errorCode,
    category: failure.category,
    fingerprint: failure.fingerprint,
    failedAtMs: failure.failedAtMs,
    lastAttemptAtMs: failure.lastAttemptAtMs,
    ageMs: failure.ageMs,
    retryCount: failure.retryCount,
    recoveryAttempts: failure.recoveryAttempts,
    workerId: failure.workerId,
    version: failure.version,
    errorMessage: message(showing, failure.errorMessage),
    frame: showing.showErrors ? failure.frame : undefined,
    query: payload(showing, failure.query),
    metadata: payload(showing, failure.metadata),
  };
}

export function shownGroup(showing: Showing, group: FailureGroup): ShownGroup {
  const { fingerprint, count, category, errorName, newestTaskId } = group;
  const errorMessage = message(showing, group.errorMessage);
  const frame = showing.showErrors ? group.frame : undefined;
  return { fingerprint, count, category, errorName, newestTaskId, errorMessage, frame };
}

/** Strategies whose evidence is numbers, names and versions. That of a strategy of one's own may be anything. */
const BUILT_IN = new Set([
  'crash-budget',
  'version-policy',
  'validation-only',
  'checkpoint-resume',
  'clean-restart',
  'none',
]);

export function shownPlan(showing: Showing, planned: PlannedRecovery): ShownPlan {
  const { taskId, name, decision, strategy, dispatched } = planned;
  // What can't be read is told with the message of the error it was met with.
  const unreadable = strategy === 'none' ? /^[A-Z_]+(?=: )/.exec(planned.reason)?.[0] : undefined;
  const reason = showing.showErrors ? withoutPasswords(planned.reason) : (unreadable ?? planned.reason);
  const evidence = BUILT_IN.has(strategy) ? planned.evidence : payload(showing, planned.evidence);
  return { taskId, name, decision, reason, strategy, dispatched, evidence };
}

export function shownAttempt(attempt: TaskAttempt): TaskAttempt {
  const { attempt: number, startedAtMs, cause, decision, reason, end, endedAtMs } = attempt;
  return { attempt: number, startedAtMs, cause, decision, reason, end, endedAtMs };
}

/** Events that say why a decision was made. The reason of others is the message of an error. */
const DECISIONS = new Set<string>(['task_dispatched', 'recovery_started', 'processing_resumed']);

export function shownEvent(showing: Showing, told: RecoveryEvent): RecoveryEvent {
  const { event, task_id, name, timestamp, recovery, seq, cursor } = told;
  const { reason, ...rest } = told.details;
  const shows = reason !== undefined && (showing.showErrors || DECISIONS.has(event));
  const details = shows ? { ...rest, reason: withoutPasswords(reason) } : rest;
  return { event, task_id, name, timestamp, recovery, seq, cursor, details };
}
