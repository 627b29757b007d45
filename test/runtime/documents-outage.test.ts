import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { RecoveryError } from '../../src/errors.js';
import { keys } from '../../src/state/keys.js';
import type { Storage } from '../../src/storage/storage.js';
import { settled } from '../support/manual-clock.js';
import { broken, DAY_MS, DUE_MS, failed, gated, HOUR_MS, leap, reader } from './documents-lab.js';
import { alertsOf, away, LEASE_MS, trapUnhandledRejections, untilAborted, World } from './harness.js';
import { swept, watched } from './lab.js';

trapUnhandledRejections();

let world: World;
beforeEach(() => void (world = new World()));
afterEach(() => world.end());

describe('while the storage is away', () => {
  it('a periodic run is told of, and the next one comes', async () => {
    const proc = reader(world, { documents: { recoveryIntervalMs: 60_000 } });
    await failed(proc, '/a');
    leap(world, DUE_MS);
    proc.does(() => 'text');
    proc.line.down = away();
    proc.recovery.documents.start();
    await world.clock.advance(LEASE_MS);
    expect(alertsOf(proc.heard)).toContain('document_recovery_failed');
    expect(proc.tried).toEqual([]);
    proc.line.down = null;
    await world.clock.advance(61_000);
    expect(proc.tried).toEqual(['/a']);
  });

  it('a run on demand rejects, after its attempts have ended', async () => {
    const proc = reader(world, { documents: { concurrency: 2, batchSize: 1 } });
    await failed(proc, '/a', '/b', '/c');
    leap(world, DUE_MS);
    const { at, work, open } = gated();
    proc.does(work);
    const run = watched(proc.recovery.documents.recover());
    await settled();
    const [first = '', second = ''] = [...at.keys()];
    proc.line.down = away();
    open(first);
    await settled();
    expect(run.state).toBe('open');
    open(second);
    await world.clock.advance(LEASE_MS);
    expect(run).toMatchObject({ state: 'rejected', value: { code: 'STORAGE_UNAVAILABLE' } });
    expect(proc.tried.length).toBe(2);
    expect(await proc.recovery.documents.getStatus().catch(() => null)).toBe(null);
    proc.line.down = null;
    expect(await proc.recovery.documents.getStatus()).toMatchObject({ running: false });
  });

  it('nothing stays taken that was not tried', async () => {
    const proc = reader(world);
    await failed(proc, '/a');
    leap(world, DUE_MS);
    const held = proc.line.hold(
      ({ kind, keys: wanted }) => kind === 'commit' && wanted.includes(keys.head('/a')),
    );
    const run = watched(proc.recovery.documents.recover());
    await held.reached;
    proc.line.down = away();
    held.release();
    await world.clock.advance(LEASE_MS);
    expect(run.state).toBe('rejected');
    proc.line.down = null;
    proc.does(() => 'text');
    await expect(world.until(proc.recovery.documents.recover())).resolves.toMatchObject({ succeeded: 1 });
  });

  it('the note of a run that something else has written over is no reason to fail', async () => {
    const { memory } = world;
    const over: Storage = {
      ...memory,
      read: async (partition, wanted, ...rest) => {
        if (wanted.includes(keys.documentRun)) throw new RecoveryError('CORRUPT_RECORD', 'a list');
        return memory.read(partition, wanted, ...rest);
      },
    };
    const proc = reader(world, { over });
    await expect(proc.recovery.documents.recover()).resolves.toMatchObject({ found: 0 });
    expect(await proc.recovery.documents.getStatus()).toMatchObject({ last_recovery_run: null });
  });
});

describe('a shutdown in the middle of a run', () => {
  it.each(['heeds', 'ignores'])('ends in time where a function %s its signal', async (how) => {
    const proc = reader(world, { documents: { concurrency: 2 } });
    await failed(proc, '/a', '/b', '/c', '/d');
    leap(world, DUE_MS);
    proc.does((_path, ctx) => (how === 'heeds' ? untilAborted(ctx) : new Promise(() => {})));
    const run = watched(proc.recovery.documents.recover());
    await settled();
    const down = watched(proc.recovery.shutdown({ timeoutMs: 1_000 }));
    await world.clock.advance(1_000);
    expect(down.state).toBe('resolved');
    await settled();
    // It tells what it did; that it was cut short is no failure.
    expect(run).toMatchObject({ state: 'resolved', value: { attempted: 2 } });
    expect(proc.tried.length).toBe(2);
    const other = reader(world);
    const { orphaned, processing, failed: waiting } = await other.recovery.tasks.counts();
    expect([orphaned + processing, waiting]).toEqual([2, 2]);
    if (how === 'ignores') return;
    expect(processing).toBe(0);
    // Given back: somebody else goes on with the tries that were counted.
    other.does(() => 'text');
    await swept(world, other);
    expect(other.tried.toSorted()).toEqual(proc.tried.toSorted());
    expect(await other.recovery.documents.getStatus()).toMatchObject({
      recovery_attempts: 2,
      successful_recoveries: 2,
      total_failed_documents: 2,
    });
  });

  it('stops periodic runs, and the lease is free', async () => {
    const proc = reader(world, { documents: {} });
    await failed(proc, '/a');
    leap(world, DUE_MS);
    proc.does((_path, ctx) => untilAborted(ctx));
    proc.recovery.documents.start();
    await world.clock.advance(1);
    await world.until(proc.recovery.shutdown({ timeoutMs: 1_000 }));
    const { records } = await world.memory.read('rekindle:0', [keys.documentLease]);
    expect(records[0]?.get('until')).toBe('0');
  });
});

describe('when the clock of the storage jumps', () => {
  it('forward: what it says is due is due, what it says is too old goes', async () => {
    const proc = reader(world);
    await failed(proc, '/a');
    leap(world, 7 * DAY_MS - 1);
    await expect(proc.recovery.documents.recover()).resolves.toMatchObject({ attempted: 1, expired: 0 });
    leap(world, 365 * DAY_MS);
    await expect(proc.recovery.documents.recover()).resolves.toMatchObject({ attempted: 0, expired: 1 });
  });

  it('back: nothing is due before it has caught up', async () => {
    const proc = reader(world);
    await failed(proc, '/a');
    leap(world, -DAY_MS);
    const { documents } = proc.recovery;
    for (const ms of [0, HOUR_MS, DAY_MS - HOUR_MS, HOUR_MS - 1]) {
      leap(world, ms);
      await expect(documents.recover()).resolves.toMatchObject({ found: 0, expired: 0 });
    }
    leap(world, HOUR_MS / 2 + 1);
    await expect(documents.recover()).resolves.toMatchObject({ found: 1, attempted: 1 });
  });

  it('to and fro in the middle of a run: no document twice in it, none over its maximum', async () => {
    const proc = reader(world, { documents: { maxRetries: 2, concurrency: 1 } });
    await failed(proc, '/a', '/b', '/c', '/d');
    const { documents, failures } = proc.recovery;
    const jumps = [-3, 5, -2, 9, -4, 30];
    let jump = 0;
    proc.does(() => {
      leap(world, (jumps[jump % jumps.length] ?? 0) * HOUR_MS);
      jump += 1;
      broken();
    });
    for (let run = 0; run < 8; run += 1) {
      proc.tried.length = 0;
      leap(world, DUE_MS);
      await documents.recover();
      expect(new Set(proc.tried).size).toBe(proc.tried.length);
    }
    for (const { retryCount } of (await failures.list()).documents) expect(retryCount).toBeLessThanOrEqual(2);
    const { recovery_attempts: attempts } = await documents.getStatus();
    expect(attempts).toBeLessThanOrEqual(8);
  });
});
