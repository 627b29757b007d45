/** Errors about one task, and how a task's own error is kept. */
import type { StoredError } from '../domain/task.js';
import { isRecoveryError, messageOf, RecoveryError } from '../errors.js';

const LONGEST_NAME = 256;

/** The text of anything at all, fit to be stored. */
export function textOf(value: unknown): string {
  return messageOf(value).toWellFormed();
}

function isError(thrown: unknown): thrown is Error {
  try {
    return thrown instanceof Error;
  } catch {
    // A proxy that was revoked.
    return false;
  }
}

function part(error: Error, name: 'name' | 'code'): string | null {
  try {
    const value: unknown = Reflect.get(error, name);
    return value === undefined || value === null ? null : textOf(textOf(value).slice(0, LONGEST_NAME));
  } catch {
    return null;
  }
}

/** What is kept of anything that was thrown: name, code and a message cut to size. Never arguments or a stack. */
export function storedErrorOf(thrown: unknown, maxBytes: number): StoredError {
  const [name, code] = isError(thrown)
    ? [part(thrown, 'name') ?? 'Error', part(thrown, 'code')]
    : [typeof thrown, null];
  const bytes = Buffer.from(textOf(thrown)).subarray(0, maxBytes);
  // A character that the cut went through is left out rather than replaced.
  return { name, message: bytes.toString().replace(/\uFFFD+$/, ''), code };
}

const NOT_ITS_FAULT = ['SHUT_DOWN', 'STORAGE_UNAVAILABLE', 'STORAGE_FULL', 'STORAGE_READONLY'] as const;

/** Errors of the storage or of the worker: the task has done nothing wrong, and is given back instead of failed. */
export function isNotItsFault(thrown: unknown): boolean {
  return NOT_ITS_FAULT.some((code) => isRecoveryError(thrown, code));
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
