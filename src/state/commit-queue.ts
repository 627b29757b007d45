/**
 * Group commit: while calls are out, the next list fills. On a storage that blocks its caller one call is in flight a
 * partition, else two: the storage works on one while this process makes the other. They may be applied in either
 * order, and that is no loss: a source has one batch on its way at most, so what one writer writes stays in order, and
 * whoever needs another one's write awaits it first.
 *
 * 1. A batch is frozen when it is first sent: until its outcome is known it is sent again as it was. (A retry that
 *    has grown meanwhile is answered `duplicate`, and what it grew by is lost.)
 * 2. Sources that renew a lease go first.
 * 3. A call is bounded in batches and in size, so that no list blocks the server for long.
 */
import { isRecoveryError, RecoveryError } from '../errors.js';
import { log } from '../log.js';
import type { Batch, CommitReply, Outcome } from '../storage/storage.js';
import { withoutCounters } from './batch-source.js';
import type { BatchSource } from './batch-source.js';
import type { Store } from './store.js';

const MAX_BATCHES = 256;
const MAX_CHARACTERS = 1024 * 1024;
/** Up to this many batches go in one call; more are spread over the calls in flight, or these would take turns. */
const SMALL_CALL = 8;
const FIRST_RETRY_MS = 10;
const LONGEST_RETRY_MS = 1_000;

function asError(thrown: unknown): RecoveryError {
  if (isRecoveryError(thrown)) return thrown;
  return new RecoveryError('STORAGE_UNAVAILABLE', 'The storage failed in an unexpected way; see the cause.', {
    cause: thrown,
    details: { outcome: 'unknown' },
  });
}

/** It was sent for as long as somebody waited for it. `why`: what the storage said last. */
function gaveUp(why: RecoveryError | null): RecoveryError {
  if (why === null) return notAnswered();
  const details = { ...why.details, outcome: 'unknown' };
  return new RecoveryError(why.code, why.message, { retryable: true, cause: why, details });
}

function notAnswered(): RecoveryError {
  return new RecoveryError('STORAGE_UNAVAILABLE', 'The storage did not answer in time. Try again later.', {
    retryable: true,
    details: { outcome: 'unknown' },
  });
}

class Lane {
  readonly #store: Store;
  readonly #partition: string;
  readonly #idle: () => void;
  #urgent: BatchSource[] = [];
  #waiting: BatchSource[] = [];
  /** Sent, outcome unknown: they go again before anything else. */
  #unsettled: BatchSource[] = [];
  /** Calls that are out, and the batches in them. */
  #calls = 0;
  #outside = 0;
  readonly #mostCalls: number;
  /** The next call is about to be made. */
  #scheduled = false;
  #closed = false;
  /** Set in the pause after a failed call: nothing is sent then. */
  #cancelRetry: (() => void) | null = null;
  #retryMs = FIRST_RETRY_MS;
  /** Why the last call failed; null once one has not. */
  #failure: RecoveryError | null = null;

  constructor(store: Store, partition: string, idle: () => void) {
    this.#store = store;
    this.#partition = partition;
    this.#idle = idle;
    this.#mostCalls = store.storage.blocking === true ? 1 : 2;
  }

  get empty(): boolean {
    return this.#calls === 0 && this.#inside === 0;
  }

