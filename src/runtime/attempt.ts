/**
 * One execution of a task by its present holder: its writes, its lease, its end.
 *
 * 1. Once the attempt is lost (somebody else claimed the task, the lease ran out unconfirmed, a slot conflict), nothing
 *    more of it is handed to the storage, and every call on its context is rejected with the reason.
 * 2. It ends exactly once: completed, failed, released or lost.
 */
import { isRecoveryError, kindOf, RecoveryError } from '../errors.js';
import { toJsonText } from '../domain/json.js';
import type { StoredError } from '../domain/task.js';
import { log } from '../log.js';
import type { Draft } from '../state/draft.js';
import { keys } from '../state/keys.js';
import type { KeptPieces } from '../state/ledger.js';
import { LiveTask } from '../state/live-task.js';
import type { LiveTaskStart, ResultText } from '../state/live-task.js';
import { RecordWriter } from '../state/record-writer.js';
import { localEvent } from '../state/task-events.js';
import { fenceOf } from '../state/token.js';
import type { Fields } from '../storage/storage.js';
import type { RecoveryContext } from './context.js';
import type { Engine, Handler } from './engine.js';
import { shutDownError } from './engine.js';
import { HeadOwner } from './head-owner.js';
import { Journal } from './journal.js';
import type { Resume } from './journal.js';
import type { LeaseHolder } from './lease-keeper.js';
import { piecesOf } from './pieces.js';
import type { DiscoverHook, Pieces } from './pieces.js';
import { TaskContext } from './task-context.js';
import { contextClosed, isNotItsFault, storedErrorOf, unstorableError } from './task-errors.js';

/** What a won create or claim hands over. */
export interface AttemptStart {
  readonly live: LiveTaskStart;
  readonly partition: string;
  readonly fence: number;
  readonly nonce: string;
  readonly sentMs: number;
  readonly resume: Resume;
  readonly kept: KeptPieces;
  /** The user's hook, its arguments filled in; null on a first attempt, which has nothing to discover. */
  readonly discover: DiscoverHook | null;
}

export class Attempt implements LeaseHolder {
  readonly taskId: string;
  readonly context: RecoveryContext;
  readonly #engine: Engine;
  readonly #handler: Handler;
  readonly #live: LiveTask;
  readonly #writer: RecordWriter;
  readonly #journal: Journal;
  #abort: AbortController | null = null;
  #stop: RecoveryError | null = null;
  #closed = false;
  #lost = false;
  /** Made with the first step, map or key. */
  #pieces: Pieces | null = null;

  constructor(engine: Engine, handler: Handler, start: AttemptStart) {
    // Taken out, so that the rest of what it starts from is let go.
    const { kept, discover } = start;
    this.taskId = start.live.taskId;
    this.#engine = engine;
    this.#handler = handler;
    this.#live = new LiveTask(start.live);
    const { leaseMs } = engine.settings;
    this.#writer = new RecordWriter(
      {
        partition: start.partition,
        key: keys.head(this.taskId),
        fence: start.fence,
        nonce: start.nonce,
        renewedMs: start.sentMs,
        renewAfterMs: leaseMs / 3,
      },
      engine.queue,
      new HeadOwner(this.#live, (current) => this.#taken(current)),
      () => engine.clock.monotonicMs(),
    );
    this.#journal = new Journal(engine, handler, this.#live, this.#writer, start.resume, () =>
      this.#assertUsable(),
    );
    this.context = new TaskContext({
      taskId: this.taskId,
      name: handler.name,
      attempt: start.live.attempt,
      fence: start.fence,
      journal: this.#journal,
      signal: () => this.#signal(),
      pieces: () => (this.#pieces ??= this.#makePieces(kept, discover)),
    });
    engine.fences.remember(this.taskId, start.fence);
    engine.leases.add(this);
    engine.attempts.add(this);
    // The world went on while the create or the claim was on its way.
    if (engine.clock.monotonicMs() - start.sentMs >= leaseMs) this.expired();
    else if (isRecoveryError(engine.closing, 'SLOT_CONFLICT')) this.lose(engine.closing);
    else if (engine.closing !== null) this.shutDown();
  }

  get renewedMs(): number {
    return this.#writer.renewedMs;
  }

  renew(): void {
    this.#writer.renew();
  }

  expired(): void {
    this.lose(
      new RecoveryError(
        'LEASE_UNCERTAIN',
        'The storage has not confirmed the lease in time; the task may be elsewhere.',
        {
          retryable: true,
          details: { taskId: this.taskId },
        },
      ),
    );
  }

