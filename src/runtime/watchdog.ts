/** `maxDurationMs` and `maxSilenceMs` of one attempt: a timer for whichever comes first. */
import { RecoveryError } from '../errors.js';
import type { Engine, Handler } from './engine.js';

/** What is watched. */
interface Watched {
  readonly taskId: string;
  readonly journal: { readonly movedMs: number };
  halt(reason: RecoveryError, status: 'failed'): void;
}

function timedOut(taskId: string, limit: 'maxDurationMs' | 'maxSilenceMs', limitMs: number): RecoveryError {
  const what =
    limit === 'maxDurationMs'
      ? `has run for longer than its maxDurationMs of ${limitMs} ms, over all its attempts`
      : `has made no progress for its maxSilenceMs of ${limitMs} ms`;
  return new RecoveryError('TASK_TIMED_OUT', `Task "${taskId}" ${what}.`, {
    details: { taskId, limit, limitMs },
  });
}

export class Watchdog {
  readonly #engine: Engine;
  readonly #handler: Handler;
  readonly #watched: Watched;
  /** The monotonic time at which it would have begun, had it run in one go, in ms. */
  readonly #begunMs: number;
  #cancel: (() => void) | null = null;

  /** Null where there is nothing to watch. */
  static of(engine: Engine, handler: Handler, watched: Watched, ranMs: number): Watchdog | null {
    if (handler.maxDurationMs === null && handler.maxSilenceMs === null) return null;
    return new Watchdog(engine, handler, watched, ranMs);
  }

  private constructor(engine: Engine, handler: Handler, watched: Watched, ranMs: number) {
    this.#engine = engine;
    this.#handler = handler;
    this.#watched = watched;
    this.#begunMs = engine.clock.monotonicMs() - ranMs;
    this.#look();
  }

  get ranMs(): number {
    return this.#engine.clock.monotonicMs() - this.#begunMs;
  }

  stop(): void {
    this.#cancel?.();
    this.#cancel = null;
  }

  #look(): void {
    const { maxDurationMs, maxSilenceMs } = this.#handler;
    const { taskId, journal } = this.#watched;
    const longLeftMs = maxDurationMs === null ? Infinity : maxDurationMs - this.ranMs;
    const silentMs = this.#engine.clock.monotonicMs() - journal.movedMs;
    const silentLeftMs = maxSilenceMs === null ? Infinity : maxSilenceMs - silentMs;
    if (longLeftMs <= 0) this.#watched.halt(timedOut(taskId, 'maxDurationMs', maxDurationMs ?? 0), 'failed');
    else if (silentLeftMs <= 0)
      this.#watched.halt(timedOut(taskId, 'maxSilenceMs', maxSilenceMs ?? 0), 'failed');
    else this.#cancel = this.#engine.clock.schedule(Math.min(longLeftMs, silentLeftMs), () => this.#look());
  }
}
