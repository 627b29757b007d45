/**
 * The storage contract: all that is durable goes through these six methods. Leases, fencing, ordering of
 * recovery and events are written once, above them; an adapter only keeps records, sorted indexes and a log.
 *
 * A namespace is split into partitions, named by opaque texts. Every call addresses one partition; nothing
 * is promised across two. In a partition there are records (maps of text fields; a record without fields
 * does not exist), sorted indexes (id -> score) and one append-only event log. The log is bounded: it keeps at
 * least as many events as the adapter was told to, and not many more.
 *
 * Laws. The conformance suite (`storageSuite` of `rekindle/testing`) has cases under the same numbers.
 *
 * S1 atomic      A batch applies whole or not at all. A refused batch writes nothing and never affects its neighbours.
 * S2 guarded     A batch applies only if the guarded record's token equals `expect`; then the token is `next`.
 * S3 idempotent  If the token already equals `next` (or, for a removal, the record is absent), the answer is
 *                `duplicate` and nothing is applied again. A batch that arrives after its `notAfter` (storage
 *                time) is `expired` and writes nothing; `expect: null` always carries one. The order of the
 *                checks is: content (refused), duplicate, expired, conflict, state (refused).
 * S4 one clock   `fromNow` and the `nowMs` of a reply use the storage's own time, read once a call, after the
 *                write lock is held. Neither the caller's clock nor another partition's has a say.
 * S5 indexes     agree with records at every instant that a reader can see.
 * S6 events      are in commit order and exist if and only if their batch applied. Cursors are opaque. A reader
 *                never misses an event committed after its cursor, and is told `truncated` when the event at its
 *                cursor is no longer kept.
 * S7 exact       Texts come back as they went in, or the batch is refused. User data is never re-encoded.
 * S8 honest      Every call ends by its deadline. A call that cannot say what happened throws
 *                `STORAGE_UNAVAILABLE`; sending the same batch again, with the same token, is then safe.
 */
/** A number that the storage computes when the call runs: its own time in ms, plus `fromNow` ms. */
export interface FromNow {
  readonly fromNow: number;
}

/** A field's value: a text, or storage time plus `fromNow` ms, written as a whole number of ms. */
export type Value = string | FromNow;

/** Fields to write. Names are 1 to 1024 characters; `token` is reserved for the guard. */
export type Fields = Readonly<Record<string, Value>>;

/** A record as it was read; the guard's token stands under {@link TOKEN_FIELD}. */
export type StoredRecord = ReadonlyMap<string, string>;

/** The field in which a guarded record keeps its token. */
export const TOKEN_FIELD = 'token';

/** The compare-and-set that decides whether a batch applies. */
export interface Guard {
  readonly key: string;
  /** The token that the record must have now; `null`: there is no record, or none with a token. */
  readonly expect: string | null;
  /** The token it has afterwards; `null`: the record is removed. A token is never used twice. */
  readonly next: string | null;
}

/** One atomic change. The parts apply in this order: remove, unset, set, increment, index, append. */
export interface Batch {
  readonly guard: Guard;
  /** Storage time in ms after which the batch must not apply any more. Required when `guard.expect` is null. */
  readonly notAfter?: number;
  /** Keys of records to return as they are once the batch has applied. */
  readonly observe?: readonly string[];
  /** Records to remove whole. Not the guard: that is `guard.next: null`. */
  readonly remove?: readonly string[];
  readonly unset?: readonly { readonly key: string; readonly fields: readonly string[] }[];
  /** Fields to write; the record's other fields stay. */
  readonly set?: readonly { readonly key: string; readonly fields: Fields }[];
  /** Adds whole numbers; an absent field counts as 0. The keys stand in no other part of the batch. */
  readonly increment?: readonly { readonly key: string; readonly field: string; readonly by: number }[];
  /** Puts `id` into an index at `score`, or takes it out (`null`). */
  readonly index?: readonly {
    readonly index: string;
    readonly id: string;
    readonly score: number | FromNow | null;
  }[];
  /** Events for the log; each has at least one field. */
  readonly append?: readonly Fields[];
}

/** Why a batch was refused. */
export type RefusalCode =
  'INVALID' | 'NOT_A_NUMBER' | 'NOT_WELL_FORMED' | 'STORAGE_FULL' | 'TOO_LARGE' | 'WRONG_TYPE';

