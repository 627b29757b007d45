import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { OrphanCause } from '../../src/domain/task.js';
import { backoffMs, crashesOf, orphaningOf } from '../../src/runtime/charges.js';
import type { Engine } from '../../src/runtime/engine.js';
import { decodeHead } from '../../src/state/head.js';
import type { Head } from '../../src/state/head.js';
import { Store } from '../../src/state/store.js';
import { memoryStorage } from '../../src/storage/memory.js';
import { crashAt } from '../recovery/snapshot.js';
import { ManualClock } from '../support/manual-clock.js';
import { engineWith, handlerWith, settingsWith } from './fakes.js';
import { away, rejectionOf } from './harness.js';

const START_MS = 1_700_000_000_000;
const LEASE_MS = 2_000;
const HOUR_MS = 3_600_000;

/** An engine on a storage that can fail, at START_MS by the storage's clock. */
async function observer(fraction = 0) {
  const clock = new ManualClock(START_MS);
  const memory = memoryStorage({ clock });
  let down = false;
  const read: typeof memory.read = async (...given) => {
    if (down) throw away();
    return memory.read(...given);
  };
  const store = new Store({ ...memory, read }, 'ns', clock, 1_000);
  const random = { nonce: () => 'x', fraction: () => fraction };
  const crashBudget = { count: 10, windowMs: HOUR_MS };
  const engine = engineWith({ store, random, settings: settingsWith({ leaseMs: LEASE_MS, crashBudget }) });
  await store.read(store.home, ['x']);
  const failAt = async (ms: number): Promise<void> => {
    await clock.advance(ms - clock.wallMs());
    down = true;
    await rejectionOf(store.read(store.home, ['x']));
    down = false;
  };
  return { clock, engine, failAt };
}

const HEAD = {
  token: '7.nonce.3',
  status: 'processing',
  name: 'n',
  priority: '0',
  owner: 'worker-9',
  leaseUntil: String(START_MS),
  attempt: '1',
  createdAt: String(START_MS - 9_000),
  step: 'parse',
  progress: '40',
} as const;

function headWith(fields: Readonly<Record<string, string>> = {}): Head {
  return decodeHead('t', new Map(Object.entries({ ...HEAD, ...fields })));
}

const charged = (engine: Engine, head: Head, cause: OrphanCause = 'lease_over', trial = 0): number =>
  crashesOf(engine, head, cause, trial).length - head.task.crashes.length;

describe('what counts as a crash', () => {
  it.each<[OrphanCause, number]>([
    ['lease_over', 1],
    ['owner_dead', 1],
    ['slot_taken_over', 1],
    ['released', 0],
    ['own', 0],
    ['retried', 0],
    ['retry_due', 0],
    ['requeued', 0],
  ])('%s: %i', async (cause, count) => {
    const { engine } = await observer();
    expect(charged(engine, headWith(), cause)).toBe(count);
  });

  it.each(['orphaned', 'failed', 'dead_letter', 'cancelled'])(
    'nothing that is %s already',
    async (status) => {
      const { engine } = await observer();
      expect(charged(engine, headWith({ status, cause: 'owner_dead' }), 'owner_dead')).toBe(0);
    },
  );

  it.each<[number, number | null, number]>([
    [1, null, 1],
    [1, 1, 1],
    [2, null, 0],
    [2, 1, 0],
    [2, 2, 1],
    [5, 4, 0],
    [5, 5, 1],
  ])('attempt %i, of which %s let user code run: %i', async (attempt, began, count) => {
    const { engine } = await observer();
    const head = headWith({ attempt: String(attempt), ...(began === null ? {} : { began: String(began) }) });
    for (const cause of ['lease_over', 'owner_dead', 'slot_taken_over'] as const)
      expect(charged(engine, head, cause)).toBe(count);
  });

  it('keeps what is known of it, behind the crashes before', async () => {
    const { engine, clock } = await observer();
    const earlier = [crashAt(1), crashAt(2)];
    await clock.advance(500);
    const claimedAt = String(START_MS - 1_500);
    // Renewed for the last time a third of a lease before the start of this test; what comes after is downtime.
    const leaseUntil = String(START_MS + (2 * LEASE_MS) / 3);
    const head = headWith({ crashes: JSON.stringify(earlier), claimedAt, leaseUntil });
    expect(crashesOf(engine, head, 'owner_dead', 0)).toEqual([
      ...earlier,
      {
        atMs: START_MS + 500,
        owner: 'worker-9',
        fence: 7,
        attempt: 1,
        cause: 'owner_dead',
        step: 'parse',
        progressPercent: 40,
        ranMs: 1_500,
        suspects: null,
      },
    ]);
  });

  it('never ran for less than nothing', async () => {
    const { engine } = await observer();
    const head = headWith({ claimedAt: String(START_MS + 10) });
    expect(crashesOf(engine, head, 'lease_over', 0)[0]?.ranMs).toBe(0);
  });
});

