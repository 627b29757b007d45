/**
 * The in-memory storage: the reference for the laws, the oracle of the conformance suite, and the storage of
 * tests. It keeps nothing beyond the process.
 */
import { systemClock } from '../clock.js';
import type { Clock } from '../clock.js';
import { checkBatch, checkKnown, incremented } from './check.js';
import { DEFAULT_MAX_EVENTS, TOKEN_FIELD } from './storage.js';
import type {
  Batch,
  Bound,
  CommitReply,
  EventPage,
  Fields,
  IndexEntry,
  Outcome,
  RangeQuery,
  Storage,
  StoredEvent,
  StoredRecord,
  Value,
} from './storage.js';

/** Options of {@link memoryStorage}. */
export interface MemoryStorageOptions {
  /** Where the storage's own time comes from. Default: the machine's. */
  readonly clock?: Pick<Clock, 'wallMs'>;
  /** Over how many partitions a namespace is spread. Default 1. */
  readonly partitions?: number;
  /** How many events a partition keeps. Default 10,000. */
  readonly maxEvents?: number;
}

/** Below surrogates the order of UTF-16, in which texts compare, is that of code points. */
const MAY_DIFFER = /[\ud800-\uffff]/;

/** Order of ids by their UTF-8 bytes, which is the order of their code points. */
function compareIds(a: string, b: string): number {
  if (a === b) return 0;
  if (MAY_DIFFER.test(a) || MAY_DIFFER.test(b)) return Buffer.compare(Buffer.from(a), Buffer.from(b));
  return a < b ? -1 : 1;
}

function compareEntries(a: IndexEntry, b: IndexEntry): number {
  return a.score - b.score || compareIds(a.id, b.id);
}

/** A sorted array with a map beside it: simple, and fast enough for tests. */
class SortedIndex {
  readonly #scores = new Map<string, number>();
  #sorted: IndexEntry[] | null = null;

  put(id: string, score: number | null): void {
    if (score === null ? !this.#scores.delete(id) : this.#scores.get(id) === score) return;
    if (score !== null) this.#scores.set(id, score);
    this.#sorted = null;
  }

  entries(): readonly IndexEntry[] {
    this.#sorted ??= Array.from(this.#scores, ([id, score]) => ({ id, score })).toSorted(compareEntries);
    return this.#sorted;
  }
}

/** One partition. `check` decides about a batch, `write` applies it; both run in one turn, so nothing comes between. */
export class MemoryPartition {
  readonly records: Map<string, Map<string, string>> = new Map();
  readonly indexes: Map<string, SortedIndex> = new Map();
  readonly log: StoredEvent[] = [];
  readonly #maxEvents: number;
  #eventCount = 0;

  constructor(maxEvents: number) {
    this.#maxEvents = maxEvents;
  }

  /** The outcome of a batch that must not be written, or null when it may. */
  check(batch: Batch, nowMs: number): Outcome | null {
    const invalid = checkBatch(batch);
    if (invalid) return invalid;
    const { key, expect, next } = batch.guard;
    const current = this.records.get(key)?.get(TOKEN_FIELD) ?? null;
    if (current === next) return { status: 'duplicate', observed: this.#observe(batch) };
    if (batch.notAfter !== undefined && nowMs > batch.notAfter) return { status: 'expired' };
    if (current !== expect) return { status: 'conflict', current };
    const sums = new Map<string, string>();
    for (const { key: counter, field, by } of batch.increment ?? []) {
      const place = `${counter}\0${field}`;
      const sum = incremented(sums.get(place) ?? this.records.get(counter)?.get(field), by);
      if (sum === null) {
        return {
          status: 'refused',
          code: 'NOT_A_NUMBER',
          message: `"${counter}" field "${field}" is no counter.`,
        };
      }
      sums.set(place, String(sum));
    }
    return null;
  }

  write(batch: Batch, nowMs: number): Outcome {
    for (const key of batch.remove ?? []) this.records.delete(key);
    for (const { key, fields } of batch.unset ?? []) this.#unset(key, fields);
    for (const { key, fields } of batch.set ?? []) this.#set(key, fields, nowMs);
    this.#writeGuard(batch);
    for (const { key, field, by } of batch.increment ?? []) {
      const sum = incremented(this.records.get(key)?.get(field), by) ?? 0;
      this.#set(key, { [field]: String(sum) }, nowMs);
    }
    for (const { index, id, score } of batch.index ?? []) {
      this.index(index).put(id, score === null ? null : resolveScore(score, nowMs));
    }
    for (const fields of batch.append ?? []) this.#append(fields, nowMs);
    return { status: 'applied', observed: this.#observe(batch) };
  }

  index(name: string): SortedIndex {
    let index = this.indexes.get(name);
    if (index === undefined) this.indexes.set(name, (index = new SortedIndex()));
    return index;
  }

  #observe(batch: Batch): (StoredRecord | null)[] {
    return (batch.observe ?? []).map((key) => copy(this.records.get(key)));
  }

  #writeGuard({ guard }: Batch): void {
    if (guard.next === null) this.records.delete(guard.key);
    else this.#record(guard.key).set(TOKEN_FIELD, guard.next);
  }

