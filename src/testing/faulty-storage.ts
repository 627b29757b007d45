/** A storage in memory that fails as it is told: what a network, a server and a restore from a backup can do to a task. */
import { systemClock } from '../clock.js';
import type { Clock } from '../clock.js';
import { RecoveryError } from '../errors.js';
import { checkOptions, hasMethods, isFunction, isObject, number } from '../domain/check-options.js';
import { keys } from '../state/keys.js';
import { storageOver } from '../storage/memory.js';
import type { MemoryStorageOptions } from '../storage/memory.js';
import { DEFAULT_CALL_DEADLINE_MS, DEFAULT_MAX_EVENTS } from '../storage/storage.js';
import type {
  Batch,
  Bound,
  CallOptions,
  CommitReply,
  EventPage,
  IndexEntry,
  RangeQuery,
  Storage,
  StorageReport,
  StoredRecord,
} from '../storage/storage.js';
import { EMPTY, FaultyPartition } from './faulty-partition.js';
import type { Contents } from './faulty-partition.js';

/** A call on the storage; `number` counts those of all kinds, from 1. */
export type StorageCall = { readonly number: number; readonly partition: string } & (
  | { readonly kind: 'read'; readonly keys: readonly string[] }
  | { readonly kind: 'commit'; readonly batches: readonly Batch[] }
  | { readonly kind: 'range' | 'count'; readonly index: string }
  | { readonly kind: 'events'; readonly after: string | null }
);

/** The method that is called. */
export type StorageCallKind = StorageCall['kind'];

/**
 * What goes wrong with a call.
 * - `lose-request`: it never arrives. Ends at its deadline with `STORAGE_UNAVAILABLE`, `details.outcome` 'unknown'.
 * - `lose-reply`: it is carried out, and ends in the same way.
 * - `error`: the connection is refused at once: `STORAGE_UNAVAILABLE`, `details.outcome` 'not_applied'.
 * - `delay`: it arrives `ms` later; if that is past its deadline, nobody hears the answer any more.
 * - `late-duplicate`: it is carried out and answered, and a copy of it arrives `ms` later.
 */
export type StorageFault =
  | 'lose-request'
  | 'lose-reply'
  | 'error'
  | { readonly kind: 'delay' | 'late-duplicate'; readonly ms: number };

/** Options of {@link FaultyStorage}. */
export interface FaultyStorageOptions extends Omit<MemoryStorageOptions, 'clock'> {
  /** The storage's own time, and that of its deadlines and delays. Default: the machine's. */
  readonly clock?: Clock;
  /** Says of each call what goes wrong with it; `null`: nothing. Default: nothing ever. */
  readonly fault?: (call: StorageCall) => StorageFault | null;
}

/** A state of a {@link FaultyStorage}, for `rollback`. */
export interface StorageSnapshot {
  /** When it was taken, in ms since 1970, by the storage's clock. */
  readonly takenAtMs: number;
}

const KINDS: readonly StorageCallKind[] = ['read', 'commit', 'range', 'count', 'events'];
const CHECKS = {
  clock: hasMethods('wallMs', 'monotonicMs', 'schedule', 'defer'),
  partitions: number(1, 1_024),
  maxEvents: number(0, 1_000_000_000),
  fault: isFunction,
};
const MOST_MS = 2_147_483_647;

function away(what: string, outcome: 'not_applied' | 'unknown'): RecoveryError {
  const message = `FaultyStorage: ${what}.`;
  return new RecoveryError('STORAGE_UNAVAILABLE', message, { retryable: true, details: { outcome } });
}

/** @throws `INVALID_OPTION` */
function assertFault(fault: StorageFault): void {
  const known = typeof fault === 'string' && ['lose-request', 'lose-reply', 'error'].includes(fault);
  const timed =
    isObject(fault) &&
    (fault['kind'] === 'delay' || fault['kind'] === 'late-duplicate') &&
    number(0, MOST_MS, false)(fault['ms']) === null;
  if (known || timed) return;
  throw new RecoveryError(
    'INVALID_OPTION',
    "FaultyStorage: a fault is 'lose-request', 'lose-reply', 'error', { kind: 'delay', ms } or { kind: 'late-duplicate', ms }.",
  );
}