describe('an outage that this process saw, too', () => {
  // The last renewal was made at START_MS: from then on a failure may have kept the owner from the next.
  const leaseUntil = String(START_MS + LEASE_MS);

  it.each([
    ['while the last lease ran', START_MS + 1_000, 0],
    ['at its very beginning', START_MS, 0],
    ['since then', START_MS + LEASE_MS + 5_000, 0],
  ])('%s: a lease that ran out is no crash', async (_when, at, count) => {
    const { engine, failAt, clock } = await observer();
    await failAt(at);
    await clock.advance(9_000);
    expect(charged(engine, headWith({ leaseUntil }), 'lease_over')).toBe(count);
    expect(charged(engine, headWith({ leaseUntil }), 'owner_dead')).toBe(1);
    expect(charged(engine, headWith({ leaseUntil }), 'slot_taken_over')).toBe(1);
  });

  it('before the last renewal: it did not matter', async () => {
    const { engine, failAt, clock } = await observer();
    await failAt(START_MS + 10);
    await clock.advance(9_000);
    const renewed = (ms: number): Head => headWith({ leaseUntil: String(START_MS + ms + LEASE_MS) });
    expect(charged(engine, renewed(11))).toBe(1);
    expect(charged(engine, renewed(10))).toBe(0);
  });
});

describe('a process that had suspects on trial', () => {
  it.each([
    [0, false, 1, null],
    [0, true, 1, null],
    [1, true, 1, 1],
    [5, true, 1, 5],
    [1, false, 0, null],
    [5, false, 0, null],
  ])('%i, and the task was one: %s', async (trial, suspect, count, suspects) => {
    const { engine } = await observer();
    const head = headWith(suspect ? { suspect: '1' } : {});
    const crashes = crashesOf(engine, head, 'owner_dead', trial);
    expect(crashes).toHaveLength(count);
    expect(crashes[0]?.suspects ?? null).toBe(suspects);
  });
});

describe('backoffMs', () => {
  const random = (fraction: number): Pick<Engine, 'random'> => ({
    random: { nonce: () => '', fraction: () => fraction },
  });
  it.each([
    [1, 1_000],
    [2, 2_000],
    [3, 4_000],
    [9, 256_000],
    [10, 300_000],
    [1_000, 300_000],
    [100_000, 300_000],
  ])('before jitter, the wait number %i is %i ms', (times, ms) => {
    expect(backoffMs(random(0), times)).toBe(ms);
    expect(backoffMs(random(0.5), times)).toBe(ms * 1.25);
  });

  it('property: never shorter than without jitter, never half as long again, and growing', () => {
    const fraction = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 5_000 }), fraction, (times, jitter) => {
        const [base, waited] = [backoffMs(random(0), times), backoffMs(random(jitter), times)];
        expect(Number.isInteger(waited)).toBe(true);
        expect(waited).toBeGreaterThanOrEqual(base);
        expect(waited).toBeLessThanOrEqual(base * 1.5);
        expect(backoffMs(random(jitter), times + 1)).toBeGreaterThanOrEqual(waited);
      }),
    );
  });
});

describe('how an orphan goes into the queue', () => {
  const crashesFrom = (...agoMs: number[]): { crashes: string } => ({
    crashes: JSON.stringify(agoMs.map((ago) => crashAt(START_MS - ago))),
  });
  const delayOf = async (
    head: Head,
    {
      cause = 'owner_dead',
      trial = 0,
      budget,
    }: { cause?: OrphanCause; trial?: number; budget?: number } = {},
  ): Promise<number> => {
    const { engine } = await observer(0.5);
    const crashBudget = { count: budget ?? 3, windowMs: HOUR_MS };
    const handler = budget === undefined ? undefined : handlerWith({ crashBudget });
    const orphaning = orphaningOf(engine, handler, head, cause, trial);
    expect(orphaning).toMatchObject({ cause, crashes: crashesOf(engine, head, cause, trial) });
    return orphaning.delayMs;
  };

  it('at once after its first crash, later and later after more', async () => {
    expect(await delayOf(headWith())).toBe(0);
    expect(await delayOf(headWith(crashesFrom(9)))).toBe(1_250);
    expect(await delayOf(headWith(crashesFrom(9, 8)))).toBe(2_500);
    expect(await delayOf(headWith(crashesFrom(9, 8, 7)))).toBe(5_000);
  });

  it('at once when nothing is charged, whatever was before', async () => {
    const head = headWith(crashesFrom(9, 8));
    expect(await delayOf(head, { cause: 'released' })).toBe(0);
    expect(await delayOf(headWith(crashesFrom()), { trial: 3 })).toBe(0);
  });

  it('crashes out of the window of its own budget do not count', async () => {
    expect(await delayOf(headWith(crashesFrom(HOUR_MS, 8)))).toBe(1_250);
    expect(await delayOf(headWith(crashesFrom(HOUR_MS - 1, 8)))).toBe(2_500);
    expect(await delayOf(headWith(crashesFrom(HOUR_MS, 8)), { budget: 5 })).toBe(1_250);
  });

  it('one that is to be given up does not wait for it', async () => {
    expect(await delayOf(headWith(crashesFrom(9)), { budget: 2 })).toBe(0);
    const last = { ...crashesFrom(9, 8), suspect: '1' };
    expect(await delayOf(headWith(last), { budget: 3, trial: 1 })).toBe(0);
    expect(await delayOf(headWith(last), { budget: 3, trial: 2 })).toBe(2_500);
    expect(await delayOf(headWith(last), { budget: 4, trial: 1 })).toBe(2_500);
  });
});
