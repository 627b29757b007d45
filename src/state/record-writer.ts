/**
 * The chain of writes of one guarded record by its present owner: a task's head, or a worker's record.
 *
 * Each batch expects the token that the one before it left. While a batch is out, later writes gather in a draft,
 * so concurrent writes of one owner share a batch. A `conflict` means that somebody else owns the record now:
 * the writer is dead from then on and every write of it is rejected with the error it was told to use.
 */
import type { Clock } from '../clock.js';
import { RecoveryError } from '../errors.js';
import { HandledPromise, handledRejection } from '../handled.js';
import type { Batch, Outcome, StoredRecord } from '../storage/storage.js';
import type { BatchSource } from './batch-source.js';
import type { CommitQueue } from './commit-queue.js';
import { Draft } from './draft.js';
import { makeToken } from './token.js';

/** Somebody who waits for a write. */
class Waiter<T> extends HandledPromise<T> {
  readonly #then: (nowMs: number) => T;

  constructor(then: (nowMs: number) => T) {
    super();
    this.#then = then;
  }

  tell(nowMs: number): void {
    try {
      this.resolve(this.#then(nowMs));
    } catch (error) {
      this.reject(error);
    }
  }
}

function timeItself(nowMs: number): number {
  return nowMs;
}

/** What the owner of a writer wants to know and decide. */
export interface WriterOwner {
  /** Called on each draft that is about to be frozen. */
  prepare?(draft: Draft): void;
  /** The batch that was prepared last was refused: nothing of it stands. */
  refused?(): void;
  /** Adds the renewal to a draft that is about to be frozen, and returns the keys to observe with it. */
  renew(draft: Draft): readonly string[];
  /** A renewal was acknowledged; it was first sent at this monotonic time. */
  renewed(firstSentMs: number, observed: readonly (StoredRecord | null)[]): void;
  /** The record belongs to somebody else now (`null`: it is gone). Returns the error for all writes. */
  lost(current: string | null): RecoveryError;
}

/** Where a writer starts from: right after a create or a claim that it made itself. */
export interface WriterStart {
  readonly partition: string;
  readonly key: string;
  readonly fence: number;
  readonly nonce: string;
  /** Monotonic time at which that first commit was first sent. */
  readonly renewedMs: number;
  /** A renewal rides along with a commit when the last one is older than this. */
  readonly renewAfterMs: number;
}

export class RecordWriter implements BatchSource {
  readonly partition: string;
  readonly fence: number;
  readonly #key: string;
  readonly #nonce: string;
  readonly #queue: CommitQueue;
  readonly #owner: WriterOwner;
  readonly #clock: Pick<Clock, 'monotonicMs'>;
  readonly #renewAfterMs: number;
  /** The token that the record has now. */
  #applied: string;
  /** The highest number given out: a refused batch's token is never used again, or its late duplicate could pass. */
  #issued = 0;
  #renewedMs: number;
  #renewWanted = false;
  #draft: Draft | null = null;
  #waiters: Pick<Waiter<unknown>, 'tell' | 'reject'>[] = [];
  #frozen: Batch | null = null;
  #frozenWaiters: Pick<Waiter<unknown>, 'tell' | 'reject'>[] = [];
  #frozenRenewsSinceMs: number | null = null;
  #queued = false;
  #finishing = false;
  #dead: (() => RecoveryError) | null = null;

  constructor(start: WriterStart, queue: CommitQueue, owner: WriterOwner, clock: Pick<Clock, 'monotonicMs'>) {
    this.partition = start.partition;
    this.fence = start.fence;
    this.#key = start.key;
    this.#nonce = start.nonce;
    this.#applied = makeToken(start.fence, start.nonce, 0);
    this.#renewedMs = start.renewedMs;
    this.#renewAfterMs = start.renewAfterMs;
    this.#queue = queue;
    this.#owner = owner;
    this.#clock = clock;
  }

  /** Monotonic send time of the last acknowledged renewal. */
  get renewedMs(): number {
    return this.#renewedMs;
  }

  get urgent(): boolean {
    return this.#renewWanted;
  }

  get abandoned(): boolean {
    return this.#dead !== null;
  }

