/** What a queue says of itself. */
import { isObject } from '../domain/check-options.js';
import type { Dispatcher, QueueCounts } from '../domain/dispatch.js';
import { RecoveryError } from '../errors.js';
import { within } from './deferred.js';
import type { Engine } from './engine.js';

/** How long it may take to answer, in ms. */
const ASK_MS = 5_000;

/** @throws `QUEUE_UNAVAILABLE`, and what it throws */
export async function countsOf({ clock }: Engine, queue: Dispatcher): Promise<QueueCounts> {
  const late = (): Error => new RecoveryError('QUEUE_UNAVAILABLE', `no answer within ${ASK_MS} ms`);
  const asked = Promise.resolve().then(() => queue.describe?.());
  const counts: unknown = await within(clock, ASK_MS, asked, late);
  return {
    waiting: count(counts, 'waiting'),
    active: count(counts, 'active'),
    failed: count(counts, 'failed'),
  };
}

function count(counts: unknown, state: keyof QueueCounts): number {
  const value = isObject(counts) ? counts[state] : null;
  if (typeof value === 'number' && value >= 0 && Number.isFinite(value)) return value;
  throw new RecoveryError('QUEUE_UNAVAILABLE', `the queue's \`describe\` gave no number of ${state} jobs`);
}
