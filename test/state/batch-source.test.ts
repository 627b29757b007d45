import { expect, it } from 'vitest';
import { systemClock } from '../../src/clock.js';
import { CommitQueue } from '../../src/state/commit-queue.js';
import { Store } from '../../src/state/store.js';
import { memoryStorage } from '../../src/storage/memory.js';
import type { Batch, Outcome } from '../../src/storage/storage.js';

async function lab() {
  const store = new Store(memoryStorage(), 'n', systemClock, 1_000);
  const queue = new CommitQueue(store);
  const notAfter = Date.now() + 10_000;
  const write = async (
    key: string,
    fields: Record<string, string>,
    more: Partial<Batch> = {},
  ): Promise<Outcome> => {
    const guard = { key, expect: null, next: `1.${key}.0` };
    return (await queue.commit(store.home, { guard, notAfter, set: [{ key, fields }], ...more })).outcome;
  };
  await write('counter', { n: 'not a number' });
  const field = async (key: string, name: string): Promise<string | undefined> =>
    (await store.read(store.home, [key])).records[0]?.get(name);
  return { write, field };
}

const COUNTS = { increment: [{ key: 'counter', field: 'n', by: 1 }] };

it('counts nothing where something else has written over a counter, and writes the rest', async () => {
  const { write, field } = await lab();
  expect(await write('a', { status: 'completed' }, COUNTS)).toMatchObject({ status: 'applied' });
  expect(await field('a', 'status')).toBe('completed');
  expect(await field('counter', 'n')).toBe('not a number');
});

it('is refused once more where it is not the counter', async () => {
  const { write, field } = await lab();
  const bad = { ...COUNTS, index: [{ index: 'i', id: 'x', score: Number.NaN }] };
  expect(await write('b', { status: 'completed' }, bad)).toMatchObject({ status: 'refused' });
  expect(await field('b', 'status')).toBeUndefined();
});
