/** The ends that an attempt can come to by its own owner's hand. Made when one comes: a running task needs none. */
import { kindOf } from '../errors.js';
import type { RecoveryError } from '../errors.js';
import { log } from '../log.js';
import { toJsonText } from '../domain/json.js';
import type { StoredError } from '../domain/task.js';
import { decodeControl } from '../state/control.js';
import type { Draft } from '../state/draft.js';
import { keys } from '../state/keys.js';
import type { Moment } from '../state/live-counts.js';
import type { ResultText } from '../state/live-result.js';
import type { LiveTask } from '../state/live-task.js';
import type { RecordWriter } from '../state/record-writer.js';
import { localEvent } from '../state/task-events.js';
import type { Fields } from '../storage/storage.js';
import { backoffMs } from './charges.js';
import type { Engine, Handler } from './engine.js';
import { leaveToOthers } from './engine.js';
import { failureOf } from './failure-of.js';
import type { Gate } from './gate.js';
import {
  cancelledError,
  isFinal,
  isNotItsFault,
  isUndecodable,
  storedErrorOf,
  unstorableError,
} from './task-errors.js';

/** What came before the end. */
interface Past {
  /** Earlier attempts that ended with an error. */
  readonly errorCount: number;
  /** How long it has run over all attempts, in ms; null where nobody asks. */
  readonly ranMs: number | null;
  /** Its arguments, where its failures are tracked. */
  readonly args: readonly unknown[] | null;
}

type Stops = Pick<Gate, 'halted' | 'stop' | 'yielded'>;

interface AfterError {
  readonly told: unknown;
  readonly retryInMs: number | null;
}

export class Ending {
  readonly #engine: Engine;
  readonly #handler: Handler;
  readonly #live: LiveTask;
  readonly #writer: RecordWriter;
  readonly #past: Past;
  /** Set when it turned out at its end that it was to be cancelled. */
  cancelled: RecoveryError | null = null;

  constructor(engine: Engine, handler: Handler, live: LiveTask, writer: RecordWriter, past: Past) {
    this.#engine = engine;
    this.#handler = handler;
    this.#live = live;
    this.#writer = writer;
    this.#past = past;
  }

  /** A result that JSON can't hold is not kept; the task counts as done all the same. */
  complete(value: unknown): Promise<unknown> {
    let result: ResultText;
    let unstorable: RecoveryError | null = null;
    try {
      result = this.#resultText(value);
    } catch (error) {
      unstorable = unstorableError(this.#taskId, error);
      result = { kind: 'unstorable' };
    }
    return this.#write(
      (draft) => this.#live.complete(draft, result, this.#now()),
      () => {
        if (unstorable !== null) throw unstorable;
        return value;
      },
    );
  }

  release(): Promise<void> {
    return this.#write((draft) => this.#live.release(draft, this.#past.ranMs));
  }

  /** Gives back a task that this process can't read, and does not take it up by itself again. */
  async leaveToOthers(): Promise<void> {
    leaveToOthers(this.#engine, this.#taskId, this.#handler.name);
    await this.release();
  }

  async fail(
    thrown: unknown,
    error: StoredError = storedErrorOf(thrown, this.#engine.settings),
  ): Promise<void> {
    const known = this.#live.start.failed;
    const failure = failureOf(this.#engine, this.#handler, this.#past.args, {
      taskId: this.#taskId,
      error,
      thrown,
      known,
    });
    await this.#write((draft) =>
      this.#live.fail(draft, error, this.#past.errorCount + 1, failure, this.#now()),
    );
    this.#engine.cleanups.run(this.#handler, this.#taskId, 'failed');
  }

  async cancel(reason: unknown): Promise<void> {
    const error = storedErrorOf(reason, this.#engine.settings);
    await this.#write((draft) => this.#live.cancel(draft, error));
    this.#engine.cleanups.run(this.#handler, this.#taskId, 'cancelled');
  }

  /** Ends it without its function: no other try while that may still be at work. */
  halt(status: 'failed' | 'cancelled' | null, reason: unknown): Promise<void> {
    if (status === 'cancelled') return this.cancel(reason);
    return this.fail(reason);
  }

  /**
   * Ends it as it has to be after an error. Resolves with what to reject with, in a box, since a promise can be thrown,
   * too; and after how long it is tried again, in ms, if it is.
   */
  async afterError(thrown: unknown, { halted, stop, yielded }: Stops): Promise<AfterError> {
    const stopped = stop ?? yielded;
    let retryInMs: number | null = null;
    try {
      if (halted === 'cancelled') await this.cancel(stop);
      else if (halted === 'failed') retryInMs = await this.failOrRetry(stop);
      else if (stopped !== null || isNotItsFault(thrown, this.#engine.closing)) await this.release();
      else if (isUndecodable(thrown, this.#taskId)) await this.leaveToOthers();
      else retryInMs = await this.failOrRetry(thrown);
      return { told: this.cancelled ?? stopped ?? thrown, retryInMs };
    } catch (error) {
      log.task('the end of %s could not be written: %s', this.#taskId, kindOf(error));
      return { told: error, retryInMs };
    }
  }

  /** After how long it is tried again, in ms; null: it has failed for good. */
  async failOrRetry(thrown: unknown): Promise<number | null> {
    const error = storedErrorOf(thrown, this.#engine.settings);
    const count = this.#past.errorCount + 1;
    if (isFinal(thrown) || count >= this.#handler.maxAttempts) {
      await this.fail(thrown, error);
      return null;
    }
    // Asked for while it ran, and not heard of yet: it must not wait for its next try.
    const asked = await this.#cancelReason();
    if (asked !== null) {
      this.cancelled = cancelledError(this.#taskId, asked);
      await this.cancel(this.cancelled);
      return null;
    }
    const delayMs = backoffMs(this.#engine, count);
    await this.#write((draft) => this.#live.retry(draft, error, count, delayMs, this.#past.ranMs));
    return delayMs;
  }

  async #cancelReason(): Promise<string | null> {
    const { store } = this.#engine;
    const { records } = await store.read(this.#writer.partition, [keys.control(this.#taskId)]);
    return decodeControl(records[0]).cancel;
  }

  get #taskId(): string {
    return this.#live.start.taskId;
  }

  #now(): Moment {
    const { clock, store } = this.#engine;
    const monotonicMs = clock.monotonicMs();
    return { monotonicMs, storageMs: store.estimatedNowMs(this.#writer.partition, monotonicMs) };
  }

  #resultText(value: unknown): ResultText {
    if (value === undefined) return { kind: 'none' };
    const maxBytes = this.#engine.settings.limits.resultBytes;
    const text = toJsonText(value, { what: `the result of "${this.#handler.name}"`, maxBytes });
    return { kind: 'text', text: this.#engine.store.payloads.seal(text, this.#taskId, 'result') };
  }

  #write<T = void>(change: (draft: Draft) => Fields[], then?: () => T): Promise<T | void> {
    let events: Fields[] = [];
    return this.#writer.finish(
      (draft) => {
        events = change(draft);
      },
      (nowMs) => {
        if (!this.#engine.emitter.idle) {
          for (const event of events) this.#engine.emitter.emit(localEvent(event, nowMs));
        }
        return then?.();
      },
    );
  }
}
