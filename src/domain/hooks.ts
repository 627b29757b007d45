/** What watches over a Recovery from outside: for spans and histograms. */

/** An attempt that is about to run its function. */
export interface AttemptInfo {
  readonly taskId: string;
  readonly name: string;
  /** From 1. */
  readonly attempt: number;
  readonly fence: number;
  /** Whether it takes up what an earlier attempt left. */
  readonly recovered: boolean;
  /** What an earlier attempt's watcher has left with `keep`; null without one. */
  readonly kept: string | null;
  /** Leaves up to 1,024 characters for watchers of the next attempt, wherever it runs. Written with the attempt's next write. */
  readonly keep: (text: string) => void;
}

/** A step that is about to run: not one whose result was kept. */
export interface StepInfo {
  readonly taskId: string;
  readonly name: string;
  readonly step: string;
}

/** A checkpoint that is durable. */
export interface CheckpointWritten {
  readonly taskId: string;
  readonly name: string;
  readonly checkpoint: string;
  /** Characters of JSON that were stored. */
  readonly size: number;
  /** From the call to the storage's answer, in ms. */
  readonly latencyMs: number;
}

/** A task that was taken back. */
export interface Takeover {
  readonly taskId: string;
  readonly name: string;
  readonly attempt: number;
  readonly cause: string;
  readonly decision: string;
  /** From the dead owner's last sign of life to the claim, in ms; null when nobody died. */
  readonly silentMs: number | null;
}

/**
 * Watches. What a hook throws or rejects with is ignored, and a hook that doesn't call `run` is passed over: what it
 * watches runs once all the same. Hooks that are given `run` should call it at once, and return its promise.
 */
export interface RecoveryHooks {
  /** Around an attempt's function. */
  readonly attempt?: (about: AttemptInfo, run: () => Promise<unknown>) => unknown;
  /** Around a step's function. */
  readonly step?: (about: StepInfo, run: () => Promise<unknown>) => unknown;
  /** Around a pass of recovery, until all that it started has ended. */
  readonly recovery?: (run: () => Promise<unknown>) => unknown;
  readonly checkpoint?: (about: CheckpointWritten) => unknown;
  readonly takeover?: (about: Takeover) => unknown;
}