  beat(nowMs: number): void {
    if (this.#live.isStuck || nowMs - this.#journal.movedMs < this.#engine.settings.stuckAfterMs) return;
    const sinceMs =
      this.#engine.store.estimatedNowMs(this.#writer.partition) - Math.floor(nowMs - this.#journal.movedMs);
    this.#writer.note((draft) => this.#live.stuck(draft, sinceMs));
    this.#writer.renew();
    this.#engine.emitter.alert('stuck', { task_id: this.taskId, name: this.#handler.name });
  }

  /** Fences the attempt off: nothing of it is written any more. */
  lose(reason: RecoveryError): void {
    if (this.#lost) return;
    this.#lost = true;
    this.#stopWith(reason);
    this.#writer.kill(reason);
    this.#engine.leases.delete(this);
    this.#engine.worker.mayHoldLost = true;
    this.#engine.emitter.local('lease_lost', this.taskId, this.#handler.name, { code: reason.code });
  }

  /** Asks it to end: its signal aborts, its next call on the context is rejected, and then it is released. */
  shutDown(): void {
    if (this.#stop === null) this.#stopWith(shutDownError());
  }

  /** Runs the function to its end; not at all when the attempt was stopped before it began. */
  async run(invoke: () => unknown): Promise<unknown> {
    let value: unknown;
    try {
      if (this.#stop !== null) throw this.#stop;
      value = await invoke();
    } catch (thrown) {
      throw await this.#ended(() => this.#failed(thrown));
    }
    return this.#ended(() => this.complete(value));
  }

  /** Ends the task with a result. One that JSON can't hold is not kept; the task counts as done all the same. */
  async complete(value: unknown): Promise<unknown> {
    let result: ResultText;
    let unstorable: RecoveryError | null = null;
    try {
      result = this.#resultText(value);
    } catch (error) {
      unstorable = unstorableError(this.taskId, error);
      result = { kind: 'unstorable' };
    }
    await this.#writeEnd((draft) => this.#live.complete(draft, result));
    if (unstorable !== null) throw unstorable;
    return value;
  }

  /** Makes it a clean restart after all. */
  forget(checkpointSeq: number): void {
    this.#journal.forget();
    this.#writer.note((draft) => this.#live.restart(draft, checkpointSeq));
  }

  /** Ends the task as failed. */
  async fail(error: StoredError): Promise<void> {
    await this.#writeEnd((draft) => this.#live.fail(draft, error));
  }

  /** Closes the context of an attempt that was settled without running its function. */
  async settle<T>(end: () => Promise<T>): Promise<T> {
    return this.#ended(end);
  }

  #resultText(value: unknown): ResultText {
    if (value === undefined) return { kind: 'none' };
    const maxBytes = this.#engine.settings.limits.resultBytes;
    return {
      kind: 'text',
      text: toJsonText(value, { what: `the result of "${this.#handler.name}"`, maxBytes }),
    };
  }

  async #ended<T>(end: () => Promise<T>): Promise<T> {
    this.#closed = true;
    try {
      return await end();
    } finally {
      this.#engine.leases.delete(this);
      this.#engine.attempts.delete(this);
      this.#writer.close(() => contextClosed(this.taskId));
      // Lost, but perhaps nobody took it: this process may take it back.
      if (this.#stop?.code === 'LEASE_UNCERTAIN') this.#engine.kick();
    }
  }

  /** The error to reject with, after the storage knows what it has to. */
  async #failed(thrown: unknown): Promise<unknown> {
    if (this.#stop !== null && this.#stop.code !== 'SHUT_DOWN') return this.#stop;
    try {
      if (this.#stop !== null || isNotItsFault(thrown)) {
        await this.#writeEnd((draft) => this.#live.release(draft));
        return this.#stop ?? thrown;
      }
      await this.fail(storedErrorOf(thrown, this.#engine.settings.limits.errorBytes));
      return thrown;
    } catch (error) {
      log.task('the end of %s could not be written: %s', this.taskId, kindOf(error));
      return error;
    }
  }

  async #writeEnd(change: (draft: Draft) => Fields[]): Promise<void> {
    let events: Fields[] = [];
    const nowMs = await this.#writer.finish((draft) => {
      events = change(draft);
    });
    for (const event of events) this.#emit(event, nowMs);
  }

  #emit(event: Fields, nowMs: number): void {
    if (!this.#engine.emitter.idle) this.#engine.emitter.emit(localEvent(event, nowMs));
  }

  #taken(current: string | null): RecoveryError {
    const fence = current === null ? null : fenceOf(current);
    if (fence !== null && fence < this.#writer.fence) {
      this.#engine.emitter.alert('storage_rolled_back', { task_id: this.taskId });
    }
    const how = current === null ? 'its record is gone' : 'it was claimed by another worker';
    const error = new RecoveryError(
      'LEASE_LOST',
      `Task "${this.taskId}" no longer belongs to this worker: ${how}.`,
      {
        details: { taskId: this.taskId, fence: this.#writer.fence, currentFence: fence },
      },
    );
    this.lose(error);
    return error;
  }

  #makePieces(kept: KeptPieces, discover: DiscoverHook | null): Pieces {
    return piecesOf({
      engine: this.#engine,
      taskName: this.#handler.name,
      live: this.#live,
      writer: this.#writer,
      journal: this.#journal,
      kept,
      discover,
      signal: () => this.#signal(),
      assertUsable: () => this.#assertUsable(),
    });
  }

  #stopWith(reason: RecoveryError): void {
    this.#stop = reason;
    this.#abort?.abort(reason);
  }

  #assertUsable(): void {
    if (this.#stop !== null) throw this.#stop;
    if (this.#closed) throw contextClosed(this.taskId);
  }

  #signal(): AbortSignal {
    if (this.#abort === null) {
      this.#abort = new AbortController();
      if (this.#stop !== null) this.#abort.abort(this.#stop);
    }
    return this.#abort.signal;
  }
}
