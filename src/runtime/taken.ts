/** The tasks of a pass, in the order in which they are taken. */
import type { Orphan } from './orphans.js';
import type { Queued } from './recovery-queue.js';

/** A task to be taken: out of the queue, or as it was found. */
export interface Taken extends Pick<Queued, 'taskId' | 'name'> {
  readonly orphan?: Orphan;
}

/** It waited for a slot: it may have been cancelled since it was read. */
export function readLongAgo({ orphan, ...taken }: Taken): Taken {
  return orphan === undefined ? taken : { ...taken, orphan: { ...orphan, control: null } };
}

/** What was found first: there is a slot for all of it. */
export async function* inTurn(
  found: AsyncIterable<Orphan>,
  queued: AsyncIterable<Queued>,
): AsyncGenerator<Taken> {
  for await (const orphan of found) {
    const { taskId, name } = orphan.head.task;
    yield { taskId, name, orphan };
  }
  yield* queued;
}
