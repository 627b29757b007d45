/** The last phase of start: looks at the health of recovery again and again, and cleans up. */
import { kindOf } from '../errors.js';
import { log } from '../log.js';
import type { Cleaner } from './cleaner.js';
import type { Engine } from './engine.js';
import type { Health } from './health.js';

const JITTER = 0.1;
/** A storage that is so far ahead of this machine's clock, or has jumped by so much, is not trusted to say what is old. */
const AHEAD_MS = 3_600_000;
const JUMP_MS = 60_000;
/** For so many looks. */
const QUIET_LOOKS = 10;
/** Tasks removed at a time, so that a long-neglected store doesn't keep a worker from looking at its health. */
const ROUND = 10_000;

export class Monitor {
  readonly #engine: Engine;
  readonly #health: Health;
  readonly #cleaner: Cleaner;
  #cancel: (() => void) | null = null;
  #running: Promise<void> | null = null;
  #started = false;
  #seen: { readonly storageMs: number; readonly monotonicMs: number } | null = null;
  #quietLooks = 0;

  constructor(engine: Engine, health: Health, cleaner: Cleaner) {
    this.#engine = engine;
    this.#health = health;
    this.#cleaner = cleaner;
  }

  start(): void {
    if (this.#started || this.#engine.closing !== null) return;
    this.#started = true;
    this.#arm();
  }

  /** Resolves when what is under way has ended. */
  async stop(): Promise<void> {
    this.#started = false;
    this.#cancel?.();
    this.#cancel = null;
    await this.#running;
  }

  #arm(): void {
    const { clock, random, settings } = this.#engine;
    const delayMs = settings.monitorIntervalMs * (1 + JITTER * (2 * random.fraction() - 1));
    this.#cancel = clock.schedule(delayMs, () => {
      this.#running = this.#run().finally(() => {
        this.#running = null;
        if (this.#started) this.#arm();
      });
    });
  }

  /** What is removed is gone: not by a clock that was wrong for a moment. */
  #doubts(storageMs: number): boolean {
    const { clock, emitter } = this.#engine;
    const monotonicMs = clock.monotonicMs();
    const aheadMs = storageMs - clock.wallMs();
    const before = this.#seen;
    this.#seen = { storageMs, monotonicMs };
    const jumpedMs = before === null ? 0 : storageMs - before.storageMs - (monotonicMs - before.monotonicMs);
    if (aheadMs > AHEAD_MS || Math.abs(jumpedMs) > JUMP_MS) {
      if (this.#quietLooks === 0)
        emitter.alert('clock_jump', { jumped_ms: String(Math.round(Math.max(aheadMs, Math.abs(jumpedMs)))) });
      this.#quietLooks = QUIET_LOOKS;
    }
    if (this.#quietLooks === 0) return false;
    this.#quietLooks -= 1;
    return true;
  }

  async #run(): Promise<void> {
    try {
      const { nowMs } = await this.#health.look();
      if (this.#doubts(nowMs)) return;
      const { more } = await this.#cleaner.cleanup({ limit: ROUND });
      if (more) log.recovery('clean-up goes on with the next look');
    } catch (error) {
      // The sweeper tells of a storage that is away.
      log.recovery('monitoring failed: %s', kindOf(error));
    }
  }
}