/** What became of one batch. `conflict` tells the token that stands there instead. */
export type Outcome =
  | { readonly status: 'applied'; readonly observed: readonly (StoredRecord | null)[] }
  | { readonly status: 'duplicate'; readonly observed: readonly (StoredRecord | null)[] }
  | { readonly status: 'conflict'; readonly current: string | null }
  | { readonly status: 'expired' }
  | { readonly status: 'refused'; readonly code: RefusalCode; readonly message: string };

/** The answer to one commit call: an outcome a batch, in order, and the storage's time. */
export interface CommitReply {
  readonly nowMs: number;
  readonly outcomes: readonly Outcome[];
}

/** A bound of a range of scores; both ends are included. */
export type Bound = number | FromNow;

/** Which part of an index to read. Ascending by score, ties by the bytes of the id; `reverse` turns both round. */
export interface RangeQuery {
  /** Default: from the lowest. */
  readonly from?: Bound;
  /** Default: to the highest. */
  readonly to?: Bound;
  /** Continue behind this entry; it need not exist any more. */
  readonly after?: { readonly score: number; readonly id: string };
  readonly limit: number;
  readonly reverse?: boolean;
}

/** One entry of an index. */
export interface IndexEntry {
  readonly id: string;
  readonly score: number;
}

/** One event of the log, with the cursor to continue behind it. */
export interface StoredEvent {
  readonly cursor: string;
  readonly fields: StoredRecord;
}

/** A page of the log. */
export interface EventPage {
  readonly events: readonly StoredEvent[];
  /** True when the event at the reader's cursor is no longer kept, so that later ones may be missing too. */
  readonly truncated: boolean;
}

/** What every call accepts. */
export interface CallOptions {
  /** The call ends within this many ms. Default: the adapter's own, 5,000. */
  readonly deadlineMs?: number;
}

/** What an adapter knows about its own settings, for the health check. */
export interface StorageReport {
  /** What an acknowledged write survives, in words. */
  readonly durability: string;
  /** Settings that put acknowledged writes at risk. */
  readonly warnings: readonly string[];
}

/** The contract; see the laws above. Adapters are values from factory functions. */
export interface Storage {
  /** For messages: `memory`, `sqlite`, `redis`. */
  readonly name: string;
  /** Over how many partitions a namespace is spread. Fixed for a namespace once written. */
  readonly partitions: number;
  /** True when a call runs on the caller's thread: writers are then gathered for one turn of the event loop. */
  readonly blocking?: boolean;
  /**
   * Reads records, whole or the given fields only; `null` where there is no (such) field. One instant for all keys.
   * A key that something else has put a value of another type into throws `CORRUPT_RECORD`, for the whole call.
   */
  read(
    partition: string,
    keys: readonly string[],
    fields?: readonly string[],
    options?: CallOptions,
  ): Promise<{ readonly nowMs: number; readonly records: readonly (StoredRecord | null)[] }>;
  /** Applies batches in array order; a later one sees the earlier. Two batches of one call never share a guard. */
  commit(partition: string, batches: readonly Batch[], options?: CallOptions): Promise<CommitReply>;
  /** Reads a page of an index. */
  range(
    partition: string,
    index: string,
    query: RangeQuery,
    options?: CallOptions,
  ): Promise<{ readonly nowMs: number; readonly entries: readonly IndexEntry[] }>;
  /** Counts the entries of an index between two scores. */
  count(
    partition: string,
    index: string,
    bounds?: { readonly from?: Bound; readonly to?: Bound },
    options?: CallOptions,
  ): Promise<number>;
  /** Reads the log behind a cursor; `null`: from the oldest event kept. */
  events(
    partition: string,
    query: { readonly after: string | null; readonly limit: number },
    options?: CallOptions,
  ): Promise<EventPage>;
  /** Settings that matter for durability. */
  inspect?(options?: CallOptions): Promise<StorageReport>;
  /** Ends by its own deadline, also when the server is down. Closes only what the adapter opened itself. */
  close(): Promise<void>;
}

/** A refusal, before anything is written. */
export type Refusal = Extract<Outcome, { status: 'refused' }>;

/** Default deadline of a storage call, in ms. */
export const DEFAULT_CALL_DEADLINE_MS = 5_000;
/** Default bound of a partition's event log. */
export const DEFAULT_MAX_EVENTS = 10_000;
/** Largest value of one field, in bytes of UTF-8: an input of 1 MiB after encryption and base64 fits well. */
export const MAX_VALUE_BYTES: number = 4 * 1024 * 1024;
