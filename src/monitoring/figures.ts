/** Figures about a namespace, from indexes and counters: what they cost does not depend on how many tasks there are. */
import { indexes, keys } from '../state/keys.js';
import type { RecoveryFigures } from '../state/recovery-counters.js';
import type { Store } from '../state/store.js';

/** How much there is to do, and how it goes. */
export interface Workload {
  /** Under a live lease. */
  readonly processing: number;
  /** With a lease, or a hand-over, that is over, not in the recovery queue yet. */
  readonly overdue: number;
  readonly queue: number;
  readonly stuck: number;
  /** Workers that are alive: their own leases are. */
  readonly workers: number;
  /** How long the attempt that runs for longest has been running, in ms, as its worker told last; null without one. */
  readonly oldestProcessingMs: number | null;
  /** When orphans were looked for last, in ms since 1970; null when they never were. */
  readonly lastRunMs: number | null;
  /** ms since 1970, by the storage's clock. */
  readonly nowMs: number;
}

/** The field of a worker's record that says when the oldest of its attempts began. */
export const OLDEST_FIELD = 'oldestAt';
export const RUN_FIELD = 'endedAt';

/** @param names the task names to count */
export async function readWorkload(store: Store, names: readonly string[]): Promise<Workload> {
  const overNames = async (
    index: (name: string) => string,
    bounds?: { to: { fromNow: 0 } },
  ): Promise<number> => {
    const counts = await Promise.all(names.map((name) => store.count(index(name), bounds)));
    return counts.reduce((sum, count) => sum + count, 0);
  };
  const running = (name: string): string => indexes.inState('processing', name);
  const [held, overdue, lost, queue, stuck, workers, oldestAtMs, { records, nowMs }] = await Promise.all([
    overNames(running),
    overNames(running, { to: { fromNow: 0 } }),
    overNames((name) => indexes.inState('pending', name), { to: { fromNow: 0 } }),
    overNames((name) => indexes.inState('orphaned', name)),
    overNames(indexes.stuck),
    store.countIn(store.home, indexes.workers, { from: { fromNow: 0 } }),
    oldestAttempt(store),
    store.readEach(store.home, [keys.recoveryRun]),
  ]);
  const run = records[0] instanceof Error ? Number.NaN : Number(records[0]?.get(RUN_FIELD) ?? Number.NaN);
  return {
    // Counted one after the other: one that is taken back meanwhile must not show as less than nothing.
    processing: Math.max(0, held - overdue),
    overdue: overdue + lost,
    queue,
    stuck,
    workers,
    oldestProcessingMs: oldestAtMs === null ? null : Math.max(0, nowMs - oldestAtMs),
    lastRunMs: Number.isFinite(run) ? run : null,
    nowMs,
  };
}

/** When it began, in ms since 1970. Only workers that are alive are asked: what others held is orphaned. */
async function oldestAttempt(store: Store): Promise<number | null> {
  let oldest: number | null = null;
  for await (const { entries } of store.pages(store.home, indexes.workers, { from: { fromNow: 0 } })) {
    const wanted = entries.map(({ id }) => keys.worker(id));
    const { records } = await store.readEach(store.home, wanted);
    for (const record of records) {
      const text = record instanceof Error ? null : record?.get(OLDEST_FIELD);
      const atMs = text === undefined || text === null || text === '' ? Number.NaN : Number(text);
      if (atMs >= 0 && Number.isFinite(atMs)) oldest = Math.min(oldest ?? atMs, atMs);
    }
  }
  return oldest;
}

/** Of what ended in a window, the part that ended well, in percent; null when nothing ended. */
export function successRate({ succeeded, failed }: RecoveryFigures): number | null {
  return succeeded + failed === 0 ? null : (100 * succeeded) / (succeeded + failed);
}
