/** An orderly end on a signal, for those who ask for it: a library must not take over a process unasked. */
import { constants } from 'node:os';
import { checkOptions, listOf, number, oneOf } from '../domain/check-options.js';
import { kindOf } from '../errors.js';
import { log } from '../log.js';
import type { ShutdownOptions } from './recovery.js';

/** Options of `handleSignals`. */
export interface SignalOptions extends ShutdownOptions {
  /** Default `['SIGTERM', 'SIGINT']`. */
  readonly signals?: readonly ('SIGTERM' | 'SIGINT' | 'SIGHUP' | 'SIGQUIT')[];
}

const CHECKS = {
  signals: listOf(oneOf('SIGTERM', 'SIGINT', 'SIGHUP', 'SIGQUIT')),
  timeoutMs: number(0, 86_400_000),
};

/** Shutdowns on a signal that go on, of all Recoveries of this process: the last one to end lets the signal through. */
const pending = new Map<NodeJS.Signals, number>();

/** Returns a function that takes the handlers off. @throws `INVALID_OPTION` */
export function handleSignals(
  shutdown: (options: ShutdownOptions) => Promise<void>,
  options: SignalOptions = {},
): () => void {
  checkOptions('handleSignals', options, CHECKS, []);
  const { signals = ['SIGTERM', 'SIGINT'], timeoutMs } = options;
  const off = (): void => {
    for (const signal of signals) process.off(signal, end);
  };
  const end = (signal: NodeJS.Signals): void => {
    // From here on a second one does what it always did.
    off();
    pending.set(signal, (pending.get(signal) ?? 0) + 1);
    const last = (): void => {
      const others = (pending.get(signal) ?? 1) - 1;
      pending.set(signal, others);
      if (others > 0) return;
      // Others who listen decide for themselves; where nobody does, the process ends by the signal, as it should.
      if (process.listenerCount(signal) > 0) return;
      // The first process of a container is not ended by a signal that it has no handler for.
      if (process.pid === 1) process.exit(128 + constants.signals[signal]);
      else process.kill(process.pid, signal);
    };
    shutdown(timeoutMs === undefined ? {} : { timeoutMs })
      .catch((error: unknown) => log.recovery('the shutdown on %s failed: %s', signal, kindOf(error)))
      .finally(last);
  };
  for (const signal of signals) process.on(signal, end);
  return off;
}
