/**
 * Batches as the arguments of the commit script. Everything is planned here, so that the script only walks:
 *
 * ARGV: m, m positions of values that are ms from now, then for each batch
 *   notAfter or '', expect or '', number of KEYS, number of ARGV, '1' for "more follows",
 *   length of the guard's part, 'token', next or '', the guard's other fields,
 *   if more: number of observed records, '1' to read them after the writes, number of checks, number of
 *            increments, the checks' commands, the increments' fields and summands,
 *   the writes: command, number of arguments, arguments.
 * KEYS: for each batch the guard, then one each for observed, checks, increments and writes, in that order.
 *
 * Tokens are never empty, so '' stands for null. The first write needs no check of its key's type: when it
 * fails, nothing has been written yet. Positions and counts are numbers, and everything else is a text.
 */
import { TOKEN_FIELD } from '../storage.js';
import type { Batch, Fields, Value } from '../storage.js';
import { eventsKey, indexKey, recordKey } from './keys.js';
import type { Packable } from './pack.js';

/** Lua 5.1 unpacks fewer than 8,000 values. */
const LONGEST_COMMAND = 4_000;
/** An event goes into one XADD; four arguments are not its own. */
const MOST_EVENT_FIELDS: number = LONGEST_COMMAND / 2 - 2;

interface Write {
  readonly command: 'HDEL' | 'HINCRBY' | 'HSET' | 'UNLINK' | 'XADD' | 'ZADD' | 'ZREM';
  readonly key: string;
  readonly args: Value[];
}

/** The keys and the arguments of one commit call. */
export interface EncodedCommit {
  readonly keys: readonly string[];
  readonly args: readonly Packable[];
}

/** Whether an event of the batch has more fields than one XADD can take. */
export function hasTooLargeEvent(batch: Batch): boolean {
  return batch.append?.some((fields) => Object.keys(fields).length > MOST_EVENT_FIELDS) ?? false;
}

function pushFields(args: Value[], fields: Fields): void {
  for (const name in fields) args.push(name, fields[name] ?? '');
}

/** Splits what one command could not take; HSET, HDEL, ZADD and ZREM mean the same in pieces of even length. */
function pushWrite(writes: Write[], command: Write['command'], key: string, args: Value[]): void {
  for (let at = 0; at < args.length; at += LONGEST_COMMAND) {
    const piece = args.length > LONGEST_COMMAND ? args.slice(at, at + LONGEST_COMMAND) : args;
    writes.push({ command, key, args: piece });
  }
}

/** Index entries in the given order; neighbours of one index and kind become one command. */
function pushIndexes(writes: Write[], partition: string, batch: Batch): void {
  for (const { index, id, score } of batch.index ?? []) {
    const key = indexKey(partition, index);
    const command = score === null ? 'ZREM' : 'ZADD';
    const last = writes.at(-1);
    const args: Value[] = score === null ? [id] : [typeof score === 'number' ? String(score) : score, id];
    if (last?.command === command && last.key === key && last.args.length < LONGEST_COMMAND) {
      last.args.push(...args);
    } else {
      writes.push({ command, key, args });
    }
  }
}

/** The batch's writes in the contract's order, but for the guard's own fields, which come last, with its token. */
function planWrites(partition: string, batch: Batch, maxEvents: string): { writes: Write[]; guard: Value[] } {
  const writes: Write[] = [];
  let guard: Value[] = [TOKEN_FIELD, batch.guard.next ?? ''];
  for (const key of batch.remove ?? []) {
    writes.push({ command: 'UNLINK', key: recordKey(partition, key), args: [] });
  }
  for (const { key, fields } of batch.unset ?? []) {
    pushWrite(writes, 'HDEL', recordKey(partition, key), [...fields]);
  }
  for (const { key, fields } of batch.set ?? []) {
    if (key === batch.guard.key) {
      pushFields(guard, fields);
      continue;
    }
    const args: Value[] = [];
    pushFields(args, fields);
    pushWrite(writes, 'HSET', recordKey(partition, key), args);
  }
  if (guard.length > LONGEST_COMMAND) {
    pushWrite(writes, 'HSET', recordKey(partition, batch.guard.key), guard.slice(2));
    guard = guard.slice(0, 2);
  }
  for (const { key, field, by } of batch.increment ?? []) {
    writes.push({ command: 'HINCRBY', key: recordKey(partition, key), args: [field, String(by)] });
  }
  pushIndexes(writes, partition, batch);
  for (const fields of batch.append ?? []) {
    // "~" drops whole nodes of the stream: a few events more are kept, and trimming costs next to nothing.
    const args: Value[] = ['MAXLEN', '~', maxEvents, '*'];
    pushFields(args, fields);
    writes.push({ command: 'XADD', key: eventsKey(partition), args });
  }
  return { writes, guard };
}

