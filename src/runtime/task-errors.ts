/** Errors about one task, and how a task's own error is kept. */
import type { StoredError } from '../domain/task.js';
import { messageOf, RecoveryError } from '../errors.js';

const LONGEST_NAME = 256;

/** What is kept of anything that was thrown: name, code and a message cut to size. Never arguments or a stack. */
export function storedErrorOf(thrown: unknown, maxBytes: number): StoredError {
  const code =
    thrown instanceof Error && 'code' in thrown ? messageOf(thrown.code).slice(0, LONGEST_NAME) : null;
  const name = thrown instanceof Error ? thrown.name : typeof thrown;
  const bytes = Buffer.from(messageOf(thrown).toWellFormed()).subarray(0, maxBytes);
  // A character that the cut went through is left out rather than replaced.
  return { name: name.slice(0, LONGEST_NAME), message: bytes.toString().replace(/\uFFFD+$/, ''), code };
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
