/** Windows are made of slots of five minutes: whatever is in them equals a plain count, to five minutes. */
import * as fc from 'fast-check';
import { describe, expect, it, test } from 'vitest';
import { keys } from '../../src/state/keys.js';
import { countRecovery, HOUR_MS, hoursBefore, readRecoveries } from '../../src/state/recovery-counters.js';
import type { RecoveryFigures } from '../../src/state/recovery-counters.js';
import { Store } from '../../src/state/store.js';
import { FaultyStorage } from '../../src/testing/faulty-storage.js';
import { ManualClock } from '../support/manual-clock.js';

const SLOT_MS = 300_000;
const DAY_MS = 24 * HOUR_MS;
const NAMES = [
  'attempts',
  'succeeded',
  'succeededMs',
  'failed',
  'failures',
  'handedOver',
  'received',
] as const;
const START_MS = 1_700_000_000_000;
const NONE: RecoveryFigures = {
  attempts: 0,
  succeeded: 0,
  succeededMs: 0,
  failed: 0,
  failures: 0,
  handedOver: 0,
  received: 0,
};

interface Counted {
  readonly atMs: number;
  readonly partition: number;
  readonly figures: Partial<RecoveryFigures>;
}

class Book {
  readonly clock: ManualClock = new ManualClock(START_MS);
  readonly storage: FaultyStorage;
  readonly counted: Counted[] = [];
  #writes = 0;

  constructor(partitions = 1) {
    this.storage = new FaultyStorage({ clock: this.clock, partitions });
  }

  store(): Store {
    return new Store(this.storage, 'n', this.clock, 1_000);
  }

  async count(entry: Counted): Promise<void> {
    this.counted.push(entry);
    await this.#commit(entry.partition, { increment: countRecovery(entry.figures, entry.atMs) });
  }

  async foreign(key: string, fields: Readonly<Record<string, string>>): Promise<void> {
    await this.#commit(0, { set: [{ key, fields }] });
  }

  /** Later than `afterMs`. */
  sum(afterMs: number): RecoveryFigures {
    const sums = { ...NONE };
    for (const { atMs, figures } of this.counted)
      if (atMs > afterMs) for (const name of NAMES) sums[name] += figures[name] ?? 0;
    return sums;
  }

  async #commit(
    partition: number,
    parts: Pick<Parameters<Store['commit']>[1][0] & object, 'increment' | 'set'>,
  ) {
    this.#writes += 1;
    const guard = { key: `g${this.#writes}`, expect: null, next: `t${this.#writes}` };
    const { outcomes } = await this.storage.commit(`n:${partition}`, [{ guard, notAfter: 1e15, ...parts }]);
    expect(outcomes).toMatchObject([{ status: 'applied' }]);
  }
}

const figures: fc.Arbitrary<Partial<RecoveryFigures>> = fc.record(
  {
    attempts: fc.nat(3),
    succeeded: fc.nat(3),
    succeededMs: fc.nat(90_000),
    failed: fc.nat(2),
    failures: fc.nat(2),
  },
  { requiredKeys: [] },
);
/** In plain time, or around the edges of hours and slots. */
const moment = fc.oneof(
  fc.nat(3 * DAY_MS),
  fc
    .tuple(fc.nat(3 * 24 * 12), fc.integer({ min: -1, max: 1 }))
    .map(([slot, by]) => Math.max(0, slot * SLOT_MS - (START_MS % SLOT_MS) + by)),
);

