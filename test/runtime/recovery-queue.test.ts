import * as fc from 'fast-check';
import { expect, it } from 'vitest';
import { queueOrder } from '../../src/runtime/recovery-queue.js';
import type { Queued } from '../../src/runtime/recovery-queue.js';
import { indexes, priorityBase } from '../../src/state/keys.js';
import { plainStore } from '../state/manual-storage.js';

interface Given {
  readonly partition: number;
  readonly name: string;
  readonly priority: number;
  readonly atMs: number;
}

async function filled(given: readonly Given[]) {
  const { store } = plainStore(3);
  for (const [index, { partition, name, priority, atMs }] of given.entries()) {
    await store.commit(store.partitions[partition] ?? store.home, [
      {
        guard: { key: `g${index}`, expect: null, next: '1.n.0' },
        notAfter: Number.MAX_SAFE_INTEGER,
        index: [
          { index: indexes.inState('orphaned', name), id: `t${index}`, score: priorityBase(priority) + atMs },
        ],
      },
    ]);
  }
  return store;
}

it('property: one pass meets each task of the given names once, best first, over names and partitions', async () => {
  const task = fc.record({
    partition: fc.nat(2),
    name: fc.constantFrom('a', 'b', 'other'),
    priority: fc.nat(10),
    atMs: fc.nat(1_000),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(task, { maxLength: 30 }), async (given) => {
      const store = await filled(given);
      const met: Queued[] = [];
      for await (const queued of queueOrder(store, new Set(['a', 'b']))) met.push(queued);
      const wanted = given.flatMap(({ name }, index) => (name === 'other' ? [] : [`t${index}`]));
      expect(new Set(met.map(({ taskId }) => taskId))).toEqual(new Set(wanted));
      expect(met).toHaveLength(wanted.length);
      expect(met.map(({ score }) => score)).toEqual(met.map(({ score }) => score).toSorted((a, b) => a - b));
    }),
    { numRuns: 40 },
  );
});

it('reads more than a page, also when what it met stays in the queue', async () => {
  const store = await filled(
    Array.from({ length: 120 }, (_, atMs) => ({ partition: 0, name: 'a', priority: 5, atMs })),
  );
  const ids: string[] = [];
  for await (const { taskId } of queueOrder(store, new Set(['a']))) ids.push(taskId);
  expect(ids).toEqual(Array.from({ length: 120 }, (_, index) => `t${index}`));
});

it('is empty without names', async () => {
  const store = await filled([{ partition: 0, name: 'a', priority: 0, atMs: 0 }]);
  await expect(queueOrder(store, new Set()).next()).resolves.toMatchObject({ done: true });
});