  #record(key: string): Map<string, string> {
    let record = this.records.get(key);
    if (record === undefined) this.records.set(key, (record = new Map()));
    return record;
  }

  #set(key: string, fields: Fields, nowMs: number): void {
    const record = this.#record(key);
    for (const name of Object.keys(fields)) record.set(name, resolveValue(fields[name] ?? '', nowMs));
  }

  #unset(key: string, fields: readonly string[]): void {
    const record = this.records.get(key);
    if (record === undefined) return;
    for (const name of fields) record.delete(name);
    if (record.size === 0) this.records.delete(key);
  }

  #append(fields: Fields, nowMs: number): void {
    const resolved = new Map(
      Object.keys(fields).map((name) => [name, resolveValue(fields[name] ?? '', nowMs)]),
    );
    this.#eventCount += 1;
    this.log.push({ cursor: String(this.#eventCount), fields: resolved });
    if (this.log.length > this.#maxEvents) this.log.shift();
  }
}

function resolveValue(value: Value, nowMs: number): string {
  return typeof value === 'string' ? value : String(nowMs + value.fromNow);
}

function resolveScore(score: Bound, nowMs: number): number {
  return typeof score === 'number' ? score : nowMs + score.fromNow;
}

function copy(record: StoredRecord | undefined, fields?: readonly string[]): StoredRecord | null {
  if (record === undefined) return null;
  if (fields === undefined) return new Map(record);
  const picked = new Map<string, string>();
  for (const name of fields) {
    const value = record.get(name);
    if (value !== undefined) picked.set(name, value);
  }
  return picked.size === 0 ? null : picked;
}

function page(all: readonly IndexEntry[], query: RangeQuery, nowMs: number): IndexEntry[] {
  const from = resolveScore(query.from ?? -Infinity, nowMs);
  const to = resolveScore(query.to ?? Infinity, nowMs);
  const direction = query.reverse === true ? -1 : 1;
  const { after } = query;
  const inside = all.filter(
    (entry) =>
      entry.score >= from &&
      entry.score <= to &&
      (after === undefined || compareEntries(entry, after) * direction > 0),
  );
  if (direction < 0) inside.reverse();
  return inside.slice(0, query.limit);
}

function eventPage(log: readonly StoredEvent[], after: string | null, limit: number): EventPage {
  if (after === null) return { events: log.slice(0, limit), truncated: false };
  const at = log.findIndex((event) => event.cursor === after);
  return { events: log.slice(at + 1, at + 1 + limit), truncated: at < 0 };
}

/** A storage over given partitions, one made for each new name. Tests put broken partitions in. */
export function storageOver(
  make: (name: string) => MemoryPartition,
  clock: Pick<Clock, 'wallMs'>,
  partitions: number,
): Storage {
  const all = new Map<string, MemoryPartition>();
  const at = (name: string): MemoryPartition => {
    let partition = all.get(name);
    if (partition === undefined) all.set(name, (partition = make(name)));
    return partition;
  };
  const nowMs = (): number => Math.floor(clock.wallMs());
  return {
    name: 'memory',
    partitions,
    async read(name, keys, fields) {
      return { nowMs: nowMs(), records: keys.map((key) => copy(at(name).records.get(key), fields)) };
    },
    async commit(name, batches): Promise<CommitReply> {
      const now = nowMs();
      const partition = at(name);
      return {
        nowMs: now,
        outcomes: batches.map((batch) => partition.check(batch, now) ?? partition.write(batch, now)),
      };
    },
    async range(name, index, query) {
      const now = nowMs();
      return { nowMs: now, entries: page(at(name).index(index).entries(), query, now) };
    },
    async count(name, index, { from, to } = {}) {
      const query = {
        limit: Infinity,
        ...(from === undefined ? {} : { from }),
        ...(to === undefined ? {} : { to }),
      };
      return page(at(name).index(index).entries(), query, nowMs()).length;
    },
    events: async (name, { after, limit }) => eventPage(at(name).log, after, limit),
    inspect: async () => ({ durability: 'nothing: the records live in this process only', warnings: [] }),
    close: async () => {},
  };
}

/**
 * Keeps everything in this process. For tests, and the reference of the storage laws.
 *
 * @example
 * const recovery = createRecovery({ storage: memoryStorage() });
 */
export function memoryStorage(options: MemoryStorageOptions = {}): Storage {
  checkKnown('memoryStorage', options, ['clock', 'partitions', 'maxEvents']);
  const maxEvents = options.maxEvents ?? DEFAULT_MAX_EVENTS;
  return storageOver(
    () => new MemoryPartition(maxEvents),
    options.clock ?? systemClock,
    options.partitions ?? 1,
  );
}
