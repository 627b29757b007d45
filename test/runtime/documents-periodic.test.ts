import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { settled } from '../support/manual-clock.js';
import { DUE_MS, failed, gated, HOUR_MS, leap, reader } from './documents-lab.js';
import type { Reader } from './documents-lab.js';
import { trapUnhandledRejections, World } from './harness.js';
import { swept, watched } from './lab.js';

trapUnhandledRejections();

let world: World;
beforeEach(() => void (world = new World()));
afterEach(() => world.end());

const EVERY_MS = 60_000;
const often = { recoveryIntervalMs: EVERY_MS, minRetryIntervalMs: 1, maxRetries: 50 };

/** How often its document was tried while time passes. */
async function triedIn(proc: Reader, ms: number): Promise<number> {
  proc.tried.length = 0;
  await world.clock.advance(ms);
  return proc.tried.length;
}

describe('start', () => {
  it('runs at once, and then an interval after each end', async () => {
    const proc = reader(world, { documents: often });
    await failed(proc, '/a');
    await world.clock.advance(10);
    proc.recovery.documents.start();
    expect(await triedIn(proc, 1)).toBe(1);
    expect(await triedIn(proc, EVERY_MS - 10)).toBe(0);
    expect(await triedIn(proc, 20)).toBe(1);
    expect(await triedIn(proc, 10 * EVERY_MS)).toBe(10);
  });

  it('counts the interval from the end of a run', async () => {
    const proc = reader(world, { documents: often });
    await failed(proc, '/a');
    leap(world, DUE_MS);
    const { work, openAll } = gated();
    proc.does(work);
    proc.recovery.documents.start();
    expect(await triedIn(proc, 3 * EVERY_MS)).toBe(1);
    openAll();
    await settled();
    proc.does(() => 'text');
    await failed(reader(world, { task: { name: 'read' } }), '/b');
    expect(await triedIn(proc, EVERY_MS - 10)).toBe(0);
    expect(await triedIn(proc, 20)).toBe(1);
  });

  it('runs once without periodic', async () => {
    const proc = reader(world, { documents: { ...often, periodic: false } });
    await failed(proc, '/a');
    await world.clock.advance(10);
    proc.recovery.documents.start();
    expect(await triedIn(proc, 10 * EVERY_MS)).toBe(1);
  });

  it('twice is once', async () => {
    const proc = reader(world, { documents: often });
    await failed(proc, '/a');
    await world.clock.advance(10);
    proc.recovery.documents.start();
    proc.recovery.documents.start();
    expect(await triedIn(proc, 10 * EVERY_MS + 50)).toBe(11);
  });

  it('comes with runStartupRecovery where there is a documents option, and only there', async () => {
    const [without, first] = [world.proc(), reader(world, { documents: often })];
    const tried: string[] = [];
    without.recovery.withRecovery((_ctx, path: string) => void tried.push(path), { name: 'read' });
    await failed(first, '/a', '/b');
    leap(world, DUE_MS);
    await swept(world, without);
    await world.clock.advance(HOUR_MS);
    expect(tried).toEqual([]);
    // It does what it is asked to.
    await expect(without.recovery.documents.recover({ taskIds: ['/a'] })).resolves.toMatchObject({
      succeeded: 1,
    });
    expect(tried).toEqual(['/a']);
    await swept(world, first);
    await world.clock.advance(1);
    expect(first.tried).toEqual(['/b']);
  });

  it('does nothing in or after a shutdown', async () => {
    const proc = reader(world, { documents: often });
    await failed(proc, '/a');
    await world.until(proc.recovery.shutdown());
    proc.recovery.documents.start();
    expect(await triedIn(proc, 3 * EVERY_MS)).toBe(0);
  });
});

describe('stop', () => {
  it('waits for the attempts in hand, and nothing begins after them', async () => {
    const proc = reader(world, { documents: { ...often, concurrency: 1 } });
    await failed(proc, '/a', '/b', '/c');
    leap(world, DUE_MS);
    const { at, work, openAll } = gated();
    proc.does(work);
    proc.recovery.documents.start();
    await world.clock.advance(1);
    const stopped = watched(proc.recovery.documents.stop());
    await world.clock.advance(1_000);
    expect([at.size, stopped.state]).toEqual([1, 'open']);
    openAll();
    await settled();
    expect([proc.tried.length, stopped.state]).toEqual([1, 'resolved']);
    expect(await triedIn(proc, 10 * EVERY_MS)).toBe(0);
    expect(await proc.recovery.documents.getStatus()).toMatchObject({ running: false });
  });

  it('ends runs on demand as well', async () => {
    const proc = reader(world, { documents: { concurrency: 1 } });
    await failed(proc, '/a', '/b');
    leap(world, DUE_MS);
    const { work, openAll } = gated();
    proc.does(work);
    const run = proc.recovery.documents.recover();
    await settled();
    const stopped = proc.recovery.documents.stop();
    openAll();
    await stopped;
    await expect(run).resolves.toMatchObject({ attempted: 1, succeeded: 1 });
  });

  it('before a start, or twice, is nothing', async () => {
    const { recovery } = reader(world);
    await Promise.all([recovery.documents.stop(), recovery.documents.stop()]);
  });

  it('can be followed by another start', async () => {
    const proc = reader(world, { documents: often });
    await failed(proc, '/a');
    await world.clock.advance(10);
    proc.recovery.documents.start();
    await world.clock.advance(1);
    await proc.recovery.documents.stop();
    expect(await triedIn(proc, 3 * EVERY_MS)).toBe(0);
    proc.recovery.documents.start();
    expect(await triedIn(proc, 10 * EVERY_MS + 50)).toBe(11);
  });

  it('a start that does not wait for it makes no second series', async () => {
    const proc = reader(world, { documents: { ...often, concurrency: 1 } });
    await failed(proc, '/a');
    leap(world, DUE_MS);
    const { work, openAll } = gated();
    proc.does(work);
    const { documents } = proc.recovery;
    documents.start();
    await world.clock.advance(1);
    const stopped = documents.stop();
    documents.start();
    await world.clock.advance(1);
    openAll();
    await world.until(stopped);
    await failed(reader(world, { documents: often }), '/b');
    proc.does(() => {
      throw new Error('again');
    });
    await world.clock.advance(EVERY_MS);
    expect(await triedIn(proc, 10 * EVERY_MS)).toBe(10);
    await documents.stop();
    expect(await triedIn(proc, 3 * EVERY_MS)).toBe(0);
  });
});
