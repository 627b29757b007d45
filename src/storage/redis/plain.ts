/**
 * The way of most batches that are more than a {@link encodePuts put}: they set fields of the guard and of other
 * records, change indexes and counters, and tell events. What they do to one index or one counter goes into one command
 * for the whole call, and no key is named twice but those of records.
 *
 * ARGV: where the changes begin, how many events are kept (or '' when the call has none), then for each batch
 *   number of ARGV, notAfter or '', expect or '', length of the guard's part, number of events, number of other
 *   records, next, the guard's other fields, the other records and the events, each with its length before it, and the
 *   number of observed records
 * then for each change: ZADD, ZREM or HINCRBY, number of values, number of values an entry, the values, the number of
 *   the batch that each entry is of, from 1, and for HINCRBY the field; in the end the positions of values that are ms
 *   from now, and how many these are.
 * KEYS: for each change the index or the counter's record; for each batch the guard, the other and the observed
 *   records; the event log.
 */
import type { Batch, Fields, Value } from '../storage.js';
import type { EncodedCommit } from './encode.js';
import { eventsKey, indexKey, recordPrefix } from './keys.js';
import { Args } from './pack.js';

/** Lua unpacks fewer than 8,000 values at once. */
const MOST_VALUES = 4_000;
/** More fields of one record than these are for the general script, which splits commands. */
const MOST_FIELDS = 1_000;

/** So many arguments the begin or the end of a task has, with its part of the changes. */
const USUAL_ARGS = 48;

const NONE: readonly never[] = [];

/** Neighbouring changes of one kind to one index, or all that are made to a counter. */
interface Change {
  readonly key: string;
  readonly command: 'HINCRBY' | 'ZADD' | 'ZREM';
  /** The counter's field. */
  readonly field: string | null;
  readonly values: Value[];
  /** The number of the batch, for each entry. */
  readonly owners: number[];
}

function isPlain({ guard, remove, unset }: Batch): boolean {
  return guard.next !== null && (remove ?? unset) === undefined;
}

/**
 * Whether what one batch writes is no other one's business. The script reads all guards before it writes: of two batches
 * under one, the second would be judged by what was. It observes before it writes, and counts before it sets.
 */
function areApart(batches: readonly Batch[]): boolean {
  const written = new Set<string>();
  let looksElsewhere = false;
  for (const { guard, increment, observe } of batches) {
    written.add(guard.key);
    looksElsewhere ||= increment !== undefined || observe !== undefined;
  }
  if (written.size < batches.length) return false;
  if (!looksElsewhere) return true;
  for (const { set = NONE } of batches) for (const { key } of set) written.add(key);
  const counted = new Set<string>();
  for (const { increment = NONE } of batches) for (const { key } of increment) counted.add(key);
  for (const key of counted) if (written.has(key)) return false;
  for (const { observe = NONE } of batches)
    for (const key of observe) if (written.has(key) || counted.has(key)) return false;
  return true;
}

class PlainEncoder {
  readonly keys: string[] = [];
  readonly args: Args;
  /** Positions in `args`, from 1, of values that the script computes. */
  readonly #fromNow: number[] = [];
  readonly #changes: Change[] = [];
  /** The last change of each index, and of each counter. */
  readonly #latest = new Map<string, Change>();
  readonly #partition: string;
  readonly #prefix: string;
  #batches = 0;
  #hasEvents = false;

  constructor(partition: string, batches: number) {
    this.#partition = partition;
    this.#prefix = recordPrefix(partition);
    this.args = new Args(batches * USUAL_ARGS);
    this.args.push(0);
    this.args.push('');
  }

