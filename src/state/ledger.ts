/**
 * What is kept of finished pieces of a task: a record a step, and for each `map` a few records with a field an item.
 * An entry is a letter and a text, so that an item costs one field.
 */
import { isObject } from '../domain/check-options.js';
import { fromJsonText } from '../domain/json.js';
import type { StoredError, TaskRecord } from '../domain/task.js';
import { isRecoveryError } from '../errors.js';
import { hashOf } from './keys.js';

/** What is known of a step or an item. */
export type Entry =
  | { readonly state: 'done'; readonly value: unknown }
  /** Done, but its result could not be kept as JSON. */
  | { readonly state: 'unstorable' }
  | { readonly state: 'started' }
  | { readonly state: 'failed'; readonly error: StoredError };

/** The field of a step's own record that holds its entry. */
export const STEP_FIELD = 'entry';
/** Entries up to this many characters live in the head: nothing to read when the task is resumed. */
export const INLINE_ENTRY = 256;
/** Stands in the head for an entry that has a record of its own. */
export const ELSEWHERE = 'r';
export const STEP_PREFIX = 's:';
export const MAP_PREFIX = 'm:';
/** Before the name of a map whose discovered items are being written: in how many buckets. */
export const DISCOVERING_PREFIX = 'd:';
/** Before an item's key, so that none is taken for a field of the storage's own. */
export const ITEM_PREFIX = '=';

/** What earlier attempts have kept of a task's pieces. */
export interface KeptPieces {
  /** The task's first fence: tells a task from one made anew under the same id. */
  readonly origin: number;
  /** Entries of steps, or {@link ELSEWHERE}. */
  readonly steps: ReadonlyMap<string, string>;
  readonly maps: ReadonlyMap<string, MapMark>;
}

/** Texts of entries; those of results and errors are sealed already. */
export const entries = {
  done: (text: string | null): string => (text === null ? 'u' : `j${text}`),
  unstorable: 'x',
  started: 's',
  failed: (text: string): string => `f${text}`,
} as const;

/** What an entry says of an item, its value unopened; null when that is nothing usable. */
export function entryStateOf(text: string): 'done' | 'failed' | null {
  const [letter] = text;
  if (letter === 'u' || letter === 'j' || letter === entries.unstorable) return 'done';
  return letter === 'f' ? 'failed' : null;
}

/** Null when there is no entry. One that says nothing usable leaves its piece in doubt: it was started, at least. */
export function decodeEntry(
  text: string | undefined,
  what: string,
  open: (sealed: string) => string,
): Entry | null {
  if (text === undefined) return null;
  try {
    switch (text[0]) {
      case 'u':
        return { state: 'done', value: undefined };
      case 'j':
        return { state: 'done', value: fromJsonText(open(text.slice(1)), what) };
      case 'x':
        return { state: 'unstorable' };
      case 'f': {
        const value = fromJsonText(open(text.slice(1)), what);
        if (!isObject(value)) return { state: 'started' };
        const { name, message, code } = value;
        return {
          state: 'failed',
          error: {
            name: typeof name === 'string' ? name : 'Error',
            message: typeof message === 'string' ? message : '',
            code: typeof code === 'string' ? code : null,
          },
        };
      }
      default:
        return { state: 'started' };
    }
  } catch (error) {
    // It is there and done, but out of reach for this worker: running it again would be worse than failing.
    if (isRecoveryError(error, 'CODEC_FAILED')) throw error;
    return { state: 'started' };
  }
}

/** Items a record of a ledger, about: a record with a hundred thousand fields would block the server when it is removed. */
const ITEMS_A_BUCKET = 1_000;
export const MAX_BUCKETS = 1_024;

export function bucketsFor(items: number): number {
  return Math.min(MAX_BUCKETS, Math.max(1, Math.ceil(items / ITEMS_A_BUCKET)));
}

export function bucketOf(key: string, buckets: number): number {
  return buckets === 1 ? 0 : hashOf(key) % buckets;
}

/** How far a map is; kept in the head under its name. */
export interface MapMark {
  readonly buckets: number;
  readonly total: number;
  readonly done: number;
  readonly failed: number;
}

export function encodeMark({ buckets, total, done, failed }: MapMark): string {
  return `${buckets},${total},${done},${failed}`;
}

export function decodeMark(text: string): MapMark | null {
  const [buckets = 0, total = 0, done = 0, failed = 0] = text.split(',').map(Number);
  const whole = [buckets, total, done, failed].every((count) => Number.isSafeInteger(count) && count >= 0);
  return whole && buckets > 0 ? { buckets, total, done, failed } : null;
}

/** Items of all maps of a task, as its heads and reports show them; null when it has no map. */
export function itemsOf(maps: KeptPieces['maps']): TaskRecord['items'] {
  if (maps.size === 0) return null;
  let [done, total] = [0, 0];
  for (const mark of maps.values()) {
    done += mark.done;
    total += mark.total;
  }
  return { done, total };
}
