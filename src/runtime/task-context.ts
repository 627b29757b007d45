/** The context of one attempt. A class, so that what all contexts have in common is not made anew for each. */
import type { Checkpoint } from '../domain/task.js';
import type { CheckpointInput, RecoveryContext } from './context.js';
import type { Journal } from './journal.js';
import type { Pieces } from './pieces.js';

/** What a context needs of its attempt. */
export interface ContextOwner {
  readonly taskId: string;
  /** The task's name. */
  readonly name: string;
  readonly attempt: number;
  readonly fence: number;
  readonly journal: Journal;
  /** Made on first use: most tasks never look, and a controller is a third of a task's heap. */
  readonly signal: () => AbortSignal;
  /** Made on first use, too. */
  readonly pieces: () => Pieces;
}

export class TaskContext implements RecoveryContext {
  readonly taskId: string;
  readonly name: string;
  readonly attempt: number;
  readonly fence: number;
  readonly #owner: ContextOwner;

  constructor(owner: ContextOwner) {
    this.taskId = owner.taskId;
    this.name = owner.name;
    this.attempt = owner.attempt;
    this.fence = owner.fence;
    this.#owner = owner;
  }

  get signal(): AbortSignal {
    return this.#owner.signal();
  }

  get resumedFrom(): Checkpoint | null {
    return this.#owner.journal.resumedFrom;
  }

  get lastCheckpoint(): Checkpoint | null {
    return this.#owner.journal.last();
  }

  get step(): RecoveryContext['step'] {
    return this.#owner.pieces().step;
  }

  get map(): RecoveryContext['map'] {
    return this.#owner.pieces().map;
  }

  get idempotencyKey(): RecoveryContext['idempotencyKey'] {
    return this.#owner.pieces().idempotencyKey;
  }

  readonly reached = (name: string): boolean => this.#owner.journal.reached(name);

  readonly updateProgress = (percent: number, step?: string, description?: string): Promise<void> =>
    handled(this.#owner.journal.progress(percent, step, description));

  readonly createCheckpoint = (checkpoint: CheckpointInput): Promise<void> =>
    handled(this.#owner.journal.checkpoint(checkpoint));
}

/** A lost lease or a shutdown must not end the process just because somebody did not wait for a call. */
function handled<T>(call: Promise<T>): Promise<T> {
  call.catch(() => {});
  return call;
}