  /** Adds one batch; false when a record has too many fields. */
  add({
    guard,
    notAfter,
    observe = NONE,
    set = NONE,
    increment = NONE,
    index = NONE,
    append = NONE,
  }: Batch): boolean {
    const { args, keys } = this;
    const start = args.length;
    const expect = guard.expect ?? '';
    args.push(0);
    args.push(notAfter === undefined ? '' : String(notAfter));
    args.push(expect);
    args.push(0);
    args.push(append.length);
    args.push(0);
    args.push(guard.next ?? '');
    keys.push(this.#prefix + guard.key);
    let others = 0;
    let fields = 0;
    for (const each of set) {
      if (each.key === guard.key) fields += this.#fields(each.fields);
      else others += 1;
    }
    args.set(start + 3, args.length - start - 6);
    if (fields > MOST_FIELDS) return false;
    for (const each of others === 0 ? [] : set) {
      if (each.key === guard.key) continue;
      keys.push(this.#prefix + each.key);
      if (this.#sized(each.fields) > MOST_FIELDS) return false;
    }
    for (const event of append) this.#sized(event);
    args.set(start + 5, others);
    for (const key of observe) keys.push(this.#prefix + key);
    args.push(observe.length);
    args.set(start, args.length - start);
    this.#batches += 1;
    for (const { index: name, id, score } of index) this.#change(name, id, score);
    for (const { key, field, by } of increment) this.#count(key, field, by);
    this.#hasEvents ||= append.length > 0;
    return true;
  }

  finish(maxEvents: number): EncodedCommit {
    const { args } = this;
    const keys: string[] = [];
    args.set(0, args.length + 1);
    for (const { key, command, field, values, owners } of this.#changes) {
      keys.push(key);
      args.push(command);
      args.push(values.length);
      args.push(command === 'ZADD' ? 2 : 1);
      for (const value of values) this.#value(value);
      for (const owner of owners) args.push(owner);
      if (field !== null) args.push(field);
    }
    for (const key of this.keys) keys.push(key);
    if (this.#hasEvents) {
      args.set(1, String(maxEvents));
      keys.push(eventsKey(this.#partition));
    }
    for (const at of this.#fromNow) args.push(at);
    args.push(this.#fromNow.length);
    return { keys, args: args.all() };
  }

  #value(value: Value): void {
    if (typeof value === 'string') {
      this.args.push(value);
    } else {
      this.#fromNow.push(this.args.push(String(value.fromNow)) + 1);
    }
  }

  #fields(fields: Fields): number {
    let count = 0;
    for (const name in fields) {
      count += 1;
      this.args.push(name);
      this.#value(fields[name] ?? '');
    }
    return count;
  }

  #sized(fields: Fields): number {
    const at = this.args.push(0);
    const count = this.#fields(fields);
    this.args.set(at, count * 2);
    return count;
  }

  /** An index is changed in the order of the batches: an entry joins the last change or begins another one. */
  #change(index: string, id: string, score: Value | number | null): void {
    const command = score === null ? 'ZREM' : 'ZADD';
    let change = this.#latest.get(index);
    if (change?.command !== command || change.values.length >= MOST_VALUES) {
      change = this.#begun(index, { key: indexKey(this.#partition, index), command, field: null });
    }
    if (score !== null) change.values.push(typeof score === 'number' ? String(score) : score);
    change.values.push(id);
    change.owners.push(this.#batches);
  }

  #count(key: string, field: string, by: number): void {
    // No index has such a name.
    const place = `\0${key}\0${field}`;
    const change =
      this.#latest.get(place) ?? this.#begun(place, { key: this.#prefix + key, command: 'HINCRBY', field });
    change.values.push(String(by));
    change.owners.push(this.#batches);
  }

  #begun(place: string, about: Pick<Change, 'key' | 'command' | 'field'>): Change {
    const change: Change = { ...about, values: [], owners: [] };
    this.#latest.set(place, change);
    this.#changes.push(change);
    return change;
  }
}

/** Encodes batches, or returns null when one of them is of another kind. */
export function encodePlain(
  partition: string,
  batches: readonly Batch[],
  maxEvents: number,
): EncodedCommit | null {
  if (!batches.every(isPlain) || !areApart(batches)) return null;
  const encoder = new PlainEncoder(partition, batches.length);
  for (const batch of batches) {
    if (!encoder.add(batch)) return null;
  }
  return encoder.finish(maxEvents);
}
