/** What a span tells of an error. */
import type { StoredError } from '../../domain/task.js';
import { isErrorLike, isRecoveryError, messageOf } from '../../errors.js';

/** What is left of an error that is shown; null where messages are not. */
export type Show = ((error: StoredError) => StoredError) | null;

interface Failure {
  /** Its code, or its name: one of few. */
  readonly type: string;
  /** Whether it is one: not the end by a shutdown. */
  readonly isError: boolean;
  /** Null where it is not to be told. */
  readonly message: string | null;
}

export function failureOf(error: unknown, show: Show): Failure {
  const code = identifierOf(error, 'code');
  const name = identifierOf(error, 'name') ?? (isErrorLike(error) ? 'Error' : typeof error);
  return {
    type: code ?? name,
    isError: !isRecoveryError(error, 'SHUT_DOWN'),
    message: show === null ? null : shownOf({ name, message: messageOf(error), code }, show),
  };
}

function shownOf(error: StoredError, show: NonNullable<Show>): string | null {
  try {
    const { message } = show(error);
    return typeof message === 'string' ? message : null;
  } catch {
    return null;
  }
}

/** A part of it that is a word; sentences and numbers of accounts are none. */
function identifierOf(error: unknown, part: 'code' | 'name'): string | null {
  try {
    const value: unknown = typeof error === 'object' && error !== null ? Reflect.get(error, part) : null;
    return typeof value === 'string' && /^[A-Za-z_][\w.-]{0,63}$/.test(value) ? value : null;
  } catch {
    return null;
  }
}
