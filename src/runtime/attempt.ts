/**
 * One execution of a task by its present holder: its writes, its lease, its end.
 *
 * 1. Once the attempt is lost (somebody else claimed the task, the lease ran out unconfirmed, a slot conflict), nothing
 *    more of it is handed to the storage, and every call on its context is rejected with the reason.
 * 2. It ends exactly once: completed, failed, cancelled, put back for another try, released or lost.
 * 3. In a shutdown it goes on until its next call on the context, whose work is still kept; its signal aborts later.
 */
import { isRecoveryError, kindOf } from '../errors.js';
import type { RecoveryError } from '../errors.js';
import type { TaskRecord } from '../domain/task.js';
import { log } from '../log.js';
import { decodeControl } from '../state/control.js';
import { keys } from '../state/keys.js';
import { itemsOf } from '../state/ledger.js';
import type { KeptPieces } from '../state/ledger.js';
import { LiveTask } from '../state/live-task.js';
import { RecordWriter } from '../state/record-writer.js';
import { fenceOf } from '../state/token.js';
import type { StoredRecord } from '../storage/storage.js';
import type { AttemptStart } from './attempt-start.js';
import type { RecoveryContext } from './context.js';
import type { Engine, Handler } from './engine.js';
import { Ending } from './ending.js';
import { shutDownError } from './engine.js';
import { Gate, graceOf } from './gate.js';
import { HeadOwner } from './head-owner.js';
import { Journal } from './journal.js';
import type { LeaseHolder } from './lease-keeper.js';
import { piecesOf } from './pieces.js';
import type { DiscoverHook, Pieces } from './pieces.js';
import { runToEnd } from './run-to-end.js';
import { TaskContext } from './task-context.js';
import { cancelledError, contextClosed, leaseLost, leaseUncertain } from './task-errors.js';
import { Watchdog } from './watchdog.js';

export class Attempt implements LeaseHolder {
  readonly taskId: string;
  readonly context: RecoveryContext;
  readonly journal: Journal;
  readonly gate: Gate;
  readonly userText: string | null;
  readonly errorCount: number;
  readonly args: readonly unknown[] | null;
  /** Set when it ended with an error and is to be tried again: after how long, in ms. */
  retryInMs: number | null = null;
  readonly #engine: Engine;
  readonly #handler: Handler;
  readonly #live: LiveTask;
  readonly #writer: RecordWriter;
  readonly #kept: KeptPieces;
  readonly #discover: DiscoverHook | null;
  readonly #watchdog: Watchdog | null;
  #abandon: ((reason: unknown) => void) | null = null;
  #written: Promise<unknown> | null = null;
  #pieces: Pieces | null = null;

