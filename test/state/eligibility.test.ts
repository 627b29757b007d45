import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MOST_RETRIES } from '../../src/domain/document-recovery.js';
import { countDue, dueSources, retryDelayMs, waitingPlaces } from '../../src/state/eligibility.js';
import type { RetryRule } from '../../src/state/eligibility.js';
import { FailedDocumentsTracker } from '../../src/state/failed-documents.js';
import type { FailureCommands } from '../../src/state/failure-filter.js';
import { exhausted, failed, failureFields, failureIndexes, waveOf, WAVES } from '../../src/state/failures.js';
import type { Failure } from '../../src/state/failures.js';
import { keys } from '../../src/state/keys.js';
import type { Store } from '../../src/state/store.js';
import { plainStore } from './manual-storage.js';

const NOBODY: FailureCommands = {
  report: () => Promise.reject(new Error('not asked')),
  remove: () => Promise.reject(new Error('not asked')),
  requeue: () => Promise.reject(new Error('not asked')),
};

const someRule: fc.Arbitrary<RetryRule> = fc
  .record({ maxRetries: fc.nat(MOST_RETRIES), min: fc.integer({ min: 1, max: 9_000 }), more: fc.nat(90_000) })
  .map(({ maxRetries, min, more }) => ({
    maxRetries,
    minRetryIntervalMs: min,
    maxRetryIntervalMs: min + more,
  }));

describe('the wait before a retry', () => {
  const rule = { maxRetries: 3, minRetryIntervalMs: 1_000, maxRetryIntervalMs: 5_000 };

  it('doubles up to its bound, and is longer in each wave, by up to half', () => {
    expect([0, 1, 2, 3, 50].map((count) => retryDelayMs(rule, count, 0))).toEqual([
      1_000, 2_000, 4_000, 5_000, 5_000,
    ]);
    expect(Array.from({ length: WAVES }, (_, wave) => retryDelayMs(rule, 0, wave))).toEqual([
      1_000, 1_063, 1_125, 1_188, 1_250, 1_313, 1_375, 1_438,
    ]);
  });

  it('property: never under the minimum, at most half over the doubled one, the same each time', () => {
    const wave = fc.nat(WAVES - 1);
    fc.assert(
      fc.property(someRule, fc.nat(2_000), wave, (some, count, at) => {
        const delayMs = retryDelayMs(some, count, at);
        const baseMs = Math.min(some.maxRetryIntervalMs, some.minRetryIntervalMs * 2 ** count);
        expect(delayMs).toBeGreaterThanOrEqual(some.minRetryIntervalMs);
        expect(delayMs).toBeGreaterThanOrEqual(baseMs);
        expect(delayMs).toBeLessThanOrEqual(Math.ceil(baseMs * 1.5));
        expect(Number.isSafeInteger(delayMs)).toBe(true);
        expect(retryDelayMs({ ...some }, count, at)).toBe(delayMs);
        // Waits that are shorter than the waves are many can't all differ.
        if (at > 0 && baseMs >= 2 * WAVES) expect(delayMs).toBeGreaterThan(retryDelayMs(some, count, at - 1));
      }),
    );
  });
});

/** A task that has failed so often, so long ago; given up, or not. */
interface Made {
  readonly retryCount: number;
  readonly agoMs: number;
  readonly dead: boolean;
  readonly category: string;
}

async function put(store: Store, id: string, { retryCount, dead, category }: Made): Promise<void> {
  const failure: Failure = {
    retryCount,
    attempts: retryCount,
    fingerprint: 'f',
    category,
    worker: 'w',
    queryPattern: null,
    version: '1',
  };
  const status = dead ? 'dead_letter' : 'failed';
  const { head, index } = failed(id, null, failure);
  const fields = { status, name: 'n', attempt: '1', createdAt: { fromNow: 0 }, endedAt: { fromNow: 0 } };
  const key = keys.head(id);
  const guard = { key, expect: null, next: `1.${id}.0` };
  const details = { [failureFields.cause]: '{}', [failureFields.at]: { fromNow: 0 } };
  const set = [
    { key, fields: { ...fields, ...head } },
    { key: keys.failure(id), fields: details },
  ];
  const partition = store.partitionOf(id);
  const { outcomes } = await store.commit(partition, [{ guard, notAfter: 1e15, set, index }]);
  expect(outcomes[0]?.status).toBe('applied');
  if (!dead) return;
  const again = { key, expect: guard.next, next: `1.${id}.1` };
  await store.commit(partition, [{ guard: again, index: exhausted(id, failure) }]);
}

