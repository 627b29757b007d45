/** What belongs to a task besides its head, and the batch that takes all of it away. */
import type { Batch } from '../storage/storage.js';
import { forgotten } from './failures.js';
import type { Head } from './head.js';
import { indexes, KEPT_CHECKPOINTS, keys } from './keys.js';
import { leave } from './transitions.js';

/** Whoever makes a batch for a task that nobody holds. */
export interface Stamp {
  readonly nonce: string;
  readonly notAfter: number;
  /** The storage's time, as it knows it. */
  readonly atMs: number;
}

/** Keys of the records that a task's checkpoints, steps and items have, or may have. */
export function piecesOf({ task: { taskId }, pieces, discovering, reached }: Head): string[] {
  const buckets = new Map([
    ...discovering,
    ...[...pieces.maps].map(([map, mark]) => [map, mark.buckets] as const),
  ]);
  const ledgers = [...buckets].flatMap(([map, count]) =>
    Array.from({ length: count }, (_, bucket) => keys.ledger(taskId, map, bucket)),
  );
  const checkpoints = Math.min(reached.size === 0 ? 0 : Math.max(...reached.values()), KEPT_CHECKPOINTS);
  return [
    // An entry in the head may have had a record of its own before.
    ...[...pieces.steps.keys()].map((name) => keys.step(taskId, name)),
    ...ledgers,
    // They are numbered from 1, and their records form a ring.
    ...Array.from({ length: checkpoints }, (_, at) => keys.checkpoint(taskId, at + 1)),
  ];
}

/**
 * Takes a task that has ended away, with all that belongs to it.
 * @param pieces what is left of its checkpoints, steps and items
 */
export function removeBatch(
  head: Head,
  { notAfter }: Stamp,
  pieces: readonly string[] = piecesOf(head),
): Batch {
  const { taskId } = head.task;
  const failure = head.failed?.failure ?? null;
  return {
    guard: { key: keys.head(taskId), expect: head.token, next: null },
    notAfter,
    remove: [
      keys.input(taskId),
      keys.result(taskId),
      keys.control(taskId),
      keys.failure(taskId),
      keys.quarantine(taskId),
      ...pieces,
    ],
    index: [
      ...leave(head),
      { index: indexes.quarantined(head.task.name), id: taskId, score: null },
      ...(head.group === null ? [] : [{ index: indexes.group(head.group), id: taskId, score: null }]),
      ...(failure === null ? [] : forgotten(taskId, failure).index),
    ],
  };
}
