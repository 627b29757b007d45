/** Every code a {@link RecoveryError} can carry; `docs/errors.md` has a heading for each. */
export type RecoveryErrorCode =
  | 'CHECK_FAILED'
  | 'CODEC_FAILED'
  | 'CONTEXT_CLOSED'
  | 'CORRUPT_RECORD'
  | 'CRASH_UNSAFE'
  | 'DRIVER_MISSING'
  | 'DUPLICATE_KEY'
  | 'DUPLICATE_STEP'
  | 'DUPLICATE_TASK_NAME'
  | 'EXPLORE_STALLED'
  | 'INPUT_INVALID'
  | 'INPUT_MISMATCH'
  | 'INVALID_ID'
  | 'INVALID_OPTION'
  | 'INVALID_VALUE'
  | 'ITEMS_FAILED'
  | 'LAYOUT_MISMATCH'
  | 'LEASE_LOST'
  | 'LEASE_UNCERTAIN'
  | 'LIMIT_EXCEEDED'
  | 'MIGRATION_FAILED'
  | 'NO_HANDLER'
  | 'NOT_JSON'
  | 'PAYLOAD_TOO_LARGE'
  | 'QUEUE_UNAVAILABLE'
  | 'RECOVERY_TIMEOUT'
  | 'RESULT_NOT_STORABLE'
  | 'SHUT_DOWN'
  | 'SLOT_CONFLICT'
  | 'STEP_RESULT_NOT_STORABLE'
  | 'STORAGE_FULL'
  | 'STORAGE_READONLY'
  | 'STORAGE_REFUSED'
  | 'STORAGE_UNAVAILABLE'
  | 'TASK_CANCELLED'
  | 'TASK_DEAD_LETTER'
  | 'TASK_NOT_FOUND'
  | 'TASK_RUNNING_ELSEWHERE'
  | 'TASK_TIMED_OUT'
  | 'UNRECOVERABLE'
  | 'WRONG_STATE';

/** What a {@link RecoveryError} is made with. */
export interface RecoveryErrorOptions {
  /** Whether the same call may succeed later without a change by the caller. Default false. */
  readonly retryable?: boolean;
  /** The error underneath. */
  readonly cause?: unknown;
  /** Facts for programs: ids, sizes, limits, owners. Never payloads. */
  readonly details?: Readonly<Record<string, unknown>>;
}

const BRAND = Symbol.for('rekindle.RecoveryError');

/**
 * The one error class of the library. Tell errors apart by `code`; `instanceof` fails when two copies
 * of the package are loaded, {@link isRecoveryError} does not.
 *
 * @example
 * try { await task(input); } catch (error) {
 *   if (isRecoveryError(error, 'TASK_RUNNING_ELSEWHERE')) return;
 *   throw error;
 * }
 */
export class RecoveryError extends Error {
  readonly code: RecoveryErrorCode;
  readonly retryable: boolean;
  readonly details: Readonly<Record<string, unknown>>;

  constructor(code: RecoveryErrorCode, message: string, options: RecoveryErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'RecoveryError';
    this.code = code;
    this.retryable = options.retryable ?? false;
    this.details = options.details ?? {};
    Object.defineProperty(this, BRAND, { value: true });
  }
}

/** Whether `error` is a {@link RecoveryError}, with the given code when one is named. */
export function isRecoveryError(error: unknown, code?: RecoveryErrorCode): error is RecoveryError {
  if (typeof error !== 'object' || error === null) return false;
  try {
    return BRAND in error && (code === undefined || ('code' in error && error.code === code));
  } catch {
    // A proxy that was revoked, or one that throws: no error of ours.
    return false;
  }
}

/** An error, also one of another realm, or a plain object that has a message as one has. */
export function isErrorLike(thrown: unknown): thrown is { readonly message: unknown } {
  try {
    if (thrown instanceof Error) return true;
    return (
      typeof thrown === 'object' && thrown !== null && typeof Reflect.get(thrown, 'message') === 'string'
    );
  } catch {
    // A proxy that was revoked.
    return false;
  }
}

/** The text of anything that was thrown: messages that are objects, and getters that throw, do get thrown. */
export function messageOf(thrown: unknown): string {
  try {
    return String(isErrorLike(thrown) ? thrown.message : thrown);
  } catch {
    return 'a value that cannot be turned into text';
  }
}

/** What kind of error it is, for debug output: its code, never its message, which may hold user data. */
export function kindOf(thrown: unknown): string {
  try {
    if (isRecoveryError(thrown)) return thrown.code;
    return thrown instanceof Error ? 'Error' : typeof thrown;
  } catch {
    // A revoked proxy can't even be asked.
    return 'unknown';
  }
}
