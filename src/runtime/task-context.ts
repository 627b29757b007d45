/** The context of one attempt. A class, so that what all contexts have in common is not made anew for each. */
import { AsyncLocalStorage } from 'node:async_hooks';
import type { Checkpoint } from '../domain/task.js';
import type { LiveTaskStart } from '../state/live-task.js';
import type { RecoveryContext } from './context.js';
import type { Gate } from './gate.js';
import { handled, promised } from '../handled.js';
import type { Journal } from './journal.js';
import type { Pieces } from './pieces.js';
import type { JsonObject } from './task-options.js';

/** What a context needs of its attempt. */
export interface ContextOwner {
  readonly journal: Journal;
  /** JSON text of the caller's context. */
  readonly userText: string | null;
  /** Its signal is made on first use: most tasks never look, and a controller is a third of a task's heap. */
  readonly gate: Gate;
  /** Made on first use, too. */
  pieces(): Pieces;
}

const running = new AsyncLocalStorage<RecoveryContext>();

/**
 * The context of the task that this code runs in, also behind `await`s, timers and callbacks; null outside of tasks.
 * @example logger.info({ taskId: currentTask()?.taskId }, 'page done');
 */
export function currentTask(): RecoveryContext | null {
  return running.getStore() ?? null;
}

/** Runs a function so that it finds the context with `currentTask`. */
export function runIn<T>(context: RecoveryContext, fn: () => T): T {
  return running.run(context, fn);
}

export class TaskContext implements RecoveryContext {
  readonly fence: number;
  readonly #start: LiveTaskStart;
  readonly #owner: ContextOwner;
  #userContext: JsonObject | null = null;
  // Bound when they are asked for first: most of many running tasks wait for something else.
  #updateProgress: RecoveryContext['updateProgress'] | null = null;
  #createCheckpoint: RecoveryContext['createCheckpoint'] | null = null;

  constructor(owner: ContextOwner, start: LiveTaskStart, fence: number) {
    this.#owner = owner;
    this.#start = start;
    this.fence = fence;
  }

  get taskId(): string {
    return this.#start.taskId;
  }

  get name(): string {
    return this.#start.name;
  }

  get attempt(): number {
    return this.#start.attempt;
  }

  get signal(): AbortSignal {
    return this.#owner.gate.signal();
  }

  get userContext(): JsonObject | null {
    const { userText } = this.#owner;
    if (userText !== null) this.#userContext ??= JSON.parse(userText);
    return this.#userContext;
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

  get reached(): RecoveryContext['reached'] {
    return (name) => this.#owner.journal.reached(name);
  }

  get updateProgress(): RecoveryContext['updateProgress'] {
    return (this.#updateProgress ??= (percent, step, description) =>
      handled(() => this.#owner.journal.progress(percent, step, description)));
  }

  get createCheckpoint(): RecoveryContext['createCheckpoint'] {
    return (this.#createCheckpoint ??= (checkpoint) =>
      promised(() => this.#owner.journal.checkpoint(checkpoint)));
  }
}
