/**
 * Looks for orphans again and again: at an interval with jitter, soon after the first look when the leases that it saw
 * alive have run out, and whenever something hints at work. Sweeps never overlap.
 *
 * A process that was frozen, or a storage whose clock jumped, would take every lease for over: after a sweep that fired
 * late, or saw the two clocks part by more than a third of the lease, leases are not judged for a whole lease.
 */
import { kindOf } from '../errors.js';
import { log } from '../log.js';
import type { Engine } from './engine.js';
import { alertedError } from './task-errors.js';

/** One sweep. Resolves when its tasks are under way. */
export type Sweep = (judgeLeases: boolean) => Promise<void>;

const JITTER = 0.1;
/** When the early look comes, as a part of the time to the one after the leases. */
const EARLY = 0.2;

export class Sweeper {
  readonly #engine: Engine;
  readonly #sweep: Sweep;
  #cancel: (() => void) | null = null;
  #dueMs = 0;
  #running: Promise<void> | null = null;
  #again = false;
  /** When the early look is due, and the one when the leases that were alive at the first look have run out. */
  #firstLooksMs: readonly number[] = [];
  #wake: { readonly atMs: number; readonly cancel: () => void } | null = null;
  #started = false;
  #seen: { storageMs: number; monotonicMs: number } | null = null;
  #distrustUntilMs = 0;

  constructor(engine: Engine, sweep: Sweep) {
    this.#engine = engine;
    this.#sweep = sweep;
  }

  /**
   * Starts the periodic sweeps. One comes when the leases that were alive at the first look have run out, and one well
   * before: in a deploy the old process gives its tasks back a moment after the new one has looked.
   */
  start(firstInMs: number): void {
    if (this.#started || this.#engine.closing !== null) return;
    this.#started = true;
    const nowMs = this.#engine.clock.monotonicMs();
    const earlyInMs = firstInMs * EARLY;
    this.#firstLooksMs = [nowMs + earlyInMs, nowMs + firstInMs];
    this.#arm(earlyInMs);
  }

  stop(): void {
    this.#started = false;
    this.#cancel?.();
    this.#cancel = null;
    this.#wake?.cancel();
    this.#wake = null;
  }

  /** Looks now, or right after the sweep that is running. Nothing happens before `start`. */
  kick(): void {
    if (!this.#started || this.#engine.closing !== null) return;
    if (this.#running !== null) this.#again = true;
    else this.#arm(0);
  }

  /** Looks again then, at the latest, if it has been started by then. */
  wakeIn(delayMs: number): void {
    const { clock, closing } = this.#engine;
    const atMs = clock.monotonicMs() + delayMs;
    if (closing !== null || (this.#wake !== null && this.#wake.atMs <= atMs)) return;
    this.#wake?.cancel();
    const cancel = clock.schedule(delayMs, () => {
      this.#wake = null;
      this.kick();
    });
    this.#wake = { atMs, cancel };
  }

  /** Whether leases can be judged at this moment; reads the storage's clock. */
  async trustsLeases(firedLateMs = 0): Promise<boolean> {
    const { store, clock, settings, emitter } = this.#engine;
    const sentMs = clock.monotonicMs();
    const { nowMs: storageMs } = await store.read(store.home, ['clock']);
    const monotonicMs = clock.monotonicMs();
    const third = settings.leaseMs / 3;
    let jumpedMs = firedLateMs;
    if (this.#seen !== null) {
      const elapsedMs = storageMs - this.#seen.storageMs;
      // The storage read its clock somewhere between the two moments.
      const tooFast = elapsedMs - (monotonicMs - this.#seen.monotonicMs);
      const tooSlow = sentMs - this.#seen.monotonicMs - elapsedMs;
      jumpedMs = Math.max(jumpedMs, tooFast, tooSlow);
    }
    this.#seen = { storageMs, monotonicMs };
    if (jumpedMs > third) {
      this.#distrustUntilMs = monotonicMs + settings.leaseMs;
      emitter.alert('clock_jump', { jumped_ms: String(Math.round(jumpedMs)) });
    }
    return monotonicMs >= this.#distrustUntilMs;
  }

  #arm(delayMs: number): void {
    this.#cancel?.();
    this.#dueMs = this.#engine.clock.monotonicMs() + delayMs;
    this.#cancel = this.#engine.clock.schedule(delayMs, () => {
      this.#running = this.#run().finally(() => {
        this.#running = null;
        if (this.#started) this.#arm(this.#nextMs());
      });
    });
  }

  #nextMs(): number {
    if (this.#again) {
      this.#again = false;
      return 0;
    }
    const { sweepIntervalMs, leaseMs } = this.#engine.settings;
    const nowMs = this.#engine.clock.monotonicMs();
    const dueMs = this.#firstLooksMs.find((atMs) => atMs > nowMs);
    if (dueMs !== undefined) return Math.min(dueMs - nowMs, sweepIntervalMs);
    const leftMs = this.#distrustUntilMs - nowMs;
    if (leftMs > 0) return Math.min(leftMs + leaseMs / 10, sweepIntervalMs);
    return sweepIntervalMs * (1 + JITTER * (2 * this.#engine.random.fraction() - 1));
  }

  async #run(): Promise<void> {
    const { clock, emitter, settings } = this.#engine;
    try {
      const trusted = await this.trustsLeases(clock.monotonicMs() - this.#dueMs);
      void this.#engine.survivors.tell();
      await this.#sweep(trusted);
    } catch (error) {
      log.recovery('sweep failed: %s', kindOf(error));
      emitter.alert('sweep_failed', alertedError(this.#engine, error));
      if (this.#started) this.#retrySoon(Math.min(settings.leaseMs, settings.sweepIntervalMs));
    }
  }

  #retrySoon(delayMs: number): void {
    this.#engine.clock.schedule(delayMs, () => this.kick());
  }
}