/**
 * A memory storage with faults. Without any it keeps all laws of the contract; with any, each call still ends by its
 * deadline. Recoveries of one test share it, as processes share a server, so `close` does nothing.
 *
 * @example
 * const clock = new ManualClock();
 * const storage = new FaultyStorage({ clock });
 * const recovery = createRecovery({ storage, clock });
 * storage.failNext('lose-reply', 'commit');
 * const paid = pay(order); // the task is made all the same, once
 * await clock.advance(30_000);
 * await paid;
 */
export class FaultyStorage implements Storage {
  readonly name: string = 'faulty';
  readonly partitions: number;
  /** While true, calls are refused at once, and answers on their way get lost. */
  offline: boolean = false;
  readonly #inner: Storage;
  readonly #clock: Clock;
  readonly #fault: (call: StorageCall) => StorageFault | null;
  readonly #maxEvents: number;
  readonly #parts = new Map<string, FaultyPartition>();
  readonly #saved = new WeakMap<StorageSnapshot, ReadonlyMap<string, Contents>>();
  readonly #next: { readonly fault: StorageFault; readonly kind: StorageCallKind | null }[] = [];
  readonly #calls = { read: 0, commit: 0, range: 0, count: 0, events: 0 };
  #number = 0;

  /** @throws `INVALID_OPTION` */
  constructor(options: FaultyStorageOptions = {}) {
    checkOptions('FaultyStorage', options, CHECKS, []);
    const { clock = systemClock, partitions = 1, maxEvents = DEFAULT_MAX_EVENTS } = options;
    this.partitions = partitions;
    this.#clock = clock;
    this.#fault = options.fault ?? (() => null);
    this.#maxEvents = maxEvents;
    this.#inner = storageOver((name) => this.#partition(name), clock, partitions);
  }

