/**
 * The next tries of a task that this process has begun: after an error that leaves it some, it waits, and takes it again
 * unless another process has. Whoever waits for the task here hears its end wherever that comes.
 */
import type { Attempt } from './attempt.js';
import type { ClaimResult } from './claims.js';
import { once } from './deferred.js';
import type { Engine } from './engine.js';
import { assertOpen, pause } from './engine.js';
import type { Slots } from './slots.js';

/** A task that is under way, or done. The promise is in a box: an async function would wait for it otherwise. */
export interface Started {
  readonly result: Promise<unknown>;
}

export type StartedClaim = Extract<ClaimResult, { kind: 'started' }>;

/** A first attempt that was just made. */
export interface FirstStart {
  readonly attempt: Attempt;
  readonly result: Promise<unknown>;
  /** The JSON text of the arguments; null: not known. */
  readonly inputText: string | null;
}

/** What there is under a task's id, and what follows from it. */
export type Look = () => Promise<FirstStart | StartedClaim | Started | 'missing' | 'running' | 'again'>;

/** How often a task in other hands is looked at, in ms. */
export function pollMs({ settings }: Engine): number {
  return Math.max(20, settings.leaseMs / 20);
}

export class Retries {
  readonly #engine: Engine;
  readonly #taskId: string;
  readonly #look: Look;
  readonly #slots: Slots | null;

  constructor(engine: Engine, taskId: string, look: Look, slots: Slots | null) {
    this.#engine = engine;
    this.#taskId = taskId;
    this.#look = look;
    this.#slots = slots;
  }

  /** `release` gives back the slot that this attempt has. */
  async follow(
    { attempt, result }: StartedClaim | FirstStart,
    release: () => void = () => {},
  ): Promise<unknown> {
    try {
      return await result;
    } catch (error) {
      if (attempt.retryInMs === null) throw error;
      release();
      await pause(this.#engine, this.#taskId, attempt.retryInMs);
      return this.#again(error);
    }
  }

  async #again(error: unknown): Promise<unknown> {
    await this.#slots?.acquire();
    const release = once(() => this.#slots?.release());
    try {
      const next = await this.#takeAgain(error);
      return await ('attempt' in next ? this.follow(next, release) : next.result);
    } finally {
      release();
    }
  }

  async #takeAgain(error: unknown): Promise<FirstStart | StartedClaim | Started> {
    for (;;) {
      assertOpen(this.#engine);
      const found = await this.#look();
      // Its records were removed.
      if (found === 'missing') throw error;
      if (typeof found === 'object') return found;
      await pause(this.#engine, this.#taskId, pollMs(this.#engine));
    }
  }
}
