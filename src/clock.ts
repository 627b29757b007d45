import { AsyncResource } from 'node:async_hooks';

/**
 * All time in the library comes from a Clock, so that the whole runtime can run under a virtual one.
 * Leases are judged by the storage's own clock; this one measures waiting and silence in this process.
 */
export interface Clock {
  /** Wall time in ms since 1970. Only the in-memory storage and labels use it. */
  wallMs(): number;
  /** Monotonic time in ms; never steps. */
  monotonicMs(): number;
  /** Runs `fn` once after `delayMs`; returns a function that cancels it. `keepAlive` keeps the process up for it. */
  schedule(delayMs: number, fn: () => void, keepAlive?: boolean): () => void;
  /** Runs `fn` after the event loop has turned once. */
  defer(fn: () => void): void;
}

/**
 * Timers belong to nobody: without this they would run in the async context of whoever happened to set them, keep it
 * alive, and show its task to hooks and listeners of others.
 */
const root = new AsyncResource('rekindle');

const LONGEST_TIMER_MS = 2_147_483_647;

/** The machine's clocks and timers. Timers do not keep the process alive unless asked to. */
export const systemClock: Clock = {
  wallMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  schedule(delayMs, fn, keepAlive = false) {
    const timer = root.runInAsyncScope(
      setTimeout,
      null,
      fn,
      Math.min(Math.max(0, delayMs), LONGEST_TIMER_MS),
    );
    if (!keepAlive) timer.unref();
    return () => clearTimeout(timer);
  },
  defer(fn) {
    root.runInAsyncScope(setImmediate, null, fn);
  },
};

/** Resolves after `delayMs` on `clock`; keeps the process alive meanwhile. */
export function sleep(clock: Clock, delayMs: number): Promise<void> {
  return new Promise((resolve) => {
    clock.schedule(delayMs, resolve, true);
  });
}

/** Resolves after the event loop has turned once. */
export function turned(clock: Clock): Promise<void> {
  return new Promise((resolve) => {
    clock.defer(resolve);
  });
}