  /** How many calls of each kind there were so far, the failed ones included. */
  get calls(): Readonly<Record<StorageCallKind, number>> {
    return { ...this.#calls };
  }

  /**
   * The next call, or the next one of a kind, fails in this way. Several wait for a call each, in the order in which
   * they were given, and go before the option `fault`. @throws `INVALID_OPTION`
   */
  failNext(fault: StorageFault, kind?: StorageCallKind): void {
    assertFault(fault);
    if (kind !== undefined && !KINDS.includes(kind))
      throw new RecoveryError('INVALID_OPTION', `FaultyStorage: there are no calls of kind "${kind}".`);
    this.#next.push({ fault, kind: kind ?? null });
  }

  /**
   * Puts something that is no record in the place of a task's head, or of the record with a key: to read it is
   * `CORRUPT_RECORD` from then on, until it is removed or an older state is put back. With a `partition` the key need
   * not be in use. @throws `TASK_NOT_FOUND`
   */
  corrupt(taskIdOrKey: string, partition?: string): void {
    const wanted = [taskIdOrKey, keys.head(taskIdOrKey)];
    for (const [name, part] of this.#parts) {
      if (partition !== undefined && name !== partition) continue;
      const key = wanted.find((each) => part.records.has(each));
      if (key !== undefined) return part.corrupt(key);
    }
    if (partition === undefined)
      throw new RecoveryError(
        'TASK_NOT_FOUND',
        `FaultyStorage: there is no task or record "${taskIdOrKey}".`,
      );
    this.#partition(partition).corrupt(taskIdOrKey);
  }

  /** Keeps all as it is now. */
  snapshot(): StorageSnapshot {
    const snapshot = { takenAtMs: Math.floor(this.#clock.wallMs()) };
    this.#saved.set(snapshot, new Map([...this.#parts].map(([name, part]) => [name, part.contents()])));
    return snapshot;
  }

  /**
   * Puts an older state back, as a restore from a backup does: what was written since is gone, and fences are issued a
   * second time. May be called again with the same one. @throws `INVALID_VALUE` for one of another storage
   */
  rollback(snapshot: StorageSnapshot): void {
    const saved = this.#saved.get(snapshot);
    if (saved === undefined)
      throw new RecoveryError('INVALID_VALUE', 'FaultyStorage: this is no snapshot of this storage.');
    for (const [name, part] of this.#parts) part.restore(saved.get(name) ?? EMPTY);
  }

  read(
    partition: string,
    wanted: readonly string[],
    fields?: readonly string[],
    options?: CallOptions,
  ): Promise<{ readonly nowMs: number; readonly records: readonly (StoredRecord | null)[] }> {
    const run = async (): ReturnType<Storage['read']> => {
      const broken = wanted.find((key) => this.#partition(partition).isCorrupt(key));
      if (broken === undefined) return this.#inner.read(partition, wanted, fields);
      const text = `FaultyStorage: under "${broken}" there is something else than a record.`;
      throw new RecoveryError('CORRUPT_RECORD', text, { details: { key: broken } });
    };
    return this.#call({ kind: 'read', number: this.#count('read'), partition, keys: wanted }, options, run);
  }

  commit(partition: string, batches: readonly Batch[], options?: CallOptions): Promise<CommitReply> {
    const run = (): Promise<CommitReply> => this.#inner.commit(partition, batches);
    return this.#call({ kind: 'commit', number: this.#count('commit'), partition, batches }, options, run);
  }

  range(
    partition: string,
    index: string,
    query: RangeQuery,
    options?: CallOptions,
  ): Promise<{ readonly nowMs: number; readonly entries: readonly IndexEntry[] }> {
    const run = (): ReturnType<Storage['range']> => this.#inner.range(partition, index, query);
    return this.#call({ kind: 'range', number: this.#count('range'), partition, index }, options, run);
  }

  count(
    partition: string,
    index: string,
    bounds?: { readonly from?: Bound; readonly to?: Bound },
    options?: CallOptions,
  ): Promise<number> {
    const run = (): Promise<number> => this.#inner.count(partition, index, bounds);
    return this.#call({ kind: 'count', number: this.#count('count'), partition, index }, options, run);
  }

  events(
    partition: string,
    query: { readonly after: string | null; readonly limit: number },
    options?: CallOptions,
  ): Promise<EventPage> {
    const run = (): Promise<EventPage> => this.#inner.events(partition, query);
    return this.#call(
      { kind: 'events', number: this.#count('events'), partition, after: query.after },
      options,
      run,
    );
  }

  async inspect(): Promise<StorageReport> {
    return { durability: 'nothing: the records live in this process only', warnings: [] };
  }

  async close(): Promise<void> {}

  #partition(name: string): FaultyPartition {
    let part = this.#parts.get(name);
    if (part === undefined) this.#parts.set(name, (part = new FaultyPartition(this.#maxEvents)));
    return part;
  }

  #count(kind: StorageCallKind): number {
    this.#calls[kind] += 1;
    this.#number += 1;
    return this.#number;
  }

  #faultOf(call: StorageCall): StorageFault | null {
    if (this.offline) return 'error';
    const at = this.#next.findIndex(({ kind }) => kind === null || kind === call.kind);
    const [planned] = at < 0 ? [] : this.#next.splice(at, 1);
    if (planned !== undefined) return planned.fault;
    const fault = this.#fault(call);
    if (fault !== null) assertFault(fault);
    return fault;
  }

  async #call<T>(call: StorageCall, options: CallOptions | undefined, run: () => Promise<T>): Promise<T> {
    const fault = this.#faultOf(call);
    if (fault === 'error') throw away('the connection was refused', 'not_applied');
    if (fault === null) return run();
    if (typeof fault === 'object' && fault.kind === 'late-duplicate') {
      this.#clock.schedule(fault.ms, () => ignored(run()));
      return run();
    }
    return new Promise((resolve, reject) => {
      const deadlineMs = options?.deadlineMs ?? DEFAULT_CALL_DEADLINE_MS;
      const cancel = this.#clock.schedule(
        deadlineMs,
        () => reject(away('no answer in time', 'unknown')),
        true,
      );
      if (fault === 'lose-request') return;
      if (fault === 'lose-reply') return ignored(run());
      // A late request arrives, whether somebody still waits for its answer or not.
      this.#clock.schedule(fault.ms, () => {
        if (this.offline) return;
        cancel();
        run().then(resolve, reject);
      });
    });
  }
}

/** Nobody hears what it comes to. */
function ignored(call: Promise<unknown>): void {
  call.catch(() => {});
}
