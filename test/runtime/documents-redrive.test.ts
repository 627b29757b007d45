import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { failureIndexes } from '../../src/state/failures.js';
import { settled } from '../support/manual-clock.js';
import { broken, DAY_MS, DUE_MS, failed, gated, leap, reader } from './documents-lab.js';
import type { Reader } from './documents-lab.js';
import { trapUnhandledRejections, World } from './harness.js';

trapUnhandledRejections();

describe.each([1, 3])('a redrive, on %i partitions', (partitions) => {
  let world: World;
  beforeEach(() => void (world = new World(partitions)));
  afterEach(() => world.end());

  const refused = (): never => {
    throw Object.assign(new Error('refused'), { code: 'ECONNREFUSED' });
  };

  /** "a" and "b" are broken, "c" was refused. */
  async function three(proc: Reader): Promise<void> {
    await failed(proc, '/a', '/b');
    proc.does(refused);
    await failed(proc, '/c');
    proc.does(() => 'text');
  }

  const fingerprint = async ({ recovery }: Reader, path: string): Promise<string> =>
    (await recovery.failures.get(path))?.fingerprint ?? '';

  it('tries one group, whether or not it is due', async () => {
    const proc = reader(world);
    await three(proc);
    const report = await proc.recovery.documents.recover({ fingerprint: await fingerprint(proc, '/a') });
    expect(report).toMatchObject({ found: 2, attempted: 2, succeeded: 2 });
    expect(proc.tried.toSorted()).toEqual(['/a', '/b']);
    expect(await proc.recovery.failures.count()).toBe(1);
  });

  it('tries one category, and with names only those', async () => {
    const proc = reader(world);
    await three(proc);
    const { documents } = proc.recovery;
    await expect(documents.recover({ category: 'network', names: ['other'] })).resolves.toMatchObject({
      found: 0,
    });
    await expect(documents.recover({ category: 'network' })).resolves.toMatchObject({ succeeded: 1 });
    expect(proc.tried).toEqual(['/c']);
  });

  it('tries these documents, each once, and knows nothing of others', async () => {
    const totals = new Set<number>();
    const proc = reader(world, { documents: { onProgress: ({ total }) => totals.add(total) } });
    await three(proc);
    const taskIds = ['/c', '/a', '/c', '/nobody'];
    await expect(proc.recovery.documents.recover({ taskIds })).resolves.toMatchObject({
      found: 2,
      succeeded: 2,
    });
    expect([proc.tried.toSorted(), [...totals]]).toEqual([['/a', '/c'], [3]]);
    await expect(proc.recovery.documents.recover({ taskIds: [] })).resolves.toMatchObject({ found: 0 });
  });

  it('with several filters tries what all of them name', async () => {
    const proc = reader(world);
    await three(proc);
    const filter = { taskIds: ['/a', '/c'], fingerprint: await fingerprint(proc, '/b') };
    await expect(proc.recovery.documents.recover(filter)).resolves.toMatchObject({ found: 1, succeeded: 1 });
    expect(proc.tried).toEqual(['/a']);
  });

  it('after a version waits for the deploy', async () => {
    const old = reader(world, { task: { version: '1' } });
    await failed(old, '/a');
    old.does(() => 'text');
    await expect(old.recovery.documents.recover({ afterVersion: '1' })).resolves.toMatchObject({ found: 0 });
    const deployed = reader(world, { task: { version: '2' } });
    deployed.does(() => 'text');
    const { documents } = deployed.recovery;
    await expect(documents.recover({ afterVersion: '2' })).resolves.toMatchObject({ found: 0 });
    await expect(documents.recover({ afterVersion: '1' })).resolves.toMatchObject({ found: 1, succeeded: 1 });
    expect([old.tried, deployed.tried]).toEqual([[], ['/a']]);
  });

  it('gives all retries back, to dead letters too', async () => {
    const proc = reader(world, { documents: { maxRetries: 1 } });
    await failed(proc, '/a', '/b');
    leap(world, DUE_MS);
    await expect(proc.recovery.documents.recover({ names: ['read'] })).resolves.toMatchObject({
      deadLettered: 2,
    });
    const { failures, documents } = proc.recovery;
    leap(world, DAY_MS);
    await expect(documents.recover()).resolves.toMatchObject({ found: 0 });
    proc.does((path) => (path === '/a' ? 'text' : broken()));
    const filter = { fingerprint: await fingerprint(proc, '/a') };
    await expect(documents.recover(filter)).resolves.toMatchObject({ found: 2, succeeded: 1, failed: 1 });
    expect(await failures.get('/b')).toMatchObject({ status: 'failed', retryCount: 0, recoveryAttempts: 2 });
    expect(await documents.getStatus()).toMatchObject({ dead_letters: 0, total_failed_documents: 1 });
  });

  it.each(['same', 'other'])('two at once try each document once, in the %s process', async (where) => {
    const one = reader(world);
    const two = where === 'same' ? one : reader(world);
    await failed(one, '/a', '/b', '/c');
    const filter = { fingerprint: await fingerprint(one, '/a') };
    const { work, openAll, at } = gated();
    const work2 = async (...given: Parameters<typeof work>): Promise<never> => {
      await work(...given);
      return broken();
    };
    one.does(work2);
    two.does(work2);
    const runs = [one, two].map(({ recovery }) => recovery.documents.recover(filter));
    await settled();
    expect(at.size).toBe(3);
    await world.clock.advance(1);
    openAll();
    const reports = await Promise.all(runs);
    expect(reports.reduce((sum, { attempted }) => sum + attempted, 0)).toBe(3);
    expect([...one.tried, ...(where === 'same' ? [] : two.tried)].toSorted()).toEqual(['/a', '/b', '/c']);
  });

  it('two at once in one process try each document once, however fast it fails', async () => {
    const proc = reader(world);
    await failed(proc, '/a', '/b', '/c');
    const filter = { fingerprint: await fingerprint(proc, '/a') };
    const { documents } = proc.recovery;
    const index = failureIndexes.by('fingerprint', filter.fingerprint);
    const held = proc.line.hold(({ kind, keys }) => kind === 'range' && keys.includes(index));
    const slow = documents.recover(filter);
    await held.reached;
    // All in the same millisecond: their times tell nothing.
    await expect(documents.recover(filter)).resolves.toMatchObject({ attempted: 3 });
    held.release();
    await expect(slow).resolves.toMatchObject({ attempted: 0 });
    expect(proc.tried.toSorted()).toEqual(['/a', '/b', '/c']);
    // Later ones do.
    await documents.recover(filter);
    expect(proc.tried.length).toBe(6);
  });

  it('leaves what another process would take up alone, when there is no function here', async () => {
    const proc = reader(world);
    await three(proc);
    const other = reader(world, { task: { name: 'other' } });
    const report = await other.recovery.documents.recover({ taskIds: ['/a'] });
    expect(report).toMatchObject({ found: 1, attempted: 0, skipped: 1 });
    expect(await proc.recovery.failures.get('/a')).toMatchObject({ status: 'failed', retryCount: 0 });
  });

  it('is what recovery.recover does with a fingerprint', async () => {
    const proc = reader(world);
    await three(proc);
    proc.does((path) => (path === '/a' ? 'text' : broken()));
    const run = await proc.recovery.recover({ fingerprint: await fingerprint(proc, '/a') });
    expect(run).toMatchObject({ warnings: [], postponed: null });
    await expect(run.finished).resolves.toMatchObject({
      discovered: 2,
      recovered: 2,
      failed: 1,
      skipped: 0,
      deadLettered: 0,
    });
  });
});