describe('what is due', () => {
  const made: fc.Arbitrary<Made> = fc.record({
    retryCount: fc.oneof(fc.nat(4), fc.nat(2 * MOST_RETRIES)),
    agoMs: fc.oneof(fc.nat(20_000), fc.nat(200_000)),
    dead: fc.boolean(),
    category: fc.constantFrom('a', 'b'),
  });

  it('property: counted, listed and filtered by hand is the same', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(made, { maxLength: 30 }),
        someRule,
        fc.constantFrom(1, 3),
        fc.integer({ min: 1, max: 7 }),
        async (all, rule, partitions, limit) => {
          const { store, clock } = plainStore(partitions);
          const known = [...all.entries()].map(([n, each]) => ({ id: `d${n}`, ...each }));
          for (const each of known.toSorted((a, b) => b.agoMs - a.agoMs)) {
            // The oldest first; each as long before the end as it says.
            await clock.advance(200_000 - each.agoMs - clock.monotonicMs());
            await put(store, each.id, each);
          }
          await clock.advance(200_000 - clock.monotonicMs());
          const isDue = ({ id, retryCount, agoMs, dead }: (typeof known)[number]): boolean =>
            !dead &&
            retryCount < rule.maxRetries &&
            agoMs >= retryDelayMs(rule, retryCount, waveOf(id, retryCount));
          const due = known.filter(isDue).map(({ id }) => id);
          const tracker = new FailedDocumentsTracker(store, NOBODY, rule);
          const listed = async (eligible: boolean): Promise<string[]> => {
            const ids: string[] = [];
            let after: string | undefined;
            do {
              const page = await tracker.list({ eligible, limit, after });
              ids.push(...page.documents.map(({ taskId }) => taskId));
              after = page.next ?? undefined;
            } while (after !== undefined);
            return ids.toSorted();
          };
          expect(await listed(true)).toEqual(due.toSorted());
          expect(await countDue(store, rule)).toBe(due.length);
          expect(await tracker.count({ eligible: true })).toBe(due.length);
          const rest = known.filter((each) => !isDue(each)).map(({ id }) => id);
          expect(await listed(false)).toEqual(rest.toSorted());
          expect(await tracker.count({ eligible: false })).toBe(rest.length);
          const inA = known.filter((each) => isDue(each) && each.category === 'a');
          expect(await tracker.count({ eligible: true, category: 'a' })).toBe(inA.length);
        },
      ),
      { numRuns: 60 },
    );
  });

  it('is so from the very millisecond on, however it is asked for', async () => {
    const rule = { maxRetries: 1, minRetryIntervalMs: 1_000, maxRetryIntervalMs: 1_000 };
    const { store, clock } = plainStore();
    await put(store, 'd', { retryCount: 0, agoMs: 0, dead: false, category: 'a' });
    const tracker = new FailedDocumentsTracker(store, NOBODY, rule);
    const due = async (): Promise<number[]> => [
      (await tracker.list({ eligible: true })).documents.length,
      await tracker.count({ eligible: true }),
      1 - (await tracker.count({ eligible: false })),
    ];
    await clock.advance(retryDelayMs(rule, 0, waveOf('d', 0)) - 1);
    expect(await due()).toEqual([0, 0, 0]);
    await clock.advance(1);
    expect(await due()).toEqual([1, 1, 1]);
  });
});

describe('the places where failures wait', () => {
  const rule = { maxRetries: 2, minRetryIntervalMs: 1_000, maxRetryIntervalMs: 9_000 };

  it('come in the order in which they are due; those that have had all retries are no sources', async () => {
    const { store } = plainStore();
    for (const [n, retryCount] of [2, 1, 0, 0, 0, 1].entries())
      await put(store, `d${n}`, { retryCount, agoMs: 0, dead: false, category: 'a' });
    const places = await waitingPlaces(store, store.home, rule);
    const order = places.map(({ retryCount, delayMs }) => retryCount * 1e6 + delayMs);
    expect(order).toEqual(order.toSorted((a, b) => a - b));
    expect(new Set(places.map(({ retryCount }) => retryCount))).toEqual(new Set([0, 1, 2]));
    const sources = await dueSources(store, store.home, rule);
    expect(sources).toEqual(
      places
        .filter(({ retryCount }) => retryCount < 2)
        .map(({ index, delayMs }) => ({ index, to: { fromNow: -delayMs } })),
    );
  });

  it('are left out where something else has written between them', async () => {
    const { store } = plainStore();
    await put(store, 'd', { retryCount: 0, agoMs: 0, dead: false, category: 'a' });
    const index = ['x', 'x:1', '1:x', '1', '0.5:1'].map((id) => ({
      index: failureIndexes.waitingPlaces,
      id,
      score: 1,
    }));
    const guard = { key: 'g', expect: null, next: '1.g.0' };
    await store.commit(store.home, [{ guard, notAfter: 1e15, index }]);
    const places = await waitingPlaces(store, store.home, rule);
    expect(places.map((place) => place.index)).toEqual([`failures:retry:0:${waveOf('d', 0)}`]);
  });
});
