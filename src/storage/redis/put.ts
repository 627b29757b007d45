/**
 * The short way for what most batches are: fields of the guard, and of one other record at the most. No checks come
 * before the writes then: the guard's type is known when its token is, and the other write is the first one.
 *
 * ARGV: for each batch the number of arguments that follow, the number of these up to the guard's last field,
 *   expect, next, the guard's other fields, the other record's fields.
 * KEYS: for each batch the guard, and the other record if there is one.
 */
import type { Batch, Fields } from '../storage.js';
import type { EncodedCommit } from './encode.js';
import { recordPrefix } from './keys.js';
import { Args } from './pack.js';

/** Lua unpacks all of a record's fields at once. */
const MOST_FIELDS = 1_000;
/** So many arguments a checkpoint has. */
const USUAL_ARGS = 12;

const NONE: readonly never[] = [];

/** Adds names and values; false when a value is the server's to compute, or when there are too many. */
function pushTexts(args: Args, fields: Fields): boolean {
  let left = MOST_FIELDS;
  for (const name in fields) {
    const value = fields[name];
    left -= 1;
    if (typeof value !== 'string' || left < 0) return false;
    args.push(name);
    args.push(value);
  }
  return true;
}

/** A batch that expects no record has a notAfter. */
function onlySets(batch: Batch): boolean {
  const { guard, notAfter, observe, remove, unset, increment, index, append } = batch;
  if (guard.next === null) return false;
  return (notAfter ?? observe ?? remove ?? unset ?? increment ?? index ?? append) === undefined;
}

/** Adds one batch; false when it is not of this kind. */
function pushBatch(prefix: string, batch: Batch, keys: string[], args: Args): boolean {
  const { guard, set = NONE } = batch;
  const start = args.length;
  keys.push(prefix + guard.key);
  args.push(0);
  args.push(0);
  args.push(guard.expect ?? '');
  args.push(guard.next ?? '');
  let other: { readonly key: string; readonly fields: Fields } | null = null;
  for (const each of set) {
    if (each.key === guard.key) {
      if (!pushTexts(args, each.fields)) return false;
    } else if (other === null) other = each;
    else return false;
  }
  // They may come in several parts.
  if (args.length - start > 4 + 2 * MOST_FIELDS) return false;
  args.set(start + 1, args.length - start - 2);
  if (other !== null) {
    keys.push(prefix + other.key);
    if (!pushTexts(args, other.fields)) return false;
  }
  args.set(start, args.length - start - 1);
  return true;
}

/** Encodes batches, or returns null when one of them is of another kind. */
export function encodePuts(partition: string, batches: readonly Batch[]): EncodedCommit | null {
  if (!batches.every(onlySets)) return null;
  const keys: string[] = [];
  const args = new Args(batches.length * USUAL_ARGS);
  const prefix = recordPrefix(partition);
  for (const batch of batches) {
    if (!pushBatch(prefix, batch, keys, args)) return null;
  }
  return { keys, args: args.all() };
}
