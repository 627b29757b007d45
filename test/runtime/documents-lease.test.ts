import { afterEach, beforeEach, expect, it } from 'vitest';
import { keys } from '../../src/state/keys.js';
import { settled } from '../support/manual-clock.js';
import { DUE_MS, failed, gated, leap, reader, writeOver } from './documents-lab.js';
import { LEASE_MS, trapUnhandledRejections, World } from './harness.js';

trapUnhandledRejections();

let world: World;
beforeEach(() => void (world = new World()));
afterEach(() => world.end());

const documents = { concurrency: 1, recoveryIntervalMs: 600_000 };

it('a second process waits until the first has ended, then runs', async () => {
  const [one, two] = [reader(world, { documents }), reader(world, { documents })];
  await failed(one, '/a', '/b', '/c');
  leap(world, DUE_MS);
  const { work, open, openAll, most } = gated();
  one.does(work);
  two.does(work);
  one.recovery.documents.start();
  await world.clock.advance(1);
  two.recovery.documents.start();
  await world.clock.advance(5 * LEASE_MS);
  expect([one.tried.length, two.tried]).toEqual([1, []]);
  for (const path of ['/a', '/b', '/c', '/a', '/b', '/c']) {
    open(path);
    await settled();
  }
  openAll();
  await settled();
  expect([one.tried.toSorted(), two.tried]).toEqual([['/a', '/b', '/c'], []]);
  await failed(reader(world), '/d');
  leap(world, DUE_MS);
  two.does(() => 'text');
  await world.clock.advance(2 * LEASE_MS);
  expect([two.tried, most()]).toEqual([['/d'], 1]);
});

it('a run on demand waits for nobody', async () => {
  const [one, two] = [reader(world, { documents }), reader(world, { documents })];
  await failed(one, '/a', '/b');
  leap(world, DUE_MS);
  const { work, openAll } = gated();
  one.does(work);
  one.recovery.documents.start();
  await world.clock.advance(1);
  two.does(() => 'text');
  await expect(two.recovery.documents.recover()).resolves.toMatchObject({ succeeded: 1 });
  openAll();
  await settled();
  expect([...one.tried, ...two.tried].toSorted()).toEqual(['/a', '/b']);
});

it('a second process takes over within a lease after the first has died', async () => {
  const [one, two] = [reader(world, { documents }), reader(world, { documents })];
  await failed(one, '/a', '/b');
  leap(world, DUE_MS);
  one.does(gated().work);
  two.does(() => 'text');
  one.recovery.documents.start();
  await world.clock.advance(1);
  two.recovery.documents.start();
  await world.clock.advance(LEASE_MS);
  expect(two.tried).toEqual([]);
  one.crash();
  await world.clock.advance(2 * LEASE_MS);
  // The other one is its claim's, until somebody recovers tasks.
  expect([one.tried.length, two.tried.length]).toEqual([1, 1]);
  expect([...one.tried, ...two.tried].toSorted()).toEqual(['/a', '/b']);
});

it.each(['taken', 'not renewed'])('a run whose lease is %s begins nothing more', async (how) => {
  const proc = reader(world, { documents });
  await failed(proc, '/a', '/b', '/c');
  leap(world, DUE_MS);
  const { work, openAll } = gated();
  proc.does(work);
  proc.recovery.documents.start();
  await world.clock.advance(1);
  expect(proc.tried.length).toBe(1);
  if (how === 'taken') {
    await writeOver(world, keys.documentLease, { until: String(world.clock.wallMs() + 1e6) });
    await world.clock.advance(LEASE_MS);
  } else {
    // Its renewal is held up for longer than the lease.
    const held = proc.line.hold(({ keys: wanted }) => wanted.includes(keys.documentLease));
    await world.clock.advance(2 * LEASE_MS);
    held.release();
  }
  openAll();
  await world.clock.advance(LEASE_MS);
  expect(proc.tried.length).toBe(1);
  expect(await proc.recovery.documents.getStatus()).toMatchObject({ running: false });
});

it('gives it back when it stops: nobody has to wait for it', async () => {
  const [one, two] = [reader(world, { documents }), reader(world, { documents })];
  await failed(one, '/a', '/b');
  leap(world, DUE_MS);
  const { work, openAll } = gated();
  one.does(work);
  one.recovery.documents.start();
  await world.clock.advance(1);
  const stopped = one.recovery.documents.stop();
  openAll();
  await stopped;
  two.recovery.documents.start();
  await world.clock.advance(1);
  expect([one.tried.length, two.tried.length]).toEqual([1, 1]);
});

it('is looked for again within a lease, also after the clock of the storage went back for long', async () => {
  const [one, two] = [reader(world, { documents }), reader(world, { documents })];
  one.recovery.documents.start();
  await world.clock.advance(1);
  await failed(one, '/a');
  leap(world, DUE_MS);
  await writeOver(world, keys.documentLease, { until: String(world.clock.wallMs() + 86_400_000) });
  two.recovery.documents.start();
  await world.clock.advance(LEASE_MS);
  expect(two.tried).toEqual([]);
  // Whoever had it has ended.
  await writeOver(world, keys.documentLease, { until: '0' });
  await world.clock.advance(LEASE_MS + 1_000);
  expect(two.tried).toEqual(['/a']);
});