  constructor(engine: Engine, handler: Handler, start: AttemptStart) {
    this.taskId = start.live.taskId;
    this.gate = new Gate(this.taskId);
    this.userText = start.userText;
    this.#engine = engine;
    this.#handler = handler;
    this.#kept = start.kept;
    this.#discover = start.discover;
    this.errorCount = start.errorCount;
    this.args = start.args;
    this.#live = new LiveTask(start.live);
    const { partition, fence, nonce, sentMs: renewedMs } = start;
    const renewAfterMs = engine.settings.leaseMs / 3;
    this.#writer = new RecordWriter(
      { partition, key: keys.head(this.taskId), fence, nonce, renewedMs, renewAfterMs },
      engine.queue,
      new HeadOwner(this.#live, this),
      engine.clock,
    );
    this.journal = new Journal(engine, handler, this.#live, this.#writer, start.resume, this.gate);
    this.context = new TaskContext(this, this.#live.start, start.fence);
    this.#watchdog = Watchdog.of(engine, handler, this, start.ranMs);
    engine.fences.remember(this.taskId, start.fence);
    engine.leases.add(this);
    engine.attempts.add(this);
    this.#fenceIfOver();
    if (isRecoveryError(engine.closing, 'SLOT_CONFLICT')) this.lose(engine.closing);
    else if (engine.closing !== null) this.shutDown(true);
  }

  get startedMs(): number {
    return this.#live.start.startedMs;
  }

  get renewedMs(): number {
    return this.#writer.renewedMs;
  }

  /** How long it has run over all attempts, in ms; null where nobody asks. */
  get ranMs(): number | null {
    return this.#watchdog?.ranMs ?? null;
  }

  get items(): TaskRecord['items'] {
    return itemsOf(new Map([...this.#kept.maps, ...(this.#live.maps ?? [])]));
  }

  renew(): void {
    this.#writer.renew();
  }

  expired(): void {
    this.lose(leaseUncertain(this.taskId));
  }

  beat(nowMs: number): void {
    if (this.journal.markStuck(nowMs)) this.#writer.renew();
  }

  /** Fences the attempt off: nothing of it is written any more. */
  lose(reason: RecoveryError): void {
    if (this.gate.lost) return;
    this.gate.lost = true;
    this.gate.stopWith(reason);
    this.#writer.kill(reason);
    graceOf(this.#engine, () => void this.#leaveDeaf(reason));
    this.#watchdog?.stop();
    this.#engine.leases.delete(this);
    this.#engine.worker.mayHoldLost = true;
    // Whoever takes it meanwhile may think that this process has died.
    this.#engine.survivors.add(this.taskId, this.#writer.fence);
    this.#engine.emitter.local('lease_lost', this.taskId, this.#handler.name, { code: reason.code });
  }

  /** Asks it to end at its next call on the context, and then to be released; `now`: its signal aborts as well. */
  shutDown(now: boolean): void {
    this.gate.yield();
    if (now && this.gate.stop === null) this.gate.stopWith(this.gate.yielded ?? shutDownError());
  }

  /** Ends the task for good: its signal aborts, and when the function ignores that, it is fenced off. */
  halt(reason: RecoveryError, status: 'failed' | 'cancelled'): void {
    if (this.gate.stop !== null || this.gate.closed) return;
    this.gate.halted = status;
    this.gate.stopWith(reason);
    graceOf(this.#engine, () => void this.#leaveDeaf(reason));
  }

  /** The control record, as it was seen with a renewal. */
  controlled(record: StoredRecord | null): void {
    const { cancel } = decodeControl(record);
    if (cancel !== null) this.halt(cancelledError(this.taskId, cancel), 'cancelled');
  }

  /** Notes durably that user code is about to run. Resolves with an error if it is not to. */
  async begin(): Promise<unknown> {
    try {
      this.gate.assertUsable();
      await this.#writer.write((draft) => this.#live.began(draft));
      this.#fenceIfOver();
      this.gate.assertUsable();
      return null;
    } catch (error) {
      return error;
    }
  }

  /** The world may have gone on while an answer was on its way: no code runs under a lease that is over. */
  #fenceIfOver(): void {
    if (this.#engine.clock.monotonicMs() - this.renewedMs >= this.#engine.settings.leaseMs) this.expired();
  }

  /** Takes it from the suspects, durably. */
  async clear(): Promise<void> {
    if (!this.gate.closed) await this.#writer.write((draft) => this.#live.cleared(draft));
  }

  /** Runs the function to its end; not at all when the attempt was stopped before it began. */
  run(invoke: () => unknown): Promise<unknown> {
    const { stop } = this.gate;
    return stop === null ? runToEnd(invoke, this) : runToEnd(() => Promise.reject(stop), this);
  }

  abandonable(reject: (reason: unknown) => void): void {
    this.#abandon = reject;
  }

  /** Rejects whoever waits for it: a function that is deaf to its signal must not keep them for ever. */
  abandon(reason: unknown): void {
    this.#abandon?.(reason);
  }

  returned(value: unknown): Promise<unknown> {
    return this.gate.halted === null ? this.complete(value) : this.threw(this.gate.stop);
  }

  async threw(thrown: unknown): Promise<never> {
    const { told } = await this.#ended(() => this.#failed(thrown));
    throw told;
  }

  /** Ends the task with a result. */
  complete(value: unknown): Promise<unknown> {
    return this.#ended(() => this.#ending().complete(value));
  }

  /** Ends the task as failed, without its function. */
  fail(error: RecoveryError): Promise<never> {
    return this.#ended(async () => {
      await this.#ending().fail(error);
      throw error;
    });
  }

  /** Makes it a clean restart after all. */
  forget(checkpointSeq: number): void {
    this.journal.forget();
    this.#writer.note((draft) => this.#live.restart(draft, checkpointSeq));
  }

  pieces(): Pieces {
    return (this.#pieces ??= piecesOf({
      engine: this.#engine,
      taskName: this.#handler.name,
      live: this.#live,
      writer: this.#writer,
      attempt: this,
      kept: this.#kept,
      discover: this.#discover,
    }));
  }

  /** Somebody else's token stands in the head, or none. */
  taken(current: string | null): RecoveryError {
    const fence = current === null ? null : fenceOf(current);
    if (fence !== null && fence < this.#writer.fence) {
      this.#engine.emitter.alert('storage_rolled_back', { task_id: this.taskId });
    }
    const error = leaseLost(this.taskId, this.#writer.fence, fence);
    this.lose(error);
    return error;
  }

  #ended<T>(end: () => Promise<T>): Promise<T> {
    if (this.gate.closed) return this.#endedBefore();
    this.gate.close();
    this.#watchdog?.stop();
    const written = end();
    this.#written = written;
    return written.then(
      (value) => {
        this.#leave();
        return value;
      },
      (error: unknown) => {
        this.#leave();
        throw error;
      },
    );
  }

  /** Fenced off before: nobody is told until that end is written. */
  async #endedBefore(): Promise<never> {
    await this.#written?.catch(() => {});
    throw this.gate.stop ?? contextClosed(this.taskId);
  }

  #leave(): void {
    this.#engine.leases.delete(this);
    this.#engine.attempts.delete(this);
    this.#writer.close(() => contextClosed(this.taskId));
    // Lost, but perhaps nobody took it: this process may take it back.
    if (this.gate.stop?.code === 'LEASE_UNCERTAIN') this.#engine.kick();
  }

  /** What to reject with, after the storage knows what it has to. */
  async #failed(thrown: unknown): Promise<{ readonly told: unknown }> {
    if (this.gate.lost) return { told: this.gate.stop ?? thrown };
    const { told, retryInMs } = await this.#ending().afterError(thrown, this.gate);
    this.retryInMs = retryInMs;
    return { told };
  }

  /** The function has not ended in time: its task ends without it, and whoever waits for it is let go. */
  async #leaveDeaf(reason: RecoveryError): Promise<void> {
    if (this.gate.closed) return;
    this.#engine.emitter.alert('signal_ignored', { task_id: this.taskId, name: this.#handler.name });
    try {
      if (!this.gate.lost) await this.#ended(() => this.#ending().halt(this.gate.halted, reason));
      this.abandon(this.gate.stop ?? reason);
    } catch (error) {
      log.task('the end of %s could not be written: %s', this.taskId, kindOf(error));
      this.abandon(error);
    }
    if (this.gate.stop?.code === 'LEASE_UNCERTAIN') this.#engine.kick();
  }

  #ending(): Ending {
    return new Ending(this.#engine, this.#handler, this.#live, this.#writer, this);
  }
}
