/** How a command ends. docs/cli.md lists them. */
import { isRecoveryError } from '../errors.js';
import type { RecoveryErrorCode } from '../errors.js';

export const EXIT = {
  ok: 0,
  /** Something it was about has failed: a recovered task, a check of `doctor`. */
  failed: 1,
  /** The command line, or the module of `--import`, is not what it has to be. */
  usage: 2,
  /** The storage is out of reach, or refuses. */
  storage: 3,
  /** There is no such task or group, or it is in a state that the command is not for. */
  notFound: 4,
  interrupted: 130,
  terminated: 143,
} as const;

const OF_CODES: Readonly<Partial<Record<RecoveryErrorCode, number>>> = {
  INVALID_OPTION: EXIT.usage,
  INVALID_ID: EXIT.usage,
  INVALID_VALUE: EXIT.usage,
  STORAGE_UNAVAILABLE: EXIT.storage,
  STORAGE_READONLY: EXIT.storage,
  STORAGE_FULL: EXIT.storage,
  STORAGE_REFUSED: EXIT.storage,
  LAYOUT_MISMATCH: EXIT.storage,
  DRIVER_MISSING: EXIT.storage,
  TASK_NOT_FOUND: EXIT.notFound,
  WRONG_STATE: EXIT.notFound,
};

/** The exit code for what was thrown. */
export function exitCodeOf(thrown: unknown): number {
  if (!isRecoveryError(thrown)) return EXIT.failed;
  return OF_CODES[thrown.code] ?? EXIT.failed;
}
