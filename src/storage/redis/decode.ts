/** Replies of the scripts as the contract's values. */
import { RecoveryError } from '../../errors.js';
import type { Batch, EventPage, IndexEntry, Outcome, StoredEvent, StoredRecord } from '../storage.js';
import { toStorageError } from './errors.js';

/** A reply of another shape: another program answered, or a stand-in for Redis that does less than Redis. */
function unexpected(): RecoveryError {
  return new RecoveryError('STORAGE_UNAVAILABLE', 'Redis gave a reply of an unexpected shape.', {
    details: { outcome: 'unknown' },
  });
}

/** A reply that must be a list. */
export function list(reply: unknown): readonly unknown[] {
  if (!Array.isArray(reply)) throw unexpected();
  return reply as readonly unknown[];
}

/** A reply that must be a whole number. */
export function whole(reply: unknown): number {
  const value = typeof reply === 'number' ? reply : Number(reply);
  if (!Number.isFinite(value)) throw unexpected();
  return value;
}

function text(reply: unknown): string {
  if (typeof reply !== 'string') throw unexpected();
  return reply;
}

function toMap(reply: unknown): StoredRecord {
  const pairs = list(reply);
  const map = new Map<string, string>();
  for (let at = 0; at + 1 < pairs.length; at += 2) map.set(text(pairs[at]), text(pairs[at + 1]));
  return map;
}

/** A flat list of names and values; an empty one is a record that does not exist. */
export function toRecord(reply: unknown): StoredRecord | null {
  return list(reply).length === 0 ? null : toMap(reply);
}

/** Values of the fields that were asked for; null where there is no such field. */
export function toPart(reply: unknown, fields: readonly string[]): StoredRecord | null {
  const map = new Map<string, string>();
  for (const [at, value] of list(reply).entries()) {
    const name = fields[at];
    if (name !== undefined && value !== null) map.set(name, text(value));
  }
  return map.size === 0 ? null : map;
}

/** A flat list of ids and scores. */
export function toEntries(reply: unknown): IndexEntry[] {
  const flat = list(reply);
  const entries: IndexEntry[] = [];
  for (let at = 0; at + 1 < flat.length; at += 2) {
    entries.push({ id: text(flat[at]), score: Number(text(flat[at + 1])) });
  }
  return entries;
}

/** The reply of the events script. */
export function toEventPage(reply: unknown, foreignCursor: boolean): EventPage {
  const [gone, found] = list(reply);
  // XRANGE answers COUNT 0 with null.
  const events = list(found ?? []).map((entry): StoredEvent => {
    const [cursor, fields] = list(entry);
    return { cursor: text(cursor), fields: toMap(fields) };
  });
  return { events, truncated: foreignCursor || gone === 1 };
}

/** A batch that failed before its first write: refused for what it is, or the server takes no writes at all. */
function refusal(error: string, key: string): Outcome {
  if (error.includes('WRONGTYPE')) {
    const message = `The Redis key "${key}" holds another type than rekindle's.`;
    return { status: 'refused', code: 'WRONG_TYPE', message };
  }
  if (error.includes('NOTANUMBER')) {
    const message = `"${key}" holds no counter, or it would reach 10^15.`;
    return { status: 'refused', code: 'NOT_A_NUMBER', message };
  }
  if (/\bOOM\b/.test(error)) return { status: 'refused', code: 'STORAGE_FULL', message: error };
  throw toStorageError('a commit', error);
}

/** Walks through the commit script's flat reply, one outcome a call. */
export class OutcomeReader {
  readonly #reply: readonly unknown[];
  #at = 1;

  constructor(reply: unknown) {
    this.#reply = list(reply);
  }

  get nowMs(): number {
    return whole(this.#reply[0]);
  }

  /** The outcome of the next batch that was sent. */
  next(batch: Batch): Outcome {
    switch (this.#take()) {
      case 1:
        return { status: 'applied', observed: this.#observed(batch) };
      case 2:
        return { status: 'duplicate', observed: this.#observed(batch) };
      case 3: {
        const current = text(this.#take());
        return { status: 'conflict', current: current === '' ? null : current };
      }
      case 4:
        return { status: 'expired' };
      case 5:
        return refusal(text(this.#take()), text(this.#take()));
      case 6: {
        // Only when Redis lets a user write one kind of key and not another, or a script was killed.
        const error = `${text(this.#take())} (key "${text(this.#take())}", in mid batch)`;
        throw toStorageError('a commit', error);
      }
      default:
        throw unexpected();
    }
  }

  #take(): unknown {
    const value = this.#reply[this.#at];
    this.#at += 1;
    return value;
  }

  #observed(batch: Batch): readonly (StoredRecord | null)[] {
    return batch.observe === undefined ? [] : batch.observe.map(() => toRecord(this.#take()));
  }
}
