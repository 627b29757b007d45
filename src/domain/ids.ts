import { RecoveryError } from '../errors.js';

/** Longest id, name, namespace or slot, in characters. */
export const MAX_ID_LENGTH = 256;

// Braces would forge a hash tag of Redis Cluster; control characters make logs and keys unreadable.
const FORBIDDEN = /[{}\u007f]|[^\u0020-\u{10ffff}]/u;

/**
 * Refuses what can't be an id, a name, a namespace or a slot: 1 to 256 characters, no braces, no control
 * characters, no lone surrogates.
 * @throws `INVALID_ID`
 */
export function checkId(what: string, id: unknown): string {
  let problem: string | null = null;
  if (typeof id !== 'string')
    problem = `is ${id === null || id === undefined ? String(id) : `a ${typeof id}`}, not a text`;
  else if (id.length === 0) problem = 'is empty';
  else if (id.length > MAX_ID_LENGTH)
    problem = `has ${id.length} characters, over the limit of ${MAX_ID_LENGTH}`;
  else if (FORBIDDEN.test(id)) problem = 'holds a brace or a control character';
  else if (!id.isWellFormed()) problem = 'holds a lone surrogate';
  else return id;
  throw new RecoveryError('INVALID_ID', `${what} ${problem}. Use 1 to ${MAX_ID_LENGTH} plain characters.`);
}