  get #inside(): number {
    return this.#unsettled.length + this.#urgent.length + this.#waiting.length;
  }

  /** Nothing is sent any more; whoever waits is told. */
  close(error: RecoveryError): void {
    this.#closed = true;
    this.#cancelRetry?.();
    for (const list of [this.#unsettled, this.#urgent, this.#waiting]) {
      for (const source of list.splice(0)) source.fail(error);
    }
  }

  push(source: BatchSource): void {
    if (this.#closed) {
      source.fail(notAnswered());
      return;
    }
    (source.urgent ? this.#urgent : this.#waiting).push(source);
    this.#next();
  }

  /** Makes a call in a moment, if there is something to send and a call to spare. */
  #next(): void {
    if (this.#scheduled || this.#cancelRetry !== null || this.#calls >= this.#mostCalls) return;
    if (this.#inside === 0) {
      if (this.#calls === 0) this.#idle();
      return;
    }
    this.#scheduled = true;
    // Whoever was just answered gets the chance to join, or was woken in the same turn of the event loop. A call that is
    // out has to be waited for anyway, and so does a storage that blocks: for the others a turn would be felt.
    if (this.#store.storage.blocking === true || this.#calls > 0) this.#store.clock.defer(this.#sendNow);
    else queueMicrotask(this.#sendNow);
  }

  readonly #sendNow = (): void => {
    this.#scheduled = false;
    if (this.#cancelRetry !== null) return;
    const sources = this.#take();
    if (sources.length > 0) void this.#send(sources);
    this.#next();
  };

  #take(): BatchSource[] {
    const taken: BatchSource[] = [];
    const share = Math.ceil((this.#inside + this.#outside) / this.#mostCalls);
    const most = Math.min(MAX_BATCHES, Math.max(SMALL_CALL, share));
    let characters = 0;
    for (const list of [this.#unsettled, this.#urgent, this.#waiting]) {
      let used = 0;
      for (const source of list) {
        if (taken.length >= most || (characters > 0 && characters + source.size > MAX_CHARACTERS)) break;
        used += 1;
        if (source.abandoned) {
          source.fail(gaveUp(this.#failure));
          continue;
        }
        taken.push(source);
        characters += source.size;
      }
      list.splice(0, used);
    }
    return taken;
  }

  async #send(sources: readonly BatchSource[]): Promise<void> {
    this.#calls += 1;
    this.#outside += sources.length;
    try {
      const batches = sources.map((source) => source.freeze());
      const reply = await this.#store.commit(this.#partition, batches);
      this.#retryMs = FIRST_RETRY_MS;
      this.#failure = null;
      this.#settle(sources, batches, reply);
    } catch (thrown) {
      this.#failed(sources, asError(thrown));
    }
    this.#calls -= 1;
    this.#outside -= sources.length;
    this.#next();
  }

  #settle(sources: readonly BatchSource[], batches: readonly Batch[], reply: CommitReply): void {
    for (const [index, source] of sources.entries()) {
      const outcome = reply.outcomes[index];
      const uncounted = outcome === undefined ? null : withoutCounters(source, batches[index], outcome);
      if (uncounted !== null) this.#unsettled.push(uncounted);
      else if (outcome === undefined) source.fail(asError(new TypeError('The storage left out an outcome.')));
      else source.settle(outcome, reply.nowMs);
    }
  }

  /** Keeps what is of use for another try, after a pause. */
  #failed(sources: readonly BatchSource[], error: RecoveryError): void {
    log.queue('commit of %d batches to %s failed: %s', sources.length, this.#partition, error.code);
    this.#failure = error;
    const again = error.retryable && !this.#closed ? sources.filter((source) => !source.abandoned) : [];
    for (const source of sources) {
      if (!again.includes(source)) source.fail(error);
    }
    if (again.length === 0) return;
    this.#unsettled.push(...again);
    if (this.#cancelRetry !== null) return;
    const retry = (): void => {
      this.#cancelRetry = null;
      this.#next();
    };
    this.#cancelRetry = this.#store.clock.schedule(this.#retryMs, retry, true);
    this.#retryMs = Math.min(LONGEST_RETRY_MS, this.#retryMs * 2);
  }
}

export class CommitQueue {
  readonly #store: Store;
  readonly #lanes = new Map<string, Lane>();
  #waiters: (() => void)[] = [];
  #closed: RecoveryError | null = null;

  constructor(store: Store) {
    this.#store = store;
  }

  push(source: BatchSource): void {
    if (this.#closed !== null) {
      source.fail(this.#closed);
      return;
    }
    let lane = this.#lanes.get(source.partition);
    if (lane === undefined) {
      lane = new Lane(this.#store, source.partition, () => this.#idle());
      this.#lanes.set(source.partition, lane);
    }
    lane.push(source);
  }

  /**
   * Commits one batch that belongs to no writer: a create, a claim, a change of state by somebody else. It is sent
   * again until its `notAfter` has passed; then the outcome stays unknown. `again`: whether it was sent more than once, so
   * that a duplicate may be its own.
   * @throws `STORAGE_UNAVAILABLE` with `details.outcome` 'unknown', and what the storage throws
   */
  commit(
    partition: string,
    batch: Batch,
    size = 500,
  ): Promise<{ outcome: Outcome; nowMs: number; again: boolean }> {
    const { clock } = this.#store;
    const leftMs =
      batch.notAfter === undefined ? Infinity : batch.notAfter - this.#store.estimatedNowMs(partition);
    const giveUpMs = clock.monotonicMs() + leftMs;
    let sent = 0;
    return new Promise((resolve, reject) => {
      this.push({
        partition,
        urgent: false,
        size,
        get abandoned() {
          return clock.monotonicMs() > giveUpMs;
        },
        freeze: () => {
          sent += 1;
          return batch;
        },
        settle: (outcome, nowMs) => resolve({ outcome, nowMs, again: sent > 1 }),
        fail: reject,
      });
    });
  }

  /** Drops what is queued: the end of a shutdown. What is in flight is not sent again. */
  close(error: RecoveryError): void {
    this.#closed = error;
    for (const lane of this.#lanes.values()) lane.close(error);
  }

  /** Resolves once nothing is queued or in flight. */
  drained(): Promise<void> {
    if ([...this.#lanes.values()].every((lane) => lane.empty)) return Promise.resolve();
    return new Promise((resolve) => {
      this.#waiters.push(resolve);
    });
  }

  #idle(): void {
    if (![...this.#lanes.values()].every((lane) => lane.empty)) return;
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const resolve of waiters) resolve();
  }
}
