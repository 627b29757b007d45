/** What the commit queue takes: sources of batches. */
import type { RecoveryError } from '../errors.js';
import { log } from '../log.js';
import type { Batch, Outcome } from '../storage/storage.js';

/** Something that has a batch to commit. At most one batch a source is on its way. */
export interface BatchSource {
  readonly partition: string;
  /** True when the batch renews a lease. */
  readonly urgent: boolean;
  /** True when nobody waits for the batch any more: it is not sent again. */
  readonly abandoned: boolean;
  /** Roughly how many characters the batch holds. */
  readonly size: number;
  /** The batch; the very same one until it is settled. */
  freeze(): Batch;
  settle(outcome: Outcome, nowMs: number): void;
  fail(error: RecoveryError): void;
}

/**
 * A counter that something else has written over must not keep a task from ending: the same once more, without counting.
 * Null when it was not refused for that.
 */
export function withoutCounters(
  source: BatchSource,
  batch: Batch | undefined,
  outcome: Outcome,
): BatchSource | null {
  if (outcome.status !== 'refused' || batch?.increment === undefined || batch.increment.length === 0)
    return null;
  if (outcome.code !== 'NOT_A_NUMBER' && outcome.code !== 'WRONG_TYPE') return null;
  log.queue('a counter is damaged: %s', outcome.code);
  const { increment: _, ...rest } = batch;
  return {
    partition: source.partition,
    urgent: source.urgent,
    size: source.size,
    get abandoned() {
      return source.abandoned;
    },
    freeze: () => rest,
    settle: (again, nowMs) => source.settle(again, nowMs),
    fail: (error) => source.fail(error),
  };
}