  get size(): number {
    return 200 + (this.#draft?.size ?? 0);
  }

  /** Adds to the next batch without asking for it to be sent: it goes with the next write or renewal. */
  note(change: (draft: Draft) => void): void {
    if (this.#dead === null && !this.#finishing) change((this.#draft ??= new Draft()));
  }

  /** Adds to the next batch and resolves, with the storage's time, once that is durable. It need not be waited for. */
  write(change: (draft: Draft) => void): Promise<number> {
    return this.writeThen(change, timeItself);
  }

  /** `write(change).then(then)` with a promise less: each checkpoint of each task comes by here. */
  writeThen<T>(change: (draft: Draft) => void, then: (nowMs: number) => T): Promise<T> {
    const closed = this.#dead?.() ?? (this.#finishing ? finished() : null);
    if (closed !== null) return handledRejection(closed);
    change((this.#draft ??= new Draft()));
    const waiter = new Waiter(then);
    this.#waiters.push(waiter);
    this.#enqueue();
    return waiter.promise;
  }

  /** The last write of the chain, with whatever was noted. No renewal rides along: it would undo the end. */
  finish<T>(change: (draft: Draft) => void, then: (nowMs: number) => T): Promise<T> {
    const written = this.writeThen(change, then);
    this.#finishing = true;
    this.#renewWanted = false;
    return written;
  }

  /** Asks for a renewal, with whatever was noted, unless one is on its way. */
  renew(): void {
    if (this.#dead !== null || this.#finishing || this.#renewWanted || this.#frozenRenewsSinceMs !== null)
      return;
    this.#renewWanted = true;
    this.#enqueue();
  }

  /** Ends the chain: nothing is sent again, all pending and later writes are rejected. */
  kill(error: RecoveryError): void {
    this.close(() => error);
  }

  /** As {@link kill}; the error is made for those who get it, since usually nobody does. */
  close(makeError: () => RecoveryError): void {
    if (this.#dead !== null) return;
    this.#dead = makeError;
    if (this.#frozenWaiters.length + this.#waiters.length === 0) {
      this.#draft = null;
      return;
    }
    const error = makeError();
    for (const waiter of [...this.#frozenWaiters, ...this.#waiters]) waiter.reject(error);
    this.#frozenWaiters = [];
    this.#waiters = [];
    this.#draft = null;
  }

  freeze(): Batch {
    if (this.#frozen !== null) return this.#frozen;
    const draft = this.#draft ?? new Draft();
    this.#draft = null;
    this.#frozenWaiters = this.#waiters;
    this.#waiters = [];
    const nowMs = this.#clock.monotonicMs();
    let observe: readonly string[] = [];
    if (!this.#finishing && (this.#renewWanted || nowMs - this.#renewedMs > this.#renewAfterMs)) {
      observe = this.#owner.renew(draft);
      this.#frozenRenewsSinceMs = nowMs;
      this.#renewWanted = false;
    }
    this.#owner.prepare?.(draft);
    this.#issued += 1;
    const next = makeToken(this.fence, this.#nonce, this.#issued);
    this.#frozen = draft.batch({ key: this.#key, expect: this.#applied, next }, observe);
    return this.#frozen;
  }

  settle(outcome: Outcome, nowMs: number): void {
    const waiters = this.#frozenWaiters;
    const renewalSentMs = this.#frozenRenewsSinceMs;
    const next = this.#frozen?.guard.next ?? this.#applied;
    this.#queued = false;
    this.#frozen = null;
    this.#frozenWaiters = [];
    this.#frozenRenewsSinceMs = null;
    if (outcome.status === 'applied' || outcome.status === 'duplicate') {
      this.#applied = next;
      if (renewalSentMs !== null) {
        this.#renewedMs = Math.max(this.#renewedMs, renewalSentMs);
        this.#owner.renewed(renewalSentMs, outcome.observed);
      }
      for (const waiter of waiters) waiter.tell(nowMs);
    } else if (outcome.status === 'conflict') {
      const error = this.#owner.lost(outcome.current);
      for (const waiter of waiters) waiter.reject(error);
      this.kill(error);
    } else {
      const error = refusalError(outcome);
      this.#owner.refused?.();
      for (const waiter of waiters) waiter.reject(error);
    }
    if (this.#dead === null && (this.#waiters.length > 0 || this.#renewWanted)) this.#enqueue();
  }

  fail(error: RecoveryError): void {
    this.#queued = false;
    this.kill(error);
  }

  #enqueue(): void {
    if (this.#queued) return;
    this.#queued = true;
    this.#queue.push(this);
  }
}

function finished(): RecoveryError {
  return new RecoveryError(
    'CONTEXT_CLOSED',
    'The last write has been made; await every write before the end.',
  );
}

/** The error for a batch that the storage refused by its content. */
export function refusalError(outcome: Extract<Outcome, { status: 'expired' | 'refused' }>): RecoveryError {
  if (outcome.status === 'expired') {
    return new RecoveryError(
      'STORAGE_UNAVAILABLE',
      'The storage took too long; nothing was written. Try again.',
      {
        retryable: true,
        details: { outcome: 'not_applied' },
      },
    );
  }
  if (outcome.code === 'STORAGE_FULL') {
    return new RecoveryError('STORAGE_FULL', `The storage is full: ${outcome.message} Free or add space.`, {
      retryable: true,
    });
  }
  return new RecoveryError(
    'STORAGE_REFUSED',
    `The storage refused the write (${outcome.code}): ${outcome.message}`,
    {
      details: { refusal: outcome.code },
    },
  );
}
