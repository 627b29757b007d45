/** Whatever happens to documents, the indexes and records say of each what a plain model says. */
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { failureIndexes } from '../../src/state/failures.js';
import { keys } from '../../src/state/keys.js';
import { MemoryPartition, storageOver } from '../../src/storage/memory.js';
import { LEASE_MS, rejectionOf, World } from './harness.js';
import { die, startQuietly } from './lab.js';

const DO = ['fail', 'succeed', 'crash', 'cancel', 'requeue', 'remove'] as const;
type Doing = (typeof DO)[number];

const schedules = fc.array(
  fc.record({ id: fc.constantFrom('a', 'b', 'c'), what: fc.constantFrom<Doing>(...DO), reason: fc.nat(1) }),
  { maxLength: 14 },
);

/** Null: it is no failed document. */
type Known = { retryCount: number; attempts: number; reason: number; dead: boolean } | null;

function entriesOf(partitions: readonly MemoryPartition[], index: string): string[] {
  return partitions
    .flatMap((each) => [...(each.indexes.get(index)?.entries() ?? [])].map(({ id }) => id))
    .toSorted();
}

test('property: the indexes agree with what has happened', { timeout: 120_000 }, async () => {
  await fc.assert(
    fc.asyncProperty(schedules, fc.constantFrom(1, 3), async (schedule, count) => {
      const partitions: MemoryPartition[] = [];
      const world = new World(count);
      const make = (): MemoryPartition => {
        const partition = new MemoryPartition(1_000);
        partitions.push(partition);
        return partition;
      };
      const over = storageOver(make, world.clock, count);
      const model = new Map<string, Known>();
      for (const { id, what, reason } of schedule) {
        // Schedules may crash more often than the budget allows: what is given up is for other tests.
        const proc = world.proc({ over, maxCrashes: 50 });
        const { recovery } = proc;
        const works = (): unknown => {
          if (what === 'succeed') return 'text';
          if (what === 'crash') return new Promise(() => {});
          throw reason === 0 ? new TypeError('no body') : new RangeError('too far');
        };
        const task = recovery.withRecovery((_ctx, _id: string) => works(), {
          name: 'n',
          taskId: (given) => given,
          document: (given) => `/in/${given}`,
        });
        const { status = null, orphanCause = null } = (await recovery.tasks.get(id)) ?? {};
        const known = model.get(id) ?? null;
        if (what === 'fail' || what === 'succeed' || what === 'crash') {
          if (status === 'cancelled' || status === 'completed') continue;
          // A direct call of what is orphaned goes on with the attempt that was counted, unless it was put back since.
          const again = known !== null && status === 'failed' ? 1 : 0;
          const afresh = known !== null && status === 'orphaned' && orphanCause === 'requeued' ? 1 : 0;
          const next = {
            retryCount: (known?.retryCount ?? 0) + again,
            attempts: (known?.attempts ?? 0) + again + afresh,
          };
          if (what === 'fail') {
            await rejectionOf(task(id));
            model.set(id, { ...next, reason, dead: false });
          } else if (what === 'succeed') {
            await task(id);
            model.set(id, null);
          } else {
            await startQuietly(task, id);
            await die(world, proc);
            if (known !== null) model.set(id, { ...known, ...next });
            const finder = world.proc({ over });
            // Somebody else's look: found, with no function for it here.
            await finder.recovery.planRecovery();
            continue;
          }
        } else if (what === 'cancel' && status !== null) {
          const outcome = await recovery.tasks.cancel(id);
          if (outcome === 'cancelled') model.set(id, null);
        } else if (
          what === 'requeue' &&
          status !== null &&
          ['failed', 'cancelled', 'orphaned'].includes(status)
        ) {
          await recovery.tasks.requeue(id);
          if (known !== null) model.set(id, { ...known, retryCount: 0 });
        } else if (what === 'remove' && status === 'failed') {
          expect(await recovery.failures.remove(id)).toBe(known !== null);
          model.set(id, null);
        }
        await world.clock.advance(LEASE_MS);
      }
      const { failures, tasks } = world.proc({ over }).recovery;
      const tracked = [...model]
        .filter(([, known]) => known !== null)
        .map(([id]) => id)
        .toSorted();
      expect(entriesOf(partitions, failureIndexes.all)).toEqual(tracked);
      expect(entriesOf(partitions, failureIndexes.open)).toEqual(tracked);
      expect(entriesOf(partitions, failureIndexes.dead)).toEqual([]);
      const waiting: string[] = [];
      for (const id of tracked) {
        const { retryCount, attempts } = model.get(id) ?? { retryCount: 0, attempts: 0 };
        const found = await failures.get(id);
        expect(found).toMatchObject({ retryCount, recoveryAttempts: attempts, documentPath: `/in/${id}` });
        expect(entriesOf(partitions, failureIndexes.by('fingerprint', found?.fingerprint ?? ''))).toContain(
          id,
        );
        expect(entriesOf(partitions, failureIndexes.by('category', 'other'))).toContain(id);
        if ((await tasks.get(id))?.status === 'failed') waiting.push(id);
      }
      const used = partitions.flatMap((each) =>
        [...each.indexes.keys()].filter((name) => /retry:\d/.test(name)),
      );
      const inRetry = [...new Set(used)].flatMap((name) => entriesOf(partitions, name)).toSorted();
      expect(inRetry).toEqual(waiting.toSorted());
      const records = partitions.flatMap((each) => [...each.records.keys()]);
      expect(records.filter((key) => key.startsWith('f:')).toSorted()).toEqual(
        tracked.map((id) => keys.failure(id)),
      );
      const groups = await failures.groups();
      expect(groups.reduce((sum, group) => sum + group.count, 0)).toBe(tracked.length);
      expect(await failures.count()).toBe(tracked.length);
    }),
    { numRuns: 60 },
  );
});
