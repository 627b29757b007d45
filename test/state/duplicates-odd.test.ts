/** The check for duplicates over records that can't be read, that change meanwhile, or are very many. */
import { beforeEach, describe, expect, it } from 'vitest';
import { RecoveryError } from '../../src/errors.js';
import { failureFields, failureIndexes } from '../../src/state/failures.js';
import { indexes, keys } from '../../src/state/keys.js';
import { entries, entryStateOf, ITEM_PREFIX, MAP_PREFIX } from '../../src/state/ledger.js';
import type { Storage } from '../../src/storage/storage.js';
import { rejectionOf } from '../runtime/harness.js';
import { upTo } from '../runtime/lab.js';
import { Bench, CLEAN } from './duplicates-bench.js';

describe('what can not be read is counted, and the rest is checked', () => {
  let bench: Bench;
  beforeEach(async () => {
    bench = new Bench(1);
    await bench.ran('a', 4);
    await bench.ran('b', 4);
    await bench.failed('n', [
      ['c', '/1'],
      ['d', '/1'],
    ]);
    bench.record(keys.ledger('b', 'm', 0)).delete(`${ITEM_PREFIX}0`);
  });

  const REST = { miscounted: [{ taskId: 'b' }], unreadable: 1 };

  it.each([
    ['a head', () => void bench.record(keys.head('a')).set('status', 'odd'), { tasks: 3, items: 3 }],
    ['a mark', () => void bench.record(keys.head('a')).set(`${MAP_PREFIX}m`, '?'), { tasks: 3, items: 3 }],
    ['a foreign field', () => void bench.record(keys.ledger('a', 'm', 0)).set('odd', 'j1'), { items: 7 }],
    [
      'a foreign entry',
      () => void bench.record(keys.ledger('a', 'm', 0)).set(`${ITEM_PREFIX}9`, '?'),
      { items: 7 },
    ],
    [
      'a path',
      () => void bench.record(keys.failure('c')).set(failureFields.document, '{'),
      { documents: 1, duplicateDocuments: [] },
    ],
    [
      'a failure that is gone',
      () => void bench.partitions[0]?.records.delete(keys.failure('c')),
      { documents: 1, duplicateDocuments: [] },
    ],
    [
      'one in quarantine',
      () => {
        bench.record(keys.head('a')).set('status', 'odd');
        bench.partitions[0]?.index(indexes.inState('completed', 'n')).put('a', null);
        bench.partitions[0]?.index(indexes.quarantined('n')).put('a', 1);
      },
      { tasks: 3 },
    ],
  ])('%s', async (_, damage, more) => {
    damage();
    expect(await bench.find()).toMatchObject({ ...REST, ...more });
  });

  it('a mark with more records than a map can have is not followed', async () => {
    bench.setMark('a', () => ({ buckets: 1e15 }));
    const { unreadable, miscounted } = await bench.find();
    expect(unreadable).toBe(1);
    expect(miscounted.map(({ taskId }) => taskId).toSorted()).toEqual(['a', 'b']);
  });

  it('records of another type', async () => {
    const { storage } = bench;
    const odd = new Set([keys.head('c'), keys.ledger('a', 'm', 0)]);
    const over: Storage = {
      ...storage,
      read: (partition, wanted, fields) =>
        wanted.some((key) => odd.has(key))
          ? Promise.reject(new RecoveryError('CORRUPT_RECORD', 'It is a list.'))
          : storage.read(partition, wanted, fields),
    };
    expect(await bench.find('n', { over })).toMatchObject({ tasks: 3, documents: 1, unreadable: 2 });
  });

  it('the storage that is away is told of', async () => {
    const { storage } = bench;
    const over: Storage = {
      ...storage,
      range: () => Promise.reject(new RecoveryError('STORAGE_UNAVAILABLE', 'It is away.')),
    };
    expect(await rejectionOf(bench.find('n', { over }))).toMatchObject({ code: 'STORAGE_UNAVAILABLE' });
    expect(await rejectionOf(bench.find(''))).toMatchObject({ code: 'INVALID_ID' });
  });
});

