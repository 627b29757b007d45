/** A clock in the hands of a test. */
import type { Clock } from '../clock.js';
import { RecoveryError } from '../errors.js';
import { drained, nextTurn } from './real-turns.js';

interface Timer {
  readonly dueMs: number;
  readonly fn: () => void;
}

/** Lets everything run that needs no time to pass. */
export async function settled(): Promise<void> {
  for (let turn = 0; turn < 3; turn += 1) {
    await drained();
  }
}

/**
 * Time that passes only when a test says so: leases, backoff and deadlines without real waiting. Given to the memory
 * storage too, it is the one clock of the whole test. It starts at 1,700,000,000,000 (14 November 2023) unless told
 * otherwise, in ms since 1970.
 *
 * @example
 * const clock = new ManualClock();
 * const recovery = createRecovery({ storage: memoryStorage({ clock }), clock });
 * const paid = pay(order); // fails once, and is tried again after its backoff
 * await clock.advance(60_000);
 * await paid;
 */
export class ManualClock implements Clock {
  #monotonicMs = 0;
  #wallOffsetMs: number;
  readonly #timers = new Set<Timer>();

  constructor(startMs: number = 1_700_000_000_000) {
    this.#wallOffsetMs = startMs;
  }

  /** Timers that have neither fired nor been cancelled. */
  get pendingTimers(): number {
    return this.#timers.size;
  }

  /** Wall time in ms since 1970. */
  wallMs(): number {
    return this.#wallOffsetMs + this.#monotonicMs;
  }

  /** Ms since the clock was made; never steps. */
  monotonicMs(): number {
    return this.#monotonicMs;
  }

  /** Runs `fn` once `delayMs` have passed; returns a function that cancels it. */
  schedule(delayMs: number, fn: () => void): () => void {
    const timer = { dueMs: this.#monotonicMs + Math.max(0, delayMs), fn };
    this.#timers.add(timer);
    return () => void this.#timers.delete(timer);
  }

  /** Runs `fn` after the real event loop has turned once: that needs no time to pass. */
  defer(fn: () => void): void {
    nextTurn(fn);
  }

  /** Lets `ms` pass, from 0 on; every timer fires when it is due, and all that follows without a wait of its own has run. */
  async advance(ms: number): Promise<void> {
    assertTime(ms);
    const endMs = this.#monotonicMs + ms;
    await this.#fireUntil(endMs);
    this.#monotonicMs = Math.max(this.#monotonicMs, endMs);
    await settled();
  }

  /** Lets `ms` pass as for a process that is frozen meanwhile: what was due fires late, at the end. */
  async freeze(ms: number): Promise<void> {
    assertTime(ms);
    await settled();
    this.#monotonicMs += ms;
    await this.#fireUntil(this.#monotonicMs);
  }

  /** Steps the wall clock only, by `ms` forward or (negative) back: no timer fires. */
  stepWall(ms: number): void {
    this.#wallOffsetMs += ms;
  }

  async #fireUntil(endMs: number): Promise<void> {
    await settled();
    for (let timer = this.#next(endMs); timer !== null; timer = this.#next(endMs)) {
      this.#monotonicMs = Math.max(this.#monotonicMs, timer.dueMs);
      this.#timers.delete(timer);
      timer.fn();
      await settled();
    }
  }

  #next(endMs: number): Timer | null {
    let first: Timer | null = null;
    for (const timer of this.#timers) {
      if (timer.dueMs <= endMs && (first === null || timer.dueMs < first.dueMs)) first = timer;
    }
    return first;
  }
}

function assertTime(ms: number): void {
  if (Number.isFinite(ms) && ms >= 0) return;
  throw new RecoveryError(
    'INVALID_OPTION',
    `ManualClock: time passes by a number of ms from 0 on, not ${ms}.`,
  );
}
