/** The real event loop, also while a test runner's fake timers are on: those replace what is global. */
const immediate = globalThis.setImmediate;
const timeout = globalThis.setTimeout;
const performance = globalThis.performance;
const now = performance.now.bind(performance);

/** Runs `fn` after the event loop has turned once. */
export function nextTurn(fn: () => void): void {
  immediate(fn);
}

/** Resolves once no microtask is left. */
export function drained(): Promise<void> {
  return new Promise((resolve) => {
    immediate(resolve);
  });
}

/** Resolves after a moment of real time. */
export function realMoment(): Promise<void> {
  return new Promise((resolve) => {
    timeout(resolve, 1);
  });
}

/** Real monotonic time in ms. */
export function realNowMs(): number {
  return now();
}
