/** What watches over a Recovery from outside: for spans and histograms. */
import type { OrphanCause, RecoveryAction } from './task.js';

/** What was watched has ended. An error is the one that was thrown, as it is: it may hold what users gave. */
export type Watched = { readonly ok: true } | { readonly ok: false; readonly error: unknown };

/** An attempt that is about to run its function. */
export interface AttemptInfo {
  readonly taskId: string;
  readonly name: string;
  /** From 1. */
  readonly attempt: number;
  readonly fence: number;
  /** Whether it takes up what an earlier attempt left. */
  readonly recovered: boolean;
  /** How the task was found to be free to take; null for a first start. */
  readonly cause: OrphanCause | null;
  /** What the planner decided; null for a first start. */
  readonly decision: RecoveryAction | null;
  /** What was left with `keep` last, by whichever attempt; null without that. */
  readonly kept: string | null;
  /**
   * Leaves a text for watchers of later attempts, wherever they run. It is written with the attempt's next write or
   * renewal, readable in the storage. A task has one such text, the last one stays; over 1,024 characters is ignored.
   */
  readonly keep: (text: string) => void;
}

/** A step that is about to run: not one whose result was kept. */
export interface StepInfo {
  readonly taskId: string;
  readonly name: string;
  readonly attempt: number;
  readonly step: string;
}

/** A checkpoint with a name that is durable. */
export interface CheckpointWritten {
  readonly taskId: string;
  readonly name: string;
  readonly attempt: number;
  readonly checkpoint: string;
  /** Its data and state as they were stored, in bytes of UTF-8: JSON, or what the codec made of it. */
  readonly sizeBytes: number;
  /** From the call to the storage's answer, in ms. */
  readonly latencyMs: number;
}

/** A task that was taken back. */
export interface Takeover {
  readonly taskId: string;
  readonly name: string;
  /** The attempt that begins with it. */
  readonly attempt: number;
  readonly cause: OrphanCause;
  readonly decision: RecoveryAction;
  /** From the dead owner's last sign of life to the claim, in ms; null when nobody died. */
  readonly silentMs: number | null;
}

/** What a pass of recovery came to, in numbers of tasks. */
export interface PassFigures {
  readonly discovered: number;
  readonly recovered: number;
  readonly failed: number;
  readonly skipped: number;
  readonly deferred: number;
  readonly deadLettered: number;
}

/** A pass of recovery has ended. */
export type WatchedPass =
  { readonly ok: true; readonly figures: PassFigures } | { readonly ok: false; readonly error: unknown };

/**
 * Watches a Recovery: `createRecovery({ hooks })` or `recovery.instrument(hooks)`. Those that are given `run` call it
 * before they return or await anything; what they enter around it (an `AsyncLocalStorage`, a span) is there in what
 * runs. `run` never rejects, and says how it ended. A hook can't change the work: what it throws or rejects with is
 * ignored, and where it has not called `run` by the time it returns, the work runs without it, once in any case.
 * @example
 * const hooks = {
 *   attempt: async ({ name }, run) => {
 *     const startedMs = performance.now();
 *     const { ok } = await run();
 *     console.log(name, ok ? 'returned' : 'threw', performance.now() - startedMs);
 *   },
 * };
 */
export interface RecoveryHooks {
  /** Around an attempt's function. Not around `validate`, `migrate` and the end's write. */
  readonly attempt?: ((about: AttemptInfo, run: () => Promise<Watched>) => unknown) | undefined;
  /** Around a step's function. */
  readonly step?: ((about: StepInfo, run: () => Promise<Watched>) => unknown) | undefined;
  /** Around a pass of recovery, until all that it started has ended. Most passes find nothing. */
  readonly recovery?: ((run: () => Promise<WatchedPass>) => unknown) | undefined;
  readonly checkpoint?: ((about: CheckpointWritten) => unknown) | undefined;
  readonly takeover?: ((about: Takeover) => unknown) | undefined;
}
