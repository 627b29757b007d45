/** A storage whose insides a test can see, for tests of what is removed and what stays. */
import { MemoryPartition, storageOver } from '../../src/storage/memory.js';
import type { Storage } from '../../src/storage/storage.js';
import type { RecoveryContext } from '../../src/runtime/context.js';
import { World } from './harness.js';
import type { Proc, ProcOptions } from './harness.js';

export const HOUR_MS = 3_600_000;
export const DAY_MS: number = 24 * HOUR_MS;

export interface Inside {
  readonly world: World;
  readonly partitions: readonly MemoryPartition[];
  readonly over: Storage;
  readonly proc: (options?: ProcOptions) => Proc;
}

export function insideOf(count = 1): Inside {
  const world = new World(count);
  const partitions: MemoryPartition[] = [];
  const make = (): MemoryPartition => {
    const partition = new MemoryPartition(10_000);
    partitions.push(partition);
    return partition;
  };
  const over = storageOver(make, world.clock, count);
  return { world, partitions, over, proc: (options = {}) => world.proc({ over, ...options }) };
}

/** All that is kept of a task, records and places in indexes, as text. Ids that end alike would be mixed up. */
export function remainsOf(partitions: readonly MemoryPartition[], taskId: string): string[] {
  const remains: string[] = [];
  for (const { records, indexes } of partitions) {
    for (const [key, record] of records)
      if (key.endsWith(`:${taskId}`))
        remains.push(
          `${key} ${JSON.stringify(Object.fromEntries([...record].toSorted(([a], [b]) => (a < b ? -1 : 1))))}`,
        );
    for (const [name, index] of indexes)
      // These are of task names.
      if (name !== 'names' && name !== 'retentions')
        for (const { id, score } of index.entries()) if (id === taskId) remains.push(`${name} ${score}`);
  }
  return remains.toSorted();
}

/** Does a bit of everything that leaves records behind, as much of each as is said. */
export async function busy(
  ctx: RecoveryContext,
  { steps = 0, items = 0, checkpoints = 0 }: { steps?: number; items?: number; checkpoints?: number },
): Promise<void> {
  const all = <T>(count: number, make: (at: number) => T): T[] =>
    Array.from({ length: count }, (_, at) => make(at));
  await Promise.all(
    all(steps, (at) => ctx.step(`step-${at}`, async () => 'x'.repeat(at % 2 === 0 ? 2_000 : 1))),
  );
  if (items > 0)
    await ctx.map(
      'map',
      all(items, (at) => `item-${at}`),
      async (item) => item,
      { key: (item) => item },
    );
  for (const at of all(checkpoints, (each) => each))
    await ctx.createCheckpoint({ name: `c-${at}`, progressPercent: 1, recoverableData: { at } });
}
