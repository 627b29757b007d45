/** What the owner of a task counts with its end, as additions to the draft that ends it. */
import type { Draft } from './draft.js';
import { counterFields } from './failures.js';
import type { KnownFailure } from './failures.js';
import { keys } from './keys.js';
import { countRecovery } from './recovery-counters.js';
import type { RecoveryFigures } from './recovery-counters.js';

/** A moment by both clocks: this process's, and the storage's as far as this process knows it. */
export interface Moment {
  readonly monotonicMs: number;
  readonly storageMs: number;
}

/** What a task was known for when it was taken. */
interface Known {
  readonly failed: KnownFailure | null;
  readonly recovered: boolean;
  readonly startedMs: number;
}

export function countCompleted(draft: Draft, start: Known, { monotonicMs, storageMs }: Moment): void {
  const tookMs = Math.max(0, Math.round(monotonicMs - start.startedMs));
  if (start.recovered) count(draft, { succeeded: 1, succeededMs: tookMs }, storageMs);
  // A failed document's retry has succeeded.
  if (start.failed === null) return;
  draft.increment(keys.retryCounters, counterFields.succeeded, 1);
  draft.increment(keys.retryCounters, counterFields.succeededMs, tookMs);
}

export function countFailed(draft: Draft, { recovered }: Known, { storageMs }: Moment): void {
  count(draft, { failures: 1, ...(recovered ? { failed: 1 } : {}) }, storageMs);
}

function count(draft: Draft, figures: Partial<RecoveryFigures>, atMs: number): void {
  for (const { key, field, by } of countRecovery(figures, atMs)) draft.increment(key, field, by);
}
