/**
 * Group commit. One call is in flight a partition; while it is out the next list fills.
 *
 * 1. A batch is frozen when it is first sent: until its outcome is known it is sent again as it was. (A retry that
 *    has grown meanwhile is answered `duplicate`, and what it grew by is lost.)
 * 2. Sources that renew a lease go first.
 * 3. A call is bounded in batches and in size, so that no list blocks the server for long.
 */
import { isRecoveryError, RecoveryError } from '../errors.js';
import { log } from '../log.js';
import type { Batch, CommitReply, Outcome } from '../storage/storage.js';
import type { Store } from './store.js';

/** Something that has a batch to commit. At most one batch a source is on its way. */
export interface BatchSource {
  readonly partition: string;
  /** True when the batch renews a lease. */
  readonly urgent: boolean;
  /** True when nobody waits for the batch any more: it is not sent again. */
  readonly abandoned: boolean;
  /** Roughly how many characters the batch holds. */
  readonly size: number;
  /** The batch; the very same one until it is settled. */
  freeze(): Batch;
  settle(outcome: Outcome, nowMs: number): void;
  fail(error: RecoveryError): void;
}

const MAX_BATCHES = 256;
const MAX_CHARACTERS = 1024 * 1024;
const FIRST_RETRY_MS = 10;
const LONGEST_RETRY_MS = 1_000;

function asError(thrown: unknown): RecoveryError {
  if (isRecoveryError(thrown)) return thrown;
  return new RecoveryError('STORAGE_UNAVAILABLE', 'The storage failed in an unexpected way; see the cause.', {
    cause: thrown,
    details: { outcome: 'unknown' },
  });
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
  #busy = false;
  #closed = false;
  #cancelRetry: (() => void) | null = null;
  #retryMs = FIRST_RETRY_MS;

  constructor(store: Store, partition: string, idle: () => void) {
    this.#store = store;
    this.#partition = partition;
    this.#idle = idle;
  }

  get empty(): boolean {
    return !this.#busy;
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
    if (this.#busy) return;
    this.#busy = true;
    this.#soon();
  }

  #soon(): void {
    // Whoever was just answered gets the chance to join; on a blocking storage that takes a turn of the event loop.
    if (this.#store.storage.blocking === true) this.#store.clock.defer(() => void this.#send());
    else queueMicrotask(() => void this.#send());
  }

  #take(): BatchSource[] {
    const taken: BatchSource[] = [];
    let characters = 0;
    for (const list of [this.#unsettled, this.#urgent, this.#waiting]) {
      let used = 0;
      for (const source of list) {
        if (taken.length >= MAX_BATCHES || (characters > 0 && characters + source.size > MAX_CHARACTERS))
          break;
        used += 1;
        if (source.abandoned) {
          source.fail(notAnswered());
          continue;
        }
        taken.push(source);
        characters += source.size;
      }
      list.splice(0, used);
    }
    return taken;
  }

  async #send(): Promise<void> {
    const sources = this.#take();
    if (sources.length > 0) {
      const batches = sources.map((source) => source.freeze());
      try {
        this.#settle(sources, await this.#store.commit(this.#partition, batches));
        this.#retryMs = FIRST_RETRY_MS;
      } catch (thrown) {
        if (this.#failed(sources, asError(thrown))) return;
      }
    }
    if (this.#urgent.length + this.#waiting.length + this.#unsettled.length > 0) return this.#soon();
    this.#busy = false;
    this.#idle();
  }

  #settle(sources: readonly BatchSource[], reply: CommitReply): void {
    for (const [index, source] of sources.entries()) {
      const outcome = reply.outcomes[index];
      if (outcome === undefined) source.fail(asError(new TypeError('The storage left out an outcome.')));
      else source.settle(outcome, reply.nowMs);
    }
  }

  /** True when the sources will be sent again after a pause. */
  #failed(sources: readonly BatchSource[], error: RecoveryError): boolean {
    log.queue('commit of %d batches to %s failed: %s', sources.length, this.#partition, error.code);
    const again = error.retryable && !this.#closed ? sources.filter((source) => !source.abandoned) : [];
    for (const source of sources) {
      if (!again.includes(source)) source.fail(error);
    }
    if (again.length === 0) return false;
    this.#unsettled = [...again, ...this.#unsettled];
    this.#cancelRetry = this.#store.clock.schedule(this.#retryMs, () => void this.#send(), true);
    this.#retryMs = Math.min(LONGEST_RETRY_MS, this.#retryMs * 2);
    return true;
  }
}

export class CommitQueue {
  readonly #store: Store;
  readonly #lanes = new Map<string, Lane>();
  #waiters: (() => void)[] = [];

  constructor(store: Store) {
    this.#store = store;
  }

  push(source: BatchSource): void {
    let lane = this.#lanes.get(source.partition);
    if (lane === undefined) {
      lane = new Lane(this.#store, source.partition, () => this.#idle());
      this.#lanes.set(source.partition, lane);
    }
    lane.push(source);
  }

  /**
   * Commits one batch that belongs to no writer: a create, a claim, a change of state by somebody else. It is sent
   * again until its `notAfter` has passed; then the outcome stays unknown.
   * @throws `STORAGE_UNAVAILABLE` with `details.outcome` 'unknown', and what the storage throws
   */
  commit(partition: string, batch: Batch, size = 500): Promise<{ outcome: Outcome; nowMs: number }> {
    const { clock } = this.#store;
    const leftMs =
      batch.notAfter === undefined ? Infinity : batch.notAfter - this.#store.estimatedNowMs(partition);
    const giveUpMs = clock.monotonicMs() + leftMs;
    return new Promise((resolve, reject) => {
      this.push({
        partition,
        urgent: false,
        size,
        get abandoned() {
          return clock.monotonicMs() > giveUpMs;
        },
        freeze: () => batch,
        settle: (outcome, nowMs) => resolve({ outcome, nowMs }),
        fail: reject,
      });
    });
  }

  /** Drops what is queued: the end of a shutdown. What is in flight is not sent again. */
  close(error: RecoveryError): void {
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
