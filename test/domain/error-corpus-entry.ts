/** What the parts of the corpus of errors are made of. */
import type { ErrorCategory } from '../../src/domain/error-category.js';
import type { StoredError } from '../../src/domain/task.js';
import { storedErrorOf } from '../../src/runtime/task-errors.js';

/**
 * `provoked`: thrown by what throws it in production. `constructed`: made by hand the way a wrapper makes it.
 * `typed`: its texts are from the documentation of a client that is not installed.
 */
export type Origin = 'provoked' | 'constructed' | 'typed';

export interface CorpusEntry {
  readonly reason: string;
  readonly category: ErrorCategory;
  readonly origin: Origin;
  /** Throws or returns the error, another one at each round. */
  readonly make: (round: number) => unknown;
}

export function entry(
  reason: string,
  category: ErrorCategory,
  make: (round: number) => unknown,
  origin: Origin = 'provoked',
): CorpusEntry {
  return { reason, category, origin, make };
}

/** An error as code throws it that wraps another one. */
export function errorLike(name: string, message: string, code?: string | number): Error {
  return Object.assign(new Error(message), { name }, code === undefined ? {} : { code });
}

/** Makes the error of an entry; refuses one that does not fail. */
export async function failureOf({ reason, make }: CorpusEntry, round: number): Promise<unknown> {
  let made: unknown;
  try {
    made = await make(round);
  } catch (error) {
    return error;
  }
  if (made instanceof Error) return made;
  throw new Error(`"${reason}" did not fail in round ${round}.`);
}

/** The facts of anything thrown, as the library keeps them. */
export function factsOf(error: unknown): StoredError {
  return storedErrorOf(error, { limits: { errorBytes: 64 * 1024 }, redact: null });
}
