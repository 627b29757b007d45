/** Whether an attempt may still do anything, and how its function hears that it may not. */
import type { RecoveryError } from '../errors.js';
import { shutDownError } from './engine.js';
import type { Engine } from './engine.js';
import { contextClosed } from './task-errors.js';

export class Gate {
  readonly #taskId: string;
  #abort: AbortController | null = null;
  #stop: RecoveryError | null = null;
  #closed = false;
  #yielding = false;
  #yielded: RecoveryError | null = null;
  /** Fenced off: nothing of it is written any more. */
  lost = false;
  /** How the task is to end once it was told to. */
  halted: 'failed' | 'cancelled' | null = null;

  constructor(taskId: string) {
    this.#taskId = taskId;
  }

  /** Why it is not to go on; null while it may. */
  get stop(): RecoveryError | null {
    return this.#stop;
  }

  /** What a call was rejected with because it is to yield; null before that. */
  get yielded(): RecoveryError | null {
    return this.#yielded;
  }

  /** Whether its end has begun to be written. */
  get closed(): boolean {
    return this.#closed;
  }

  stopWith(reason: RecoveryError): void {
    this.#stop = reason;
    this.#abort?.abort(reason);
  }

  /** It is to end at its next call on the context. */
  yield(): void {
    this.#yielding = true;
  }

  close(): void {
    this.#closed = true;
  }

  /** Throws when nothing may be begun any more. */
  assertUsable(): void {
    this.assertWritable();
    // Asked to yield: this is the call at which it does. What else is in hand goes on: it can be kept, and its signal
    // stays quiet.
    if (this.#yielding) throw (this.#yielded ??= shutDownError());
  }

  /** Throws when what was done can't be kept any more. */
  assertWritable(): void {
    if (this.#stop !== null) throw this.#stop;
    if (this.#closed) throw contextClosed(this.#taskId);
  }

  signal(): AbortSignal {
    if (this.#abort === null) {
      this.#abort = new AbortController();
      if (this.#stop !== null) this.#abort.abort(this.#stop);
    }
    return this.#abort.signal;
  }
}

/** How long a function that is told to end for good may ignore it, in ms; a third of the lease if that is shorter. */
const GRACE_MS = 5_000;

/** Gives a function that was told to end some time to do so. */
export function graceOf({ clock, settings }: Pick<Engine, 'clock' | 'settings'>, then: () => void): void {
  clock.schedule(Math.min(GRACE_MS, settings.leaseMs / 3), then);
}
