/** Clean-up of tasks with large heads: what it reads with one call is bounded, and nothing is read twice. */
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { Storage } from '../../src/storage/storage.js';
import { busy, DAY_MS, insideOf } from './cleaner-lab.js';
import type { Inside } from './cleaner-lab.js';
import { trapUnhandledRejections } from './harness.js';
import type { Proc } from './harness.js';

trapUnhandledRejections();

let inside: Inside;
beforeEach(() => {
  inside = insideOf();
});
afterEach(() => inside.world.end());

interface Read {
  readonly ids: readonly string[];
  readonly fields: number;
}

/** A worker, and what it reads of heads with each call. */
function watched(): Proc & { readonly reads: Read[] } {
  const reads: Read[] = [];
  const { over } = inside;
  const read: Storage['read'] = async (partition, keys, ...rest) => {
    const reply = await over.read(partition, keys, ...rest);
    const ids = keys.filter((key) => key.startsWith('h:'));
    const fields = reply.records.reduce((sum, record) => sum + (record?.size ?? 0), 0);
    if (ids.length > 0) reads.push({ ids, fields });
    return reply;
  };
  return { ...inside.proc({ over: { ...over, read } }), reads };
}

async function cleaned(steps: readonly number[]): Promise<Read[]> {
  const { recovery } = inside.proc();
  const task = recovery.withRecovery(async (ctx, _at: number, count: number) => busy(ctx, { steps: count }), {
    name: 'large',
    taskId: (at) => `task-${String(at).padStart(3, '0')}`,
  });
  for (const [at, count] of steps.entries()) await task(at, count);
  inside.world.clock.stepWall(8 * DAY_MS);
  const { recovery: cleaner, reads } = watched();
  const report = await inside.world.until(cleaner.cleanup());
  expect(report).toMatchObject({ completed: steps.length, more: false });
  expect(reads.flatMap(({ ids }) => ids).toSorted()).toEqual(
    steps.map((_, at) => `h:task-${String(at).padStart(3, '0')}`),
  );
  return reads;
}

const all = (count: number, steps: number): number[] => Array.from({ length: count }, () => steps);

it('reads few of them with one call, each of them once, however many steps they go in', async () => {
  const reads = await cleaned(all(12, 700));
  for (const { fields } of reads) expect(fields).toBeLessThan(2_100);
  expect(reads.length).toBeGreaterThanOrEqual(6);
});

it('reads small ones a page at a time, once it knows that they are', async () => {
  const reads = await cleaned(all(150, 1));
  expect(reads.map(({ ids }) => ids.length)).toEqual([1, 2, 4, 8, 16, 19, 50, 50]);
});

it('reads less with one call after one large head', async () => {
  const reads = await cleaned([...all(20, 1), 1_500, ...all(20, 1)]);
  const large = reads.findIndex(({ fields }) => fields > 1_500);
  for (const { ids } of reads.slice(large + 1)) expect(ids).toHaveLength(1);
});
