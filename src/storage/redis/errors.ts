/** Turns what Redis and ioredis say into the library's errors. */
import { RecoveryError, isRecoveryError, messageOf } from '../../errors.js';
import type { RecoveryErrorOptions } from '../../errors.js';

/**
 * The error of a failed call:
 *
 * - `STORAGE_READONLY` (retryable): the server is a replica; the client has not followed a failover yet.
 * - `STORAGE_FULL` (retryable): `maxmemory` is reached.
 * - `CORRUPT_RECORD`: a key of ours holds another Redis type.
 * - `STORAGE_UNAVAILABLE`: everything else. Not retryable when the server denies the user or the command.
 *
 * `details.outcome` is always `unknown`: ioredis may have sent the call before, over a connection that broke.
 */
export function toStorageError(what: string, error: unknown): RecoveryError {
  if (isRecoveryError(error)) return error;
  const text = messageOf(error);
  const about = (retryable: boolean): RecoveryErrorOptions => ({
    retryable,
    cause: bare(error, text),
    details: { outcome: 'unknown' },
  });
  if (/\bREADONLY\b/.test(text)) {
    return new RecoveryError('STORAGE_READONLY', `Redis is read-only (${what}): ${text}`, about(true));
  }
  if (/\bOOM\b/.test(text)) {
    return new RecoveryError('STORAGE_FULL', `Redis is out of memory (${what}): ${text}`, about(true));
  }
  if (/\bWRONGTYPE\b/.test(text)) {
    return new RecoveryError('CORRUPT_RECORD', `Not a key of rekindle (${what}): ${text}`, about(false));
  }
  // Within a script Redis 7.0 says the last two.
  const denied =
    /\b(NOPERM|NOAUTH|WRONGPASS|NOPROTO)\b|unknown command|\bACL\b|user executing the script can't (run|access)/.test(
      text,
    );
  return new RecoveryError('STORAGE_UNAVAILABLE', `Redis failed ${what}: ${text}`, about(!denied));
}

/** The error without what ioredis hangs on it: the command, whose arguments are payloads and would end up in logs. */
function bare(error: unknown, text: string): unknown {
  if (!(error instanceof Error)) return text;
  const copy = new Error(text);
  copy.name = error.name;
  if (error.stack !== undefined) copy.stack = error.stack;
  return 'code' in error ? Object.assign(copy, { code: error.code }) : copy;
}

/** What a call on a closed storage throws. */
export function closedError(): RecoveryError {
  return new RecoveryError('STORAGE_UNAVAILABLE', 'The storage is closed.', {
    details: { outcome: 'not_applied' },
  });
}
