import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { keys } from '../../src/state/keys.js';
import type { Storage } from '../../src/storage/storage.js';
import { settled } from '../support/manual-clock.js';
import { broken, DAY_MS, DUE_MS, failed, gated, leap, reader, writeOver } from './documents-lab.js';
import { rejectionOf, trapUnhandledRejections, World } from './harness.js';

trapUnhandledRejections();

const PATHS = Array.from({ length: 7 }, (_, n) => `/in/${n}`);

describe.each([1, 3])('a run of document recovery, on %i partitions', (partitions) => {
  let world: World;
  beforeEach(() => void (world = new World(partitions)));
  afterEach(() => world.end());

  it('does nothing before anything is due, nor where there is nothing', async () => {
    const proc = reader(world);
    const { documents } = proc.recovery;
    const nothing = {
      found: 0,
      attempted: 0,
      succeeded: 0,
      failed: 0,
      skipped: 0,
      deadLettered: 0,
      expired: 0,
    };
    await expect(documents.recover()).resolves.toEqual({ ...nothing, durationMs: 0, tasks: [] });
    await failed(proc, ...PATHS);
    await expect(documents.recover()).resolves.toMatchObject(nothing);
    expect(proc.tried).toEqual([]);
  });

  it('retries what is due once each, keeps results, and counts what fails again', async () => {
    const proc = reader(world);
    await failed(proc, ...PATHS);
    leap(world, DUE_MS);
    proc.does((path) => (path === '/in/3' ? broken() : `text of ${path}`));
    const report = await proc.recovery.documents.recover();
    expect(report).toMatchObject({ found: 7, attempted: 7, succeeded: 6, failed: 1, skipped: 0 });
    expect(report.tasks.find(({ taskId }) => taskId === '/in/3')).toMatchObject({
      name: 'read',
      outcome: 'failed',
      error: expect.stringContaining('broken'),
    });
    expect(proc.tried.toSorted()).toEqual(PATHS);
    await expect(proc.read('/in/2')).resolves.toBe('text of /in/2');
    const { failures, tasks } = proc.recovery;
    expect(await failures.count()).toBe(1);
    expect(await failures.get('/in/3')).toMatchObject({ retryCount: 1, recoveryAttempts: 1 });
    expect(await tasks.counts()).toMatchObject({ completed: 6, failed: 1 });
  });

  it('looks them up a batch at a time', async () => {
    const limits: (number | undefined)[] = [];
    const reads: number[] = [];
    const { memory } = world;
    const over: Storage = {
      ...memory,
      range: (partition, index, query, options) => {
        if (index.startsWith('failures:retry:')) limits.push(query.limit);
        return memory.range(partition, index, query, options);
      },
      read: (partition, wanted, ...rest) => {
        if (wanted[0] === keys.head('/in/0') || wanted.length > 1) reads.push(wanted.length);
        return memory.read(partition, wanted, ...rest);
      },
    };
    const proc = reader(world, { over, documents: { batchSize: 2 } });
    await failed(proc, ...PATHS);
    leap(world, DUE_MS);
    reads.length = 0;
    await proc.recovery.documents.recover();
    expect(new Set(limits)).toEqual(new Set([2]));
    expect(Math.max(...reads)).toBeLessThanOrEqual(2);
    expect(proc.tried.toSorted()).toEqual(PATHS);
  });

  it('never tries more at once than its concurrency, also when two are under way', async () => {
    const proc = reader(world, { documents: { concurrency: 2, batchSize: 3 } });
    await failed(proc, ...PATHS);
    leap(world, DUE_MS);
    const { at, work, most, openAll } = gated();
    proc.does(work);
    const { documents } = proc.recovery;
    const [first, second] = [documents.recover(), documents.recover()];
    for (let turn = 0; turn < 40; turn += 1) {
      await settled();
      expect(at.size).toBeLessThanOrEqual(2);
      openAll();
    }
    const reports = await Promise.all([first, second]);
    expect(most()).toBe(2);
    expect(proc.tried.toSorted()).toEqual(PATHS);
    expect(reports.reduce((sum, { succeeded }) => sum + succeeded, 0)).toBe(7);
  });

  it('leaves what has no function here, or one that takes up nothing by itself', async () => {
    const other = reader(world, { task: { name: 'other' } });
    await failed(other, '/other');
    const never = reader(world, { task: { name: 'never', recovery: 'never' } });
    await failed(never, '/never');
    leap(world, DUE_MS);
    const report = await never.recovery.documents.recover();
    expect(report).toMatchObject({ found: 2, attempted: 0, skipped: 2, deadLettered: 0 });
    expect(report.tasks.map(({ outcome }) => outcome)).toEqual(['skipped', 'skipped']);
    leap(world, DAY_MS);
    const { failures } = never.recovery;
    for (const path of ['/other', '/never'])
      expect(await failures.get(path)).toMatchObject({
        status: 'failed',
        retryCount: 0,
        recoveryAttempts: 0,
      });
    expect([never.tried, other.tried]).toEqual([[], []]);
  });

  it('with maxRetries 0 gives up what it has a function for, and nothing else', async () => {
    const other = reader(world, { task: { name: 'other' } });
    await failed(other, '/other');
    const proc = reader(world, { documents: { maxRetries: 0 } });
    await failed(proc, '/in');
    await expect(proc.recovery.documents.recover()).resolves.toMatchObject({ found: 0, deadLettered: 1 });
    const { failures } = proc.recovery;
    expect((await failures.get('/in'))?.status).toBe('dead_letter');
    expect((await failures.get('/other'))?.status).toBe('failed');
  });

  it('with names it touches no other documents, not even those that are too old', async () => {
    const proc = reader(world);
    const other = reader(world, { task: { name: 'other' } });
    await failed(proc, '/in');
    await failed(other, '/other');
    leap(world, 8 * DAY_MS);
    const { documents, failures } = proc.recovery;
    await expect(documents.recover({ names: ['nobody'] })).resolves.toMatchObject({ found: 0, expired: 0 });
    expect(await failures.count()).toBe(2);
    await expect(documents.recover({ names: ['other'] })).resolves.toMatchObject({ expired: 1 });
    expect(await failures.get('/in')).not.toBe(null);
    await expect(documents.recover()).resolves.toMatchObject({ expired: 1 });
    expect(await failures.count()).toBe(0);
  });

  it('one unreadable record among the readable ones spoils nothing', async () => {
    const proc = reader(world);
    await failed(proc, ...PATHS);
    leap(world, DUE_MS);
    await writeOver(world, keys.head('/in/4'), { attempt: 'many', status: '?' });
    proc.does(() => 'text');
    await expect(proc.recovery.documents.recover()).resolves.toMatchObject({ attempted: 6, succeeded: 6 });
    expect(proc.tried.toSorted()).toEqual(PATHS.filter((path) => path !== '/in/4'));
  });

  it('a document that is called at the same time is tried once, and both hear of it', async () => {
    const proc = reader(world);
    await failed(proc, '/in/0', '/in/1');
    leap(world, DUE_MS);
    const { at, work, openAll } = gated();
    proc.does(work);
    const called = proc.read('/in/0');
    await settled();
    const run = proc.recovery.documents.recover();
    await settled();
    const joined = proc.read('/in/1');
    await settled();
    expect([...at.keys()].toSorted()).toEqual(['/in/0', '/in/1']);
    openAll();
    await expect(Promise.all([called, joined])).resolves.toEqual(['text', 'text']);
    await expect(run).resolves.toMatchObject({ attempted: 1, succeeded: 1 });
    expect(proc.tried.toSorted()).toEqual(['/in/0', '/in/1']);
  });

  it('tries a document once, however short its wait is and however long the run takes', async () => {
    const proc = reader(world, {
      documents: { minRetryIntervalMs: 1, maxRetryIntervalMs: 1, concurrency: 1 },
    });
    const { documents, tasks } = proc.recovery;
    // The places of their next retries are known from before.
    await failed(proc, ...PATHS);
    await world.clock.advance(10);
    await documents.recover();
    for (const path of PATHS) await tasks.remove(path);
    await failed(proc, ...PATHS);
    await world.clock.advance(10);
    proc.does(async (path) => {
      if (path !== proc.tried[0])
        await new Promise<void>((resolve) => void world.clock.schedule(50, resolve));
      broken();
    });
    const report = await world.until(documents.recover());
    expect(report).toMatchObject({ attempted: 7, failed: 7 });
    expect(proc.tried.toSorted()).toEqual(PATHS);
  });

  it('is refused after the shutdown', async () => {
    const { recovery } = reader(world);
    await world.until(recovery.shutdown());
    expect(await rejectionOf(recovery.documents.recover())).toMatchObject({ code: 'SHUT_DOWN' });
  });
});
