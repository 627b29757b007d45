/** What the owner of a task writes about it as a failed document, as additions to the draft that ends it. */
import type { Draft } from './draft.js';
import { failed, forgotten } from './failures.js';
import type { Failure, FailureChange, KnownFailure } from './failures.js';
import { keys } from './keys.js';

/** What is to be kept of a failure. */
export interface NewFailure {
  readonly failure: Failure;
  /** JSON text of its details, as it is to be stored. */
  readonly details: string;
}

/** A task, and what it was known for when it was taken. */
interface Known {
  readonly taskId: string;
  readonly failed: KnownFailure | null;
}

function apply(draft: Draft, taskId: string, { head, index }: FailureChange): void {
  draft.set(keys.head(taskId), head);
  for (const entry of index) draft.index(entry.index, entry.id, entry.score);
}

/** A failed document is kept for another try. */
export function keepFailure(
  draft: Draft,
  { taskId, failed: before }: Known,
  { failure, details }: NewFailure,
): void {
  apply(draft, taskId, failed(taskId, before, failure));
  draft.set(keys.failure(taskId), { data: details, at: { fromNow: 0 } });
}

/** It is no failed document any more. */
export function forgetFailure(draft: Draft, { taskId, failed: before }: Known): void {
  if (before === null) return;
  apply(draft, taskId, forgotten(taskId, before.failure));
  draft.remove(keys.failure(taskId));
}
