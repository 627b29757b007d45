/** What the owner of a task writes about it as a failed document, as additions to the draft that ends it. */
import type { Fields } from '../storage/storage.js';
import type { Draft } from './draft.js';
import { counterFields, failed, forgotten } from './failures.js';
import type { Failure, FailureChange, KnownFailure } from './failures.js';
import { keys } from './keys.js';

/** What is to be kept of a failure. */
export interface NewFailure {
  readonly failure: Failure;
  /** Fields of its record, as they are to be stored. */
  readonly fields: Fields;
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
  { failure, fields }: NewFailure,
): void {
  apply(draft, taskId, failed(taskId, before, failure));
  draft.set(keys.failure(taskId), fields);
  if (before !== null) draft.increment(keys.retryCounters, counterFields.failed, 1);
}

/** It is no failed document any more. */
export function forgetFailure(draft: Draft, { taskId, failed: before }: Known): void {
  if (before === null) return;
  apply(draft, taskId, forgotten(taskId, before.failure));
  draft.remove(keys.failure(taskId));
}
