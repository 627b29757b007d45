/** Errors about one task, and how a task's own error is kept. */
import type { StoredError, TaskRecord } from '../domain/task.js';
import { errorDetails } from '../state/task-events.js';
import { isErrorLike, isRecoveryError, messageOf, RecoveryError } from '../errors.js';

const LONGEST_NAME = 256;

/** The text of anything at all, fit to be stored. */
export function textOf(value: unknown): string {
  return messageOf(value).toWellFormed();
}

function part(error: object, name: 'name' | 'code'): string | null {
  try {
    const value: unknown = Reflect.get(error, name);
    return value === undefined || value === null ? null : textOf(textOf(value).slice(0, LONGEST_NAME));
  } catch {
    return null;
  }
}

/** How errors are to be kept. */
export interface ErrorPolicy {
  readonly limits: { readonly errorBytes: number };
  /** The user's own censor; null without one. */
  readonly redact: ((error: StoredError) => StoredError) | null;
}

/** What an alert says of an error: never its message, which may hold what users wrote. */
export function alertedError(
  { settings }: { readonly settings: ErrorPolicy },
  thrown: unknown,
): Readonly<Record<string, string>> {
  return errorDetails(storedErrorOf(thrown, settings));
}

/** What is kept of anything that was thrown: name, code and a message cut to size. Never arguments or a stack. */
export function storedErrorOf(thrown: unknown, { limits: { errorBytes }, redact }: ErrorPolicy): StoredError {
  const [name, code] = isErrorLike(thrown)
    ? [part(thrown, 'name') ?? 'Error', part(thrown, 'code')]
    : [typeof thrown, null];
  const message = textOf(thrown);
  if (redact === null) return { name, message: cut(message, errorBytes), code };
  return redacted(redact, { name, message, code }, errorBytes);
}

function cut(message: string, maxBytes: number): string {
  const bytes = Buffer.from(message);
  if (bytes.length <= maxBytes) return bytes.toString();
  // A character that the cut went through is left out rather than replaced.
  return bytes
    .subarray(0, maxBytes)
    .toString()
    .replace(/\uFFFD+$/, '');
}

/** What the censor leaves of it; when it fails, nothing but that there was an error. */
function redacted(
  redact: (error: StoredError) => StoredError,
  error: StoredError,
  maxBytes: number,
): StoredError {
  try {
    const answer = redact(error);
    // An async one by mistake: what it rejects with must not end the process.
    Promise.resolve<unknown>(answer).catch(() => {});
    const { name, message, code } = answer;
    if (typeof name === 'string' && typeof message === 'string') {
      const kept = typeof code === 'string' ? textOf(code.slice(0, LONGEST_NAME)) : null;
      return {
        name: textOf(name.slice(0, LONGEST_NAME)),
        message: cut(textOf(message), maxBytes),
        code: kept,
      };
    }
  } catch {
    // Answered below: what can't be censored is not kept.
  }
  return { name: 'Error', message: 'The error could not be redacted, so it was not kept.', code: null };
}

const NOT_ITS_FAULT = ['STORAGE_UNAVAILABLE', 'STORAGE_FULL', 'STORAGE_READONLY'] as const;

/**
 * Errors of the storage or of the worker: the task has done nothing wrong, and is given back instead of failed. A
 * shutdown counts while this worker is `closing`: that of another Recovery is the task's own affair.
 */
export function isNotItsFault(thrown: unknown, closing: RecoveryError | null): boolean {
  if (isRecoveryError(thrown, 'SHUT_DOWN')) return closing !== null;
  return NOT_ITS_FAULT.some((code) => isRecoveryError(thrown, code));
}

/** Limits on a task's whole time, not on one attempt's. */
const FINAL_LIMITS = ['maxDurationMs', 'attemptTimeoutMs'];