test('property: a window equals a plain count, to five minutes', { timeout: 60_000 }, async () => {
  const schedule = fc.record({
    partitions: fc.constantFrom(1, 3),
    counts: fc.array(fc.record({ atMs: moment, partition: fc.nat(2), figures }), { maxLength: 40 }),
    reads: fc.array(moment, { minLength: 1, maxLength: 8 }),
    windowMs: fc.constantFrom(DAY_MS, DAY_MS, HOUR_MS, SLOT_MS),
  });
  await fc.assert(
    fc.asyncProperty(schedule, async ({ partitions, counts, reads, windowMs }) => {
      const book = new Book(partitions);
      const left = counts.toSorted((a, b) => a.atMs - b.atMs);
      for (const atMs of reads.toSorted((a, b) => a - b)) {
        const nowMs = START_MS + atMs;
        while (left[0] !== undefined && left[0].atMs <= atMs) {
          const [next] = left.splice(0, 1);
          if (next === undefined) break;
          await book.count({ ...next, atMs: START_MS + next.atMs, partition: next.partition % partitions });
        }
        book.clock.stepWall(nowMs - book.clock.wallMs());
        const { totals, window } = await readRecoveries(book.store(), windowMs);
        expect(totals).toEqual(book.sum(-Infinity));
        const [least, most] = [book.sum(nowMs - windowMs), book.sum(nowMs - windowMs - SLOT_MS)];
        for (const name of NAMES) {
          expect(window[name]).toBeGreaterThanOrEqual(least[name]);
          expect(window[name]).toBeLessThanOrEqual(most[name]);
        }
      }
    }),
    { numRuns: 150 },
  );
});

describe('counters of recoveries', () => {
  it('have no part for what is nothing', () => {
    expect(countRecovery({ attempts: 0, failed: 0 }, START_MS)).toEqual([]);
    expect(countRecovery({ attempts: 1 }, START_MS)).toHaveLength(2);
  });

  it('count a whole day by default', async () => {
    const book = new Book();
    await book.count({ atMs: START_MS, partition: 0, figures: { attempts: 1 } });
    book.clock.stepWall(DAY_MS - 1);
    expect((await readRecoveries(book.store())).window.attempts).toBe(1);
    book.clock.stepWall(SLOT_MS + 1);
    expect((await readRecoveries(book.store())).window.attempts).toBe(0);
  });

  it('know what somebody counts who is ahead by a little, into the next hour', async () => {
    const book = new Book();
    const nextHourMs = Math.ceil(START_MS / HOUR_MS) * HOUR_MS;
    book.clock.stepWall(nextHourMs - 1 - START_MS);
    await book.count({ atMs: nextHourMs + 5, partition: 0, figures: { succeeded: 1 } });
    expect((await readRecoveries(book.store())).window.succeeded).toBe(1);
  });

  it('count what something else has written over as nothing', async () => {
    const book = new Book(2);
    await book.count({ atMs: START_MS, partition: 0, figures: { attempts: 2, failures: 4 } });
    await book.count({ atMs: START_MS, partition: 1, figures: { attempts: 3, succeeded: 1 } });
    const slot = Math.floor(START_MS / SLOT_MS) % 12;
    const hour = keys.recoveryHour(Math.floor(START_MS / HOUR_MS));
    await book.foreign(hour, {
      [`${slot}:attempts`]: 'many',
      [`${slot}:succeeded`]: '-1',
      [`${slot}:failed`]: '1.5',
      [`${slot}:succeededMs`]: '1e300',
      '77:attempts': '5',
    });
    await book.foreign(keys.recoveryTotals, { attempts: '', failed: 'x' });
    expect(await readRecoveries(book.store())).toEqual({
      window: { ...NONE, attempts: 3, succeeded: 1, failures: 4 },
      totals: { ...NONE, attempts: 3, succeeded: 1, failures: 4 },
    });
  });

  it('do without a record that is none', async () => {
    const book = new Book();
    await book.count({ atMs: START_MS, partition: 0, figures: { attempts: 2 } });
    await book.count({ atMs: START_MS + HOUR_MS, partition: 0, figures: { attempts: 1 } });
    book.clock.stepWall(HOUR_MS);
    book.storage.corrupt(keys.recoveryHour(Math.floor(START_MS / HOUR_MS)));
    book.storage.corrupt(keys.recoveryTotals);
    expect(await readRecoveries(book.store())).toMatchObject({
      window: { attempts: 1 },
      totals: { attempts: 0 },
    });
  });

  it('are named from an hour to the last whole one before an end', () => {
    const hours = (from: number, end: number): string[] => hoursBefore(from * HOUR_MS, end * HOUR_MS);
    expect(hours(10, 13)).toEqual(['t:10', 't:11', 't:12']);
    expect(hours(10.5, 12.999)).toEqual(['t:10', 't:11']);
    expect(hours(10, 10.999)).toEqual([]);
    expect(hours(12, 10)).toEqual([]);
  });
});