const SIZE_OF: Readonly<Record<Write['command'], string>> = {
  HDEL: 'HLEN',
  HINCRBY: '',
  HSET: 'HLEN',
  UNLINK: '',
  XADD: 'XLEN',
  ZADD: 'ZCARD',
  ZREM: 'ZCARD',
};

/**
 * The keys whose type is to be checked, with a command that fails on another type. Not among them: the guard
 * (HGET tells), counters (read anyway), removed keys (UNLINK takes any type) and the first write's key.
 */
function planChecks(
  guardKey: string,
  writes: readonly Write[],
  lateKeys: readonly string[],
): Map<string, string> {
  const checks = new Map<string, string>();
  if (writes.length <= 1 && lateKeys.length === 0) return checks;
  for (const key of lateKeys) checks.set(key, 'HLEN');
  for (const { command, key } of writes) {
    const size = SIZE_OF[command];
    if (size !== '') checks.set(key, size);
  }
  const first = writes[0];
  if (first !== undefined && first.command !== 'UNLINK') checks.delete(first.key);
  checks.delete(guardKey);
  return checks;
}

class Encoder {
  readonly keys: string[] = [];
  readonly args: Packable[] = [];
  /** Positions in `args`, from 0, of values that the script computes. */
  readonly fromNow: number[] = [];
  readonly #partition: string;
  readonly #maxEvents: string;

  constructor(partition: string, maxEvents: number) {
    this.#partition = partition;
    this.#maxEvents = String(maxEvents);
  }

  add(batch: Batch): void {
    const { keys, args } = this;
    const { guard, notAfter } = batch;
    const firstKey = keys.length;
    const start = args.length;
    const plan = planWrites(this.#partition, batch, this.#maxEvents);
    const guardKey = recordKey(this.#partition, guard.key);
    args.push(notAfter === undefined ? '' : String(notAfter), guard.expect ?? '', 0, 0, '0');
    args.push(plan.guard.length + 5);
    keys.push(guardKey);
    this.#values(plan.guard);
    if (this.#more(batch, guardKey, plan.writes)) args[start + 4] = '1';
    for (const { command, key, args: values } of plan.writes) {
      keys.push(key);
      args.push(command, values.length);
      this.#values(values);
    }
    args[start + 2] = keys.length - firstKey;
    args[start + 3] = args.length - start;
  }

  #values(values: readonly Value[]): void {
    for (let i = 0; i < values.length; i += 1) {
      const value = values[i] ?? '';
      if (typeof value === 'string') {
        this.args.push(value);
      } else {
        this.fromNow.push(this.args.length);
        this.args.push(String(value.fromNow));
      }
    }
  }

  /** Observed records, checks and increments; false when there is none, and nothing was added. */
  #more(batch: Batch, guardKey: string, writes: readonly Write[]): boolean {
    const observed = (batch.observe ?? []).map((key) => recordKey(this.#partition, key));
    const increments = batch.increment ?? [];
    // A record that the batch does not touch reads the same before the writes, and the read checks its type.
    const late = observed.some((key) => key === guardKey || writes.some((write) => write.key === key));
    const checks = planChecks(guardKey, writes, late ? observed : []);
    // Counters: their own check tells the type, too.
    for (const { key } of increments) checks.delete(recordKey(this.#partition, key));
    if (observed.length === 0 && increments.length === 0 && checks.size === 0) return false;
    this.keys.push(...observed, ...checks.keys());
    this.args.push(observed.length, late ? '1' : '0', checks.size, increments.length);
    this.args.push(...checks.values());
    for (const { key, field, by } of increments) {
      this.keys.push(recordKey(this.#partition, key));
      this.args.push(field, String(by));
    }
    return true;
  }
}

/** Encodes batches that passed `checkBatch` and {@link hasTooLargeEvent}. */
export function encodeCommit(partition: string, batches: readonly Batch[], maxEvents: number): EncodedCommit {
  const encoder = new Encoder(partition, maxEvents);
  for (const batch of batches) encoder.add(batch);
  const { keys, args, fromNow } = encoder;
  const head: Packable[] = [fromNow.length];
  // Lua counts from 1, and the list of positions stands before the batches.
  for (const at of fromNow) head.push(at + fromNow.length + 2);
  return { keys, args: head.concat(args) };
}
