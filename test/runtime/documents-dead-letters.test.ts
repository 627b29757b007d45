import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DAY_MS, DUE_MS, failed, HOUR_MS, leap, leaseOver, reader } from './documents-lab.js';
import type { Reader } from './documents-lab.js';
import { trapUnhandledRejections, World } from './harness.js';
import { startQuietly } from './lab.js';

trapUnhandledRejections();

describe.each([1, 3])('dead letters, on %i partitions', (partitions) => {
  let world: World;
  beforeEach(() => void (world = new World(partitions)));
  afterEach(() => world.end());

  /** "a" has had its only retry. */
  async function givenUp(proc: Reader): Promise<void> {
    await failed(proc, '/a');
    leap(world, DUE_MS);
    await expect(proc.recovery.documents.recover()).resolves.toMatchObject({ failed: 1, deadLettered: 1 });
    proc.tried.length = 0;
  }

  const dead = { documents: { maxRetries: 1 } };

  it('are what has had all its retries, in the very run of the last', async () => {
    const proc = reader(world, { documents: { maxRetries: 2 } });
    await failed(proc, '/a');
    const { documents, failures } = proc.recovery;
    for (const [deadLettered, status] of [
      [0, 'failed'],
      [1, 'dead_letter'],
    ] as const) {
      leap(world, DAY_MS / 2);
      await expect(documents.recover()).resolves.toMatchObject({ failed: 1, deadLettered });
      expect((await failures.get('/a'))?.status).toBe(status);
    }
    leap(world, DAY_MS);
    await expect(documents.recover()).resolves.toMatchObject({ found: 0, deadLettered: 0 });
    expect(proc.tried).toEqual(['/a', '/a']);
  });

  it('are kept for their retention, counted from when they were given up', async () => {
    const proc = reader(world, dead);
    await givenUp(proc);
    const { documents, failures, tasks } = proc.recovery;
    leap(world, 30 * DAY_MS - 1);
    await expect(documents.recover()).resolves.toMatchObject({ expired: 0 });
    expect(await documents.getStatus()).toMatchObject({ dead_letters: 1, total_failed_documents: 1 });
    leap(world, 1);
    await expect(documents.recover()).resolves.toMatchObject({ expired: 1, attempted: 0 });
    expect([await failures.get('/a'), await tasks.get('/a')]).toEqual([null, null]);
    expect(await documents.getStatus()).toMatchObject({ dead_letters: 0, total_failed_documents: 0 });
  });

  it('others are kept for theirs, counted from their first failure', async () => {
    const proc = reader(world, { documents: { retentionMs: 2 * HOUR_MS, maxRetries: 50 } });
    await failed(proc, '/a');
    leap(world, DUE_MS);
    await proc.recovery.documents.recover();
    leap(world, HOUR_MS / 2 - 1);
    await expect(proc.recovery.documents.recover()).resolves.toMatchObject({ expired: 0 });
    leap(world, 1);
    await expect(proc.recovery.documents.recover()).resolves.toMatchObject({ expired: 1 });
    expect(await proc.recovery.tasks.get('/a')).toBe(null);
  });

  it('can be requeued: they run again, with all their retries', async () => {
    const proc = reader(world, dead);
    await givenUp(proc);
    await proc.recovery.failures.requeue('/a');
    expect(await proc.recovery.failures.get('/a')).toMatchObject({ status: 'orphaned', retryCount: 0 });
    proc.does(() => 'text');
    const { finished } = await world.until(proc.recovery.recover());
    await expect(world.until(finished)).resolves.toMatchObject({ recovered: 1, failed: 0 });
    expect(await proc.recovery.failures.count()).toBe(0);
  });

  it('are dead letters still when they are reported once more', async () => {
    const proc = reader(world, dead);
    await givenUp(proc);
    const report = { documentPath: '/a', name: 'read', error: new Error('again') };
    await proc.recovery.failures.record(report);
    expect(await proc.recovery.documents.getStatus()).toMatchObject({ dead_letters: 1 });
    leap(world, 30 * DAY_MS);
    await expect(proc.recovery.documents.recover()).resolves.toMatchObject({ expired: 1 });
  });

  it('count and expire also when they were no failed documents before they were reported', async () => {
    const proc = reader(world, dead);
    await givenUp(proc);
    await proc.recovery.failures.remove('/a');
    expect(await proc.recovery.documents.getStatus()).toMatchObject({ dead_letters: 0 });
    await proc.recovery.failures.record({ documentPath: '/a', name: 'read', error: new Error('again') });
    expect(await proc.recovery.documents.getStatus()).toMatchObject({
      dead_letters: 1,
      total_failed_documents: 1,
    });
    leap(world, 30 * DAY_MS);
    await expect(proc.recovery.documents.recover()).resolves.toMatchObject({ expired: 1 });
    expect(await proc.recovery.documents.getStatus()).toMatchObject({ total_failed_documents: 0 });
  });

  it('are what a strategy gives up in place of an attempt', async () => {
    const strategies = [
      { name: 'none', decide: () => ({ action: 'dead_letter', reason: 'no use', evidence: {} }) as const },
    ];
    const proc = reader(world, { strategies });
    await failed(proc, '/a');
    leap(world, DUE_MS);
    const report = await proc.recovery.documents.recover();
    expect(report).toMatchObject({ found: 1, attempted: 0, failed: 0, deadLettered: 1 });
    expect([proc.tried, (await proc.recovery.failures.get('/a'))?.status]).toEqual([[], 'dead_letter']);
  });

  it('are what kills its process, too', async () => {
    const first = reader(world);
    await failed(first, '/a');
    const second = reader(world);
    second.does(() => new Promise(() => {}));
    await startQuietly({ start: async () => ({ result: second.read('/a') }) });
    second.crash();
    await leaseOver(world);
    const third = reader(world, { maxCrashes: 1 });
    const { finished } = await world.until(third.recovery.recover());
    await world.until(finished);
    const { failures, documents } = third.recovery;
    expect(await failures.get('/a')).toMatchObject({ status: 'dead_letter' });
    await expect(documents.recover()).resolves.toMatchObject({ found: 0, attempted: 0 });
    expect(third.tried).toEqual([]);
  });
});