describe('tasks that change meanwhile', () => {
  let bench: Bench;
  let reads = 0;
  beforeEach(async () => {
    bench = new Bench(1);
    reads = 0;
    await bench.ran('a', 4);
  });

  /** The ledger's first `times` reads are of the time before its last item was kept. */
  const seen = (times: number, change: (head: Map<string, string>) => void) => {
    const { storage } = bench;
    const over: Storage = {
      ...storage,
      read: async (partition, wanted, fields) => {
        const reply = await storage.read(partition, wanted, fields);
        if (wanted[0] !== keys.ledger('a', 'm', 0) || (reads += 1) > times) return reply;
        const record = new Map(reply.records[0]);
        record.delete(`${ITEM_PREFIX}3`);
        change(bench.record(keys.head('a')));
        return { ...reply, records: [record] };
      },
    };
    return bench.find('n', { over });
  };
  const move = (head: Map<string, string>): void => void head.set('token', `1.other.${reads}`);

  it('are looked at once more', async () => {
    expect(await seen(1, move)).toMatchObject(CLEAN);
    expect(reads).toBe(2);
  });

  it('are left alone when they change again', async () => {
    expect(await seen(9, move)).toMatchObject(CLEAN);
    expect(reads).toBe(2);
  });

  it('are complained of when the second look shows the same', async () => {
    bench.record(keys.ledger('a', 'm', 0)).delete(`${ITEM_PREFIX}0`);
    expect(await seen(1, move)).toMatchObject({ miscounted: [{ kept: { done: 3 } }] });
  });

  it('are let go when they are made anew, or taken away', async () => {
    bench.record(keys.ledger('a', 'm', 0)).delete(`${ITEM_PREFIX}0`);
    expect(await seen(1, (head) => void head.set('origin', '99'))).toMatchObject(CLEAN);
    bench.partitions[0]?.index(indexes.inState('completed', 'n')).put('a', 1);
    expect(await seen(9, () => bench.partitions[0]?.records.delete(keys.head('a')))).toMatchObject(CLEAN);
  });

  it('are told of once when they are met twice', async () => {
    await bench.ran('b', 1_500);
    bench.record(keys.ledger('a', 'm', 0)).delete(`${ITEM_PREFIX}0`);
    const [first, second] = [0, 1].map((bucket) => bench.record(keys.ledger('b', 'm', bucket)));
    for (const record of [first, second]) record?.set(`${ITEM_PREFIX}7`, 'j1');
    for (const id of ['a', 'b']) bench.partitions[0]?.index(indexes.inState('failed', 'n')).put(id, 1);
    const { tasks, miscounted, duplicateItems } = await bench.find();
    expect([tasks, miscounted.length, duplicateItems.length]).toEqual([4, 1, 1]);
  });

  it('and no document is its own duplicate', async () => {
    await bench.failed('n', [
      ['c', '/1'],
      ['d', '/2'],
    ]);
    const { storage } = bench;
    const over: Storage = {
      ...storage,
      range: async (partition, index, query) => {
        const reply = await storage.range(partition, index, query);
        const twice = index === failureIndexes.all ? reply.entries : [];
        return { ...reply, entries: [...reply.entries, ...twice] };
      },
    };
    expect(await bench.find('n', { over })).toMatchObject(CLEAN);
  });
});

it('lists hold 1,000 findings, and the rest is counted', async () => {
  const bench = new Bench(1);
  await bench.ran('a', 1_500);
  const [first, second] = [0, 1].map((bucket) => bench.record(keys.ledger('a', 'm', bucket)));
  for (const [field, entry] of first ?? []) second?.set(field, entry);
  for (const [field, entry] of second ?? []) first?.set(field, entry);
  const found = await bench.find();
  expect(found.duplicateItems).toHaveLength(1_000);
  expect(found).toMatchObject({ unlisted: 500, items: 1_500, miscounted: [] });
  await bench.failed(
    'n',
    upTo(1_002).map((n) => [`d${n}`, '/same']),
  );
  const [document] = (await bench.find()).duplicateDocuments;
  expect(document?.taskIds).toHaveLength(1_000);
  expect(document?.count).toBe(1_002);
});

it.each([
  [entries.done(null), 'done'],
  [entries.done('1'), 'done'],
  [entries.unstorable, 'done'],
  [entries.failed('{}'), 'failed'],
  [entries.started, null],
  ['', null],
] as const)('entry %j is %s', (text, state) => {
  expect(entryStateOf(text)).toBe(state);
});
