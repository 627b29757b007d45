/** A storage bound to one namespace: partitions by id, deadlines, and an estimate of each partition's clock. */
import type { Clock } from '../clock.js';
import { isRecoveryError } from '../errors.js';
import type { RecoveryError } from '../errors.js';
import type { PayloadCodec } from '../domain/codec.js';
import type {
  Batch,
  Bound,
  CallOptions,
  CommitReply,
  EventPage,
  IndexEntry,
  RangeQuery,
  Storage,
  StoredRecord,
} from '../storage/storage.js';
import { hashOf } from './keys.js';
import { Payloads } from './payloads.js';

interface TimeMark {
  readonly storageMs: number;
  readonly monotonicMs: number;
}

export class Store {
  readonly storage: Storage;
  readonly clock: Clock;
  /** How long a storage call may take, in ms. */
  readonly callDeadlineMs: number;
  readonly payloads: Payloads;
  readonly partitions: readonly string[];
  readonly home: string;
  /** Checks that the namespace is laid out as this client believes; null once that is known. */
  firstLook: (() => Promise<unknown>) | null = null;
  /** Whether the namespace was there at any time. */
  known = false;
  readonly #options: CallOptions;
  readonly #times = new Map<string, TimeMark>();
  #failedMs: number | null = null;

  constructor(
    storage: Storage,
    namespace: string,
    clock: Clock,
    callDeadlineMs: number,
    codec: PayloadCodec | null = null,
  ) {
    this.storage = storage;
    this.clock = clock;
    this.callDeadlineMs = callDeadlineMs;
    this.partitions = Array.from({ length: storage.partitions }, (_, index) => `${namespace}:${index}`);
    this.home = `${namespace}:0`;
    this.payloads = new Payloads(codec, namespace);
    this.#options = { deadlineMs: callDeadlineMs };
  }

  /** To be awaited before something is looked up for a user. @throws `LAYOUT_MISMATCH` */
  async look(): Promise<void> {
    if (this.firstLook === null) return;
    await this.firstLook();
    this.firstLook = null;
  }

  /** The partition that holds everything about an id. */
  partitionOf(id: string): string {
    const count = this.partitions.length;
    return count === 1 ? this.home : (this.partitions[hashOf(id) % count] ?? this.home);
  }

  /** The monotonic time at which the storage was out of reach last, in ms; null when it never was. */
  get failedMs(): number | null {
    return this.#failedMs;
  }

  /** The storage's time as far as this process knows it: never ahead of it by more than clock drift. */
  estimatedNowMs(partition: string, monotonicMs: number = this.clock.monotonicMs()): number {
    const mark = this.#times.get(partition) ?? this.#times.get(this.home);
    if (mark === undefined) return Math.floor(this.clock.wallMs());
    return Math.floor(mark.storageMs + monotonicMs - mark.monotonicMs);
  }

  read(
    partition: string,
    wanted: readonly string[],
    fields?: readonly string[],
  ): Promise<{ nowMs: number; records: readonly (StoredRecord | null)[] }> {
    return this.#noted(partition, () => this.storage.read(partition, wanted, fields, this.#options));
  }

  /** As `read`; a key of another type, which fails a whole call, is an error in its own place instead. */
  async readEach(
    partition: string,
    wanted: readonly string[],
  ): Promise<{ nowMs: number; records: readonly (StoredRecord | RecoveryError | null)[] }> {
    if (wanted.length === 0) return { nowMs: this.estimatedNowMs(partition), records: [] };
    try {
      return await this.read(partition, wanted);
    } catch (error) {
      if (!isCorruption(error)) throw error;
      if (wanted.length === 1) return { nowMs: this.estimatedNowMs(partition), records: [error] };
      const each = await Promise.all(wanted.map((key) => this.readEach(partition, [key])));
      return {
        nowMs: Math.max(...each.map(({ nowMs }) => nowMs)),
        records: each.flatMap(({ records }) => records),
      };
    }
  }

  commit(partition: string, batches: readonly Batch[]): Promise<CommitReply> {
    return this.#noted(partition, () => this.storage.commit(partition, batches, this.#options));
  }

  range(
    partition: string,
    index: string,
    query: RangeQuery,
  ): Promise<{ nowMs: number; entries: readonly IndexEntry[] }> {
    return this.#noted(partition, () => this.storage.range(partition, index, query, this.#options));
  }

  /** The entries of an index between two scores, over all partitions. */
  async count(index: string, bounds: { from?: Bound; to?: Bound } = {}): Promise<number> {
    const counts = await Promise.all(
      this.partitions.map((partition) => this.storage.count(partition, index, bounds, this.#options)),
    );
    return counts.reduce((sum, count) => sum + count, 0);
  }

  /** The entries of one partition's index between two scores. */
  countIn(partition: string, index: string, bounds: { from?: Bound; to?: Bound }): Promise<number> {
    return this.storage.count(partition, index, bounds, this.#options);
  }

  events(partition: string, after: string | null, limit: number): Promise<EventPage> {
    return this.storage.events(partition, { after, limit }, this.#options);
  }

  /** All entries of an index, a bounded page at a time. */
  async *pages(
    partition: string,
    index: string,
    query: Omit<RangeQuery, 'limit'> = {},
    size: number = PAGE,
  ): AsyncGenerator<IndexPage> {
    let after = query.after;
    for (;;) {
      const reply = await this.range(partition, index, {
        ...query,
        ...(after === undefined ? {} : { after }),
        limit: size,
      });
      if (reply.entries.length > 0) yield reply;
      if (reply.entries.length < size) return;
      after = reply.entries.at(-1);
    }
  }

  async #noted<T extends { readonly nowMs: number }>(partition: string, call: () => Promise<T>): Promise<T> {
    try {
      const reply = await call();
      this.#times.set(partition, { storageMs: reply.nowMs, monotonicMs: this.clock.monotonicMs() });
      return reply;
    } catch (error) {
      // A refused call has reached the storage.
      if (isRecoveryError(error, 'STORAGE_UNAVAILABLE')) this.#failedMs = this.clock.monotonicMs();
      throw error;
    }
  }
}

/** Whether an error says that records are not what they should be, rather than that the storage is away. */
export function isCorruption(error: unknown): error is RecoveryError {
  return isRecoveryError(error, 'CORRUPT_RECORD') || isRecoveryError(error, 'STORAGE_REFUSED');
}

/** Entries read at a time where all of an index is wanted. A page of fewer is the last one. */
export const PAGE = 256;

/** A page of an index. */
export interface IndexPage {
  readonly nowMs: number;
  readonly entries: readonly IndexEntry[];
}