/** Errors that no other try can mend: the task fails for good, whatever its `maxAttempts`. */
export function isFinal(thrown: unknown): boolean {
  if (isRecoveryError(thrown, 'TASK_TIMED_OUT'))
    return FINAL_LIMITS.some((limit) => detail(thrown, 'limit') === limit);
  // A schema that threw has not judged the input.
  if (isRecoveryError(thrown, 'INPUT_INVALID')) return detail(thrown, 'threw') !== true;
  // What could not be kept once won't be the next time, and a later attempt goes on without it.
  return isRecoveryError(thrown, 'UNRECOVERABLE') || isRecoveryError(thrown, 'STEP_RESULT_NOT_STORABLE');
}

/** This process lacks what it takes to read something of the task: another one may have it. */
export function isUndecodable(thrown: unknown, taskId: string): boolean {
  if (!isRecoveryError(thrown, 'CODEC_FAILED')) return false;
  return detail(thrown, 'way') === 'decode' && detail(thrown, 'taskId') === taskId;
}

/** A fact of an error that may come from anywhere. */
function detail(thrown: RecoveryError, name: string): unknown {
  try {
    const details: unknown = thrown.details;
    return typeof details === 'object' && details !== null ? Reflect.get(details, name) : undefined;
  } catch {
    return undefined;
  }
}

export function leaseUncertain(taskId: string): RecoveryError {
  return new RecoveryError(
    'LEASE_UNCERTAIN',
    'The storage has not confirmed the lease in time; the task may be elsewhere.',
    { retryable: true, details: { taskId } },
  );
}

/** @param currentFence that of whoever has it now; null when its record is gone */
export function leaseLost(taskId: string, fence: number, currentFence: number | null): RecoveryError {
  const how = currentFence === null ? 'its record is gone' : 'it was claimed by another worker';
  return new RecoveryError('LEASE_LOST', `Task "${taskId}" no longer belongs to this worker: ${how}.`, {
    details: { taskId, fence, currentFence },
  });
}

export function cancelledError(taskId: string, reason: string): RecoveryError {
  const why = reason === '' ? '' : `: ${reason}`;
  return new RecoveryError('TASK_CANCELLED', `Task "${taskId}" was cancelled${why}.`, {
    details: { taskId },
  });
}

export function contextClosed(taskId: string): RecoveryError {
  return new RecoveryError('CONTEXT_CLOSED', `Task "${taskId}" has ended; await every call on its context.`);
}

/** What a caller hears about a result that could not be kept. */
export function unstorableError(taskId: string, cause: unknown): RecoveryError {
  return new RecoveryError(
    'RESULT_NOT_STORABLE',
    `Task "${taskId}" is done, but its result could not be kept: ${messageOf(cause)} Return JSON data or nothing.`,
    { cause, details: { taskId } },
  );
}

export function runningError(taskId: string, owner: string | null): RecoveryError {
  return new RecoveryError(
    'TASK_RUNNING_ELSEWHERE',
    `Task "${taskId}" is running under a live lease of worker ${owner ?? 'unknown'}. Wait, or set ifRunning: 'join'.`,
    { retryable: true, details: { taskId, owner } },
  );
}

/** The error that a task failed with in another process, as it was kept. */
export function failedElsewhere({ taskId, error }: TaskRecord): Error {
  const thrown = new Error(error?.message ?? `Task "${taskId}" has failed.`);
  thrown.name = error?.name ?? 'Error';
  return error?.code ? Object.assign(thrown, { code: error.code }) : thrown;
}

export function gaveUpError(
  code: 'TASK_DEAD_LETTER' | 'TASK_CANCELLED',
  task: TaskRecord,
  reason?: string,
): RecoveryError {
  const { taskId, error, crashedAtMs } = task;
  const kept = reason ?? error?.message ?? 'no reason was kept.';
  const what = code === 'TASK_DEAD_LETTER' ? 'was given up' : 'was cancelled';
  // What is kept of a cancellation is a whole sentence already.
  const why = kept.startsWith('Task "') ? kept : `Task "${taskId}" ${what}: ${kept}`;
  const advice = 'recovery.tasks.requeue makes it go on.';
  return new RecoveryError(code, `${why} ${advice}`, { details: { taskId, crashedAtMs } });
}

export function notFound(taskId: string): RecoveryError {
  return new RecoveryError('TASK_NOT_FOUND', `There is no task "${taskId}" in this namespace.`, {
    details: { taskId },
  });
}
