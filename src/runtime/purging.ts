/** Takes one task away that has ended, step by step. */
import type { Head } from '../state/head.js';
import { purgeStep } from '../state/purge.js';
import { applied, changing, stampFor } from './commits.js';
import type { Engine } from './engine.js';
import { readHeads } from './heads.js';

/** Steps before somebody gives up on it: more than the largest task has pages. */
const STEPS = 10_000;

/** Whether it was this call that took it away; false: somebody else did, or it has come to life again. */
export async function purge(engine: Engine, head: Head): Promise<boolean> {
  const { taskId } = head.task;
  const partition = engine.store.partitionOf(taskId);
  let next = head;
  for (let steps = 0; steps < STEPS; steps += 1) {
    const { batch, rest } = purgeStep(next, stampFor(engine, taskId));
    if (await applied(engine, partition, batch)) {
      if (rest === null) return true;
      // Not read again: a head with thousands of steps takes longer to read than a page of them to remove.
      next = rest;
      continue;
    }
    const [now = null] = await readHeads(engine.store, partition, [taskId]);
    if (now instanceof Error) throw now;
    // Without the mark it is another life of it.
    if (now === null || now.purged === null) return false;
    next = now;
  }
  throw changing(taskId);
}
