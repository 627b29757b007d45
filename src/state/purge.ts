/**
 * Removal of a task that is out of its retention. One with few records goes in one batch. One with many is marked as
 * `purging` first and goes a page of records at a time, each under its guard, the head last: whoever was interrupted is
 * followed by somebody who goes on where the mark says. Nobody claims or shows a task that is marked.
 */
import type { Batch } from '../storage/storage.js';
import { PURGING_FIELD } from './head.js';
import type { Head } from './head.js';
import { keys } from './keys.js';
import { piecesOf, removeBatch } from './removal.js';
import type { Stamp } from './removal.js';
import { makeToken } from './token.js';

/** Records removed with one batch, so that no call holds the storage for long. */
export const RECORDS_A_BATCH = 500;

/** The next step of its removal, how many records that removes, and what is left then: null after the last one. */
export interface PurgeStep {
  readonly batch: Batch;
  readonly records: number;
  readonly rest: Head | null;
}

export function purgeStep(head: Head, stamp: Stamp): PurgeStep {
  const { taskId, fence } = head.task;
  // In an order of its own: that of a record's fields may change between two reads.
  const pieces = piecesOf(head).toSorted();
  const removed = Math.min(head.purged ?? 0, pieces.length);
  const left = pieces.slice(removed);
  if (left.length <= RECORDS_A_BATCH)
    return { batch: removeBatch(head, stamp, left), records: left.length + 6, rest: null };
  const page = left.slice(0, RECORDS_A_BATCH);
  const key = keys.head(taskId);
  const token = makeToken(fence, stamp.nonce, 0);
  const purged = removed + page.length;
  const batch: Batch = {
    guard: { key, expect: head.token, next: token },
    notAfter: stamp.notAfter,
    remove: page,
    set: [{ key, fields: { [PURGING_FIELD]: String(purged) } }],
  };
  return { batch, records: page.length, rest: { ...head, token, purged } };
}
