import { beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '../../src/clock.js';
import { RecoveryError } from '../../src/errors.js';
import { createRecovery } from '../../src/runtime/create-recovery.js';
import { indexes, keys } from '../../src/state/keys.js';
import { Store } from '../../src/state/store.js';
import { checkIndexes, MOST_LISTED } from '../../src/state/stray-entries.js';
import { memoryStorage } from '../../src/storage/memory.js';
import type { Batch, Storage } from '../../src/storage/storage.js';

const CLEAN = { complete: true, strays: [], strayCount: 0, quarantined: [], quarantinedCount: 0 };
let planted = 0;

/** Something that no code of ours writes. */
async function plant(store: Store, id: string, batch: Omit<Batch, 'guard'>): Promise<void> {
  planted += 1;
  const guard = { key: `planted-${planted}`, expect: null, next: `1.p.${planted}` };
  const notAfter = Number.MAX_SAFE_INTEGER;
  const reply = await store.commit(store.partitionOf(id), [{ guard, notAfter, ...batch }]);
  expect(reply.outcomes).toMatchObject([{ status: 'applied' }]);
}

describe.each([1, 3])('checkIndexes on %i partitions', (partitions) => {
  let storage: Storage;
  let store: Store;
  beforeEach(async () => {
    storage = memoryStorage({ partitions });
    store = new Store(storage, 'rekindle', systemClock, 1_000);
    const recovery = createRecovery({ storage });
    const job = recovery.withRecovery(
      async (_, id: string) => {
        if (id.startsWith('bad')) throw new Error('bad');
      },
      { name: 'job', taskId: (id) => id },
    );
    await Promise.allSettled(['t1', 't2', 'bad1', 'bad2'].map((id) => job(id)));
    await recovery.shutdown();
  });

  it('finds nothing in a namespace that only the library has written, and nothing in an empty one', async () => {
    expect(await checkIndexes(store, 1_000)).toEqual({ ...CLEAN, looked: 4 });
    const empty = new Store(storage, 'other', systemClock, 1_000);
    expect(await checkIndexes(empty, 1_000)).toEqual({ ...CLEAN, looked: 0 });
  });

  it('finds an entry without a task, one of a task in another state, and one with something else in its place', async () => {
    const orphaned = indexes.inState('orphaned', 'job');
    await plant(store, 'ghost', { index: [{ index: orphaned, id: 'ghost', score: 1 }] });
    await plant(store, 't1', { index: [{ index: indexes.stuck('job'), id: 't1', score: 1 }] });
    await plant(store, 'bad1', {
      index: [{ index: indexes.inState('completed', 'job'), id: 'bad1', score: 1 }],
    });
    const { strays, ...rest } = await checkIndexes(store, 1_000);
    expect(rest).toEqual({ looked: 7, complete: true, strayCount: 3, quarantined: [], quarantinedCount: 0 });
    expect(strays).toHaveLength(3);
    expect(strays).toEqual(
      expect.arrayContaining([
        { taskId: 'ghost', index: 'orphaned:job', kind: 'missing' },
        { taskId: 't1', index: 'stuck:job', kind: 'elsewhere' },
        { taskId: 'bad1', index: 'completed:job', kind: 'elsewhere' },
      ]),
    );
  });

  it('tells of one that can not be read, and goes on with its neighbours', async () => {
    const broken: Storage = {
      ...storage,
      read: (partition, wanted, ...rest) => {
        if (!wanted.includes(keys.head('t2'))) return storage.read(partition, wanted, ...rest);
        return Promise.reject(new RecoveryError('CORRUPT_RECORD', 'of another type'));
      },
    };
    const { strays, looked } = await checkIndexes(new Store(broken, 'rekindle', systemClock, 1_000), 1_000);
    expect(looked).toBe(4);
    expect(strays).toEqual([{ taskId: 't2', index: 'completed:job', kind: 'unreadable' }]);
  });

  it('is not taken in by a task that moves on between the two reads', async () => {
    const moving: Storage = {
      ...storage,
      read: async (partition, wanted, ...rest) => {
        const reply = await storage.read(partition, wanted, ...rest);
        // The first look is at many, or at a head that has changed by the second.
        const stale = !wanted.includes(keys.head('t1')) || seen;
        if (wanted.includes(keys.head('t1'))) seen = true;
        if (stale) return reply;
        const records = reply.records.map((record, at) =>
          wanted[at] === keys.head('t1') ? new Map([...(record ?? []), ['status', 'processing']]) : record,
        );
        return { ...reply, records };
      },
    };
    let seen = false;
    const report = await checkIndexes(new Store(moving, 'rekindle', systemClock, 1_000), 1_000);
    expect(report).toEqual({ ...CLEAN, looked: 4 });
    expect(seen).toBe(true);
  });

  it('is not taken in by a task whose head changes while its entry is looked up', async () => {
    await plant(store, 'ghost', {
      index: [{ index: indexes.inState('failed', 'job'), id: 'ghost', score: 1 }],
    });
    let reads = 0;
    const moving: Storage = {
      ...storage,
      read: async (partition, wanted, ...rest) => {
        const reply = await storage.read(partition, wanted, ...rest);
        if (!wanted.includes(keys.head('ghost'))) return reply;
        reads += 1;
        // Made after the second look, together with its entry.
        if (reads < 3) return reply;
        return { ...reply, records: reply.records.map(() => new Map([['token', '1.n.0']])) };
      },
    };
    expect(await checkIndexes(new Store(moving, 'rekindle', systemClock, 1_000), 1_000)).toMatchObject(CLEAN);
    expect(reads).toBe(3);
  });

  it('lists quarantined tasks with their reasons', async () => {
    await plant(store, 'broken', {
      set: [{ key: keys.quarantine('broken'), fields: { name: 'job', reason: 'its head is gone' } }],
      index: [{ index: indexes.quarantined('job'), id: 'broken', score: 1 }],
    });
    await plant(store, 'lost', { index: [{ index: indexes.quarantined('unknown'), id: 'lost', score: 1 }] });
    const { quarantined, quarantinedCount } = await checkIndexes(store, 1_000);
    expect(quarantinedCount).toBe(2);
    expect(quarantined).toEqual([
      { taskId: 'broken', name: 'job', reason: 'its head is gone' },
      { taskId: 'lost', name: 'unknown', reason: '' },
    ]);
  });

  it('stops at its limit, and says so', async () => {
    expect(await checkIndexes(store, 3)).toEqual({ ...CLEAN, looked: 3, complete: false });
    expect(await checkIndexes(store, 4)).toEqual({ ...CLEAN, looked: 4 });
  });

  it('counts all and lists the first', async () => {
    const index = indexes.inState('failed', 'job');
    const ids = Array.from({ length: MOST_LISTED + 20 }, (_, at) => `ghost-${at}`);
    for (const id of ids) await plant(store, id, { index: [{ index, id, score: 1 }] });
    const { strays, strayCount, looked } = await checkIndexes(store, 10_000);
    expect(looked).toBe(ids.length + 4);
    expect(strayCount).toBe(ids.length);
    expect(strays).toHaveLength(MOST_LISTED);
  });
});
