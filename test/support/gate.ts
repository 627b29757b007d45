/** A gate in a task, for tests that look at it meanwhile. */
import { deferred } from '../../src/runtime/deferred.js';
import type { Deferred } from '../../src/runtime/deferred.js';

/** Something that is waited for until it is opened. */
export interface Gate {
  readonly reached: Deferred<void>;
  readonly opened: Deferred<void>;
  /** Waits in a task, until it is open or the signal aborts. */
  pass(signal: AbortSignal): Promise<void>;
}

export function gate(): Gate {
  const reached = deferred<void>();
  const opened = deferred<void>();
  return {
    reached,
    opened,
    pass: async (signal) => {
      reached.resolve();
      const stopped = new Promise<never>((_, reject) => {
        signal.addEventListener('abort', () => reject(new Error('stopped', { cause: signal.reason })));
      });
      await Promise.race([opened.promise, stopped]);
    },
  };
}
