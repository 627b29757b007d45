/** What goes wrong, as a status, a code and a message that holds nothing of the user's data. */
import { isRecoveryError, kindOf } from '../../errors.js';
import type { RecoveryErrorCode } from '../../errors.js';
import { log } from '../../log.js';
import { jsonAnswer } from './answers.js';

/** Codes of what is wrong with a request itself; errors of the library keep their own. */
export type ProblemCode =
  | 'BODY_INVALID'
  | 'BODY_TOO_LARGE'
  | 'CROSS_SITE'
  | 'FORBIDDEN'
  | 'INTERNAL'
  | 'METHOD_NOT_ALLOWED'
  | 'NOT_FOUND'
  | 'PROM_CLIENT_MISSING'
  | 'QUERY_INVALID'
  | 'TOO_MANY_FOLLOWERS'
  | 'UNSUPPORTED_MEDIA_TYPE';

/** Thrown by a route to end its request. */
export class Problem extends Error {
  readonly status: number;
  readonly code: ProblemCode | RecoveryErrorCode;
  readonly headers: Readonly<Record<string, string>>;

  constructor(
    status: number,
    code: ProblemCode | RecoveryErrorCode,
    message: string,
    headers: Readonly<Record<string, string>> = {},
  ) {
    super(message);
    this.status = status;
    this.code = code;
    this.headers = headers;
  }

  get answer(): Response {
    const { status, code, message, headers } = this;
    return jsonAnswer({ error: { code, message } }, status, headers);
  }
}

/** Soon enough for an outage that is short, seldom enough for one that is not. */
const RETRY_LATER = { 'retry-after': '5' };

interface Meaning {
  readonly status: number;
  /** Null: the error's own, which is about the request alone. */
  readonly message: string | null;
}

const BAD_INPUT: Meaning = { status: 400, message: null };
const UNREADABLE: Meaning = { status: 409, message: "What is stored of it can't be read here." };
const AWAY: Meaning = { status: 503, message: 'The storage does not answer, or refuses.' };
const OFF_DUTY: Meaning = { status: 503, message: 'This worker does not work.' };

const MEANINGS: Readonly<Partial<Record<RecoveryErrorCode, Meaning>>> = {
  INVALID_ID: BAD_INPUT,
  INVALID_OPTION: BAD_INPUT,
  INVALID_VALUE: BAD_INPUT,
  TASK_NOT_FOUND: { status: 404, message: 'There is no such task.' },
  // Its message has the id that was asked for, and the state.
  WRONG_STATE: { status: 409, message: null },
  CORRUPT_RECORD: UNREADABLE,
  CODEC_FAILED: UNREADABLE,
  STORAGE_UNAVAILABLE: AWAY,
  STORAGE_FULL: AWAY,
  STORAGE_READONLY: AWAY,
  STORAGE_REFUSED: AWAY,
  LAYOUT_MISMATCH: AWAY,
  DRIVER_MISSING: AWAY,
  RECOVERY_TIMEOUT: AWAY,
  SHUT_DOWN: OFF_DUTY,
  SLOT_CONFLICT: OFF_DUTY,
  CHECK_FAILED: OFF_DUTY,
};

function meaningOf(thrown: unknown): Problem | null {
  if (thrown instanceof Problem) return thrown;
  if (!isRecoveryError(thrown)) return null;
  const meaning = MEANINGS[thrown.code];
  if (meaning === undefined) return null;
  const { status, message } = meaning;
  return new Problem(status, thrown.code, message ?? thrown.message, status === 503 ? RETRY_LATER : {});
}

/** The answer to a request that ended with an error, whatever was thrown. */
export function problemAnswer(thrown: unknown): Response {
  const problem = meaningOf(thrown);
  if (problem !== null) return problem.answer;
  log.http('a request failed: %s', kindOf(thrown));
  return new Problem(500, 'INTERNAL', 'This went wrong; the debug output rekindle:http names its kind.')
    .answer;
}

/** Says the same whatever was asked for. */
export function forbidden(): Response {
  return new Problem(403, 'FORBIDDEN', 'Not allowed.').answer;
}

export function notFound(): Response {
  return new Problem(404, 'NOT_FOUND', 'There is no such path.').answer;
}

export function unavailable(code: RecoveryErrorCode): Problem {
  return new Problem(503, code, AWAY.message ?? '', RETRY_LATER);
}
