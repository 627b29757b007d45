/**
 * Which failed documents are due: read from an index a retry count and wave, scored by the last attempt, so that the
 * present options decide, not those at the time of the failure, and nothing is scanned.
 */
import type { DocumentSettings } from '../domain/document-recovery.js';
import type { Bound } from '../storage/storage.js';
import { failureIndexes, WAVES } from './failures.js';
import type { Store } from './store.js';

/** By what a retry is due. */
export type RetryRule = Pick<DocumentSettings, 'maxRetries' | 'minRetryIntervalMs' | 'maxRetryIntervalMs'>;

/** Failures that have had the same number of retries and are due the same time after their last attempt. */
interface Place {
  readonly index: string;
  readonly retryCount: number;
  /** How long they wait, in ms. */
  readonly delayMs: number;
}

/**
 * From the last attempt to the next: the minimum, twice as long for each retry before up to a bound, plus up to half of
 * it by the document's wave (the same each time it is asked, another one for its next retry).
 */
export function retryDelayMs(rule: RetryRule, retryCount: number, wave: number): number {
  const baseMs = Math.min(rule.maxRetryIntervalMs, rule.minRetryIntervalMs * 2 ** retryCount);
  return Math.ceil(baseMs * (1 + wave / (2 * WAVES)));
}

/** The places of a partition at which failures have ever waited. */
export async function waitingPlaces(store: Store, partition: string, rule: RetryRule): Promise<Place[]> {
  const places: Place[] = [];
  for await (const { entries } of store.pages(partition, failureIndexes.waitingPlaces)) {
    for (const { id } of entries) {
      const [retryCount = Number.NaN, wave = Number.NaN] = id.split(':').map(Number);
      if (!Number.isInteger(retryCount) || !Number.isInteger(wave)) continue;
      const delayMs = retryDelayMs(rule, retryCount, wave);
      places.push({ index: failureIndexes.waiting(id), retryCount, delayMs });
    }
  }
  return places.toSorted((a, b) => a.retryCount - b.retryCount || a.delayMs - b.delayMs);
}

/** A part of an index. */
export interface Source {
  readonly index: string;
  readonly from?: Bound;
  readonly to?: Bound;
}

/** Where the due documents of a partition stand. */
export async function dueSources(store: Store, partition: string, rule: RetryRule): Promise<Source[]> {
  const places = await waitingPlaces(store, partition, rule);
  return places
    .filter(({ retryCount }) => retryCount < rule.maxRetries)
    .map(({ index, delayMs }) => ({ index, to: { fromNow: -delayMs } }));
}

/** How many documents are due now. */
export async function countDue(store: Store, rule: RetryRule): Promise<number> {
  const counts = await Promise.all(
    store.partitions.map(async (partition) => {
      const sources = await dueSources(store, partition, rule);
      const each = await Promise.all(
        sources.map(({ index, to }) => store.countIn(partition, index, to === undefined ? {} : { to })),
      );
      return each.reduce((sum, count) => sum + count, 0);
    }),
  );
  return counts.reduce((sum, count) => sum + count, 0);
}
