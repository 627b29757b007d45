/** Figures about failed documents: counted by indexes, nothing is scanned. */
import type { DocumentStatus, FailureAnalysis } from '../domain/document-recovery.js';
import { countDue } from '../state/eligibility.js';
import type { RetryRule } from '../state/eligibility.js';
import type { FailedDocumentsTracker } from '../state/failed-documents.js';
import { counterFields, failureIndexes } from '../state/failures.js';
import { keys } from '../state/keys.js';
import type { Store } from '../state/store.js';
import { makeToken } from '../state/token.js';
import { TOKEN_FIELD } from '../storage/storage.js';
import { applied } from './commits.js';
import type { Engine } from './engine.js';
import { notAfter } from './engine.js';

type Counters = Readonly<Record<keyof typeof counterFields, number>>;

/** Over all partitions. A counter that something else has written over counts as nothing. */
async function countersOf(store: Store): Promise<Counters> {
  const sums = { attempts: 0, succeeded: 0, failed: 0, succeededMs: 0 };
  const records = await Promise.all(
    store.partitions.map(
      async (partition) => (await store.readEach(partition, [keys.retryCounters])).records[0],
    ),
  );
  for (const record of records) {
    if (!record || record instanceof Error) continue;
    for (const field of Object.values(counterFields)) {
      const count = Number(record.get(field) ?? 0);
      if (Number.isSafeInteger(count) && count >= 0) sums[field] += count;
    }
  }
  return sums;
}

export async function statusOf(store: Store, rule: RetryRule, running: boolean): Promise<DocumentStatus> {
  const [total, dead, due, counters, { records }] = await Promise.all([
    store.count(failureIndexes.all),
    store.count(failureIndexes.dead),
    countDue(store, rule),
    countersOf(store),
    store.readEach(store.home, [keys.documentRun]),
  ]);
  const { attempts, succeeded, failed, succeededMs } = counters;
  const last = records[0] instanceof Error ? undefined : records[0]?.get('endedAt');
  return {
    total_failed_documents: total,
    documents_eligible_for_retry: due,
    dead_letters: dead,
    recovery_attempts: attempts,
    successful_recoveries: succeeded,
    failed_recoveries: failed,
    recovery_success_rate: succeeded + failed === 0 ? null : succeeded / (succeeded + failed),
    average_recovery_time: succeeded === 0 ? null : succeededMs / succeeded,
    last_recovery_run: last === undefined ? null : Number(last),
    running,
  };
}

const HOUR_MS = 3_600_000;

export async function analysisOf(store: Store, failures: FailedDocumentsTracker): Promise<FailureAnalysis> {
  const older = (hours: number): Promise<number> =>
    store.count(failureIndexes.all, { to: { fromNow: -hours * HOUR_MS } });
  const [total, over1, over6, over24, over7Days] = await Promise.all([
    store.count(failureIndexes.all),
    older(1),
    older(6),
    older(24),
    older(7 * 24),
  ]);
  const [categories, workers, patterns] = await Promise.all([
    failures.countBy('category'),
    failures.countBy('worker'),
    failures.countBy('query'),
  ]);
  // Counted one after the other: one that crosses a line meanwhile must not show as less than nothing.
  const between = (younger: number, old: number): number => Math.max(0, younger - old);
  return {
    total,
    ages: {
      under_1_hour: between(total, over1),
      from_1_to_6_hours: between(over1, over6),
      from_6_to_24_hours: between(over6, over24),
      from_1_to_7_days: between(over24, over7Days),
      over_7_days: over7Days,
    },
    categories: mostFirst(categories),
    workers: mostFirst(workers),
    query_patterns: mostFirst(patterns),
  };
}

function mostFirst(counts: ReadonlyMap<string, number>): Record<string, number> {
  return Object.fromEntries([...counts].toSorted(([, a], [, b]) => b - a));
}

/** Keeps when documents were recovered last, anywhere. Of two runs that end at once one is enough. */
export async function noteRun(engine: Engine): Promise<void> {
  const { store, random } = engine;
  const key = keys.documentRun;
  const { records } = await store.readEach(store.home, [key]);
  // Something else stands there: that is no reason for a run to have failed.
  if (records[0] instanceof Error) return;
  await applied(engine, store.home, {
    guard: { key, expect: records[0]?.get(TOKEN_FIELD) ?? null, next: makeToken(1, random.nonce(), 0) },
    notAfter: notAfter(engine, store.home),
    set: [{ key, fields: { endedAt: { fromNow: 0 } } }],
  });
}
