import * as fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import { DuplicateSearch } from '../../src/state/duplicates.js';
import { keys } from '../../src/state/keys.js';
import { bucketOf, ITEM_PREFIX } from '../../src/state/ledger.js';
import { Store } from '../../src/state/store.js';
import { LEASE_MS } from '../runtime/harness.js';
import { die, startQuietly } from '../runtime/lab.js';
import { Bench, CLEAN } from './duplicates-bench.js';
import { placeCodec } from './place-codec.js';

describe.each([1, 3])('on %i partitions', (count) => {
  let bench: Bench;
  beforeEach(() => void (bench = new Bench(count)));

  it('property: after crashes, failures and lists that change nothing is found, whenever one looks', async () => {
    const attempts = fc.array(
      fc.record({
        id: fc.constantFrom('a', 'b', 'c'),
        items: fc.uniqueArray(fc.nat(30), { maxLength: 25 }),
        failing: fc.array(fc.nat(30), { maxLength: 3 }),
        dieAfter: fc.option(fc.nat(25), { nil: Infinity }),
        concurrency: fc.integer({ min: 1, max: 5 }),
      }),
      { maxLength: 8 },
    );
    let items = 0;
    await fc.assert(
      fc.asyncProperty(attempts, async (schedule) => {
        bench = new Bench(count);
        const kept = new Map<string, Set<number>>();
        for (const { id, items: list, failing, dieAfter, concurrency } of schedule) {
          const proc = bench.proc();
          let begun = 0;
          const task = proc.recovery.withRecovery(
            (ctx) =>
              ctx.map(
                'm',
                list,
                async (item) => {
                  if ((begun += 1) > dieAfter) return new Promise<string>(() => {});
                  await Promise.resolve();
                  if (failing.includes(item)) throw new Error('no');
                  kept.set(id, (kept.get(id) ?? new Set()).add(item));
                  return `${item}`;
                },
                { key: String, concurrency },
              ),
            { name: 'n', taskId: () => id, document: () => `/in/${id}` },
          );
          // One that has crashed too often is not begun again.
          await startQuietly(task).catch(() => {});
          expect(await bench.find()).toMatchObject(CLEAN);
          await die(bench.world, proc);
          expect(await bench.find()).toMatchObject(CLEAN);
          await bench.world.clock.advance(LEASE_MS);
        }
        const found = await bench.find();
        expect(found).toMatchObject({ ...CLEAN, tasks: new Set(schedule.map(({ id }) => id)).size });
        const done = [...kept.values()].reduce((sum, each) => sum + each.size, 0);
        expect(found.items).toBeGreaterThanOrEqual(done);
        items += found.items;
      }),
      { numRuns: 60 },
    );
    expect(items).toBeGreaterThan(100);
  });

  it('counts what it has looked at', async () => {
    await bench.ran('a', 2_500);
    await bench.ran('b', 3, [1]);
    await bench.failed('n', [['c', '/c']]);
    await bench.failed('other', [['d', '/c']]);
    expect(await bench.find()).toEqual({ ...CLEAN, tasks: 3, items: 2_503, documents: 1 });
    expect(await bench.find('nobody')).toEqual({ ...CLEAN, tasks: 0, items: 0, documents: 0 });
  });

  it('finds an item that two records of a ledger hold', async () => {
    await bench.ran('a', 2_500);
    const home = bucketOf('7', 3);
    const field = `${ITEM_PREFIX}7`;
    for (const bucket of [0, 1, 2]) bench.record(keys.ledger('a', 'm', bucket)).set(field, 'j1');
    const duplicateItems = [{ taskId: 'a', map: 'm', key: '7' }];
    expect(await bench.find()).toEqual({ ...CLEAN, tasks: 1, items: 2_500, documents: 0, duplicateItems });
    bench.record(keys.ledger('a', 'm', home)).delete(field);
    expect(await bench.find()).toMatchObject({
      items: 2_499,
      duplicateItems,
      miscounted: [
        { taskId: 'a', map: 'm', kept: { done: 2_499, failed: 0 }, counted: { done: 2_500, failed: 0 } },
      ],
    });
  });

  it.each([
    ['done', '0', { done: 2, failed: 1 }],
    ['failed', '1', { done: 3, failed: 0 }],
  ])('finds a map that has lost one that is %s', async (_, key, kept) => {
    await bench.ran('a', 4, [1]);
    await bench.ran('b', 4, [1]);
    bench.record(keys.ledger('a', 'm', 0)).delete(ITEM_PREFIX + key);
    const miscounted = [{ taskId: 'a', map: 'm', kept, counted: { done: 3, failed: 1 } }];
    expect(await bench.find()).toMatchObject({ ...CLEAN, miscounted });
  });

  it('finds a map whose ledger is gone, and one that counts too many', async () => {
    await bench.ran('a', 4);
    await bench.ran('b', 4);
    for (const { records } of bench.partitions) records.delete(keys.ledger('a', 'm', 0));
    bench.setMark('b', () => ({ done: 5 }));
    const { miscounted } = await bench.find();
    expect(miscounted.map(({ taskId }) => taskId).toSorted()).toEqual(['a', 'b']);
  });

  it('finds documents that several tasks stand for, among those of the name', async () => {
    await bench.failed('n', [
      ['a', '/1'],
      ['b', '/2'],
      ['c', '/1'],
      ['d', '/3'],
      ['e', '/1'],
    ]);
    await bench.failed('other', [['f', '/2']]);
    const { duplicateDocuments, documents } = await bench.find();
    expect(documents).toBe(5);
    expect(duplicateDocuments).toHaveLength(1);
    const [found] = duplicateDocuments;
    expect(found).toMatchObject({ documentPath: '/1', count: 3 });
    expect(found?.taskIds.toSorted()).toEqual(['a', 'c', 'e']);
  });

  it('property: documents are compared in as many passes as it takes', async () => {
    const given = fc.array(fc.nat(6), { maxLength: 12 });
    await fc.assert(
      fc.asyncProperty(given, fc.integer({ min: 1, max: 5 }), async (paths, compared) => {
        bench = new Bench(count);
        await bench.failed(
          'n',
          paths.map((path, at) => [`t${at}`, `/in/${path}`]),
        );
        const store = new Store(bench.storage, 'rekindle', bench.world.clock, 1_000);
        const found = await new DuplicateSearch(store, 'n', compared).run();
        expect(found).toMatchObject({ documents: paths.length, unlisted: 0, unreadable: 0 });
        const model = [...new Set(paths)]
          .map((path) => paths.flatMap((each, at) => (each === path ? [`t${at}`] : [])))
          .filter((ids) => ids.length > 1);
        const told = found.duplicateDocuments.map(({ taskIds }) => taskIds.toSorted());
        expect(new Set(told.map(String))).toEqual(new Set(model.map((ids) => String(ids.toSorted()))));
        expect(told).toHaveLength(model.length);
      }),
      { numRuns: 60 },
    );
  });

  it('reads paths through the codec', async () => {
    await bench.failed(
      'n',
      [
        ['a', '/1'],
        ['b', '/1'],
      ],
      { codec: placeCodec },
    );
    expect(await bench.find('n', { codec: placeCodec })).toMatchObject({
      documents: 2,
      unreadable: 0,
      duplicateDocuments: [{ documentPath: '/1', count: 2 }],
    });
    expect(await bench.find()).toMatchObject({ documents: 0, unreadable: 2, duplicateDocuments: [] });
  });
});
