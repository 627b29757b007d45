/** Outages of Redis that last longer than the lease: nobody crashed, so no task is charged, and all of them go on. */
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, expect, test } from 'vitest';
import { keys } from '../../src/state/keys.js';
import { startRedis } from '../support/redis-server.js';
import type { RedisServer } from '../support/redis-server.js';
import { startProxy } from '../support/tcp-proxy.js';
import type { TcpProxy } from '../support/tcp-proxy.js';
import type { WorkerProcess } from './support/worker-process.js';
import { ROUNDS, endWithEachTest, makeWorld } from './support/world.js';
import type { World } from './support/world.js';

let server: RedisServer;
let proxy: TcpProxy;

// Before `endWithEachTest`: hooks after a test run in reverse order, and the world ends before its server.
afterEach(async () => {
  await proxy.close();
  await server.stop();
});
endWithEachTest();

const ids: readonly string[] = Array.from({ length: 8 }, (_, index) => `gate-${index}`);

interface Held {
  readonly id: string;
  readonly worker: WorkerProcess;
  readonly attempt: number;
}

/** Who runs each task now, once somebody runs all of them. */
async function holders(world: World, workers: readonly WorkerProcess[], leaseMs: number): Promise<Held[]> {
  const held: Held[] = [];
  const running = async (id: string): Promise<boolean> => {
    const { status, attempt } = await world.task(id);
    const worker = workers.find((each) => each.all({ type: 'running', id, attempt }).length > 0);
    const stopped = worker?.all({ type: 'aborted', id, attempt }).length ?? 0;
    if (status !== 'processing' || worker === undefined || stopped > 0) return false;
    held.push({ id, worker, attempt });
    return true;
  };
  const all = async (): Promise<boolean> => {
    held.length = 0;
    return (await Promise.all(ids.map(running))).every(Boolean);
  };
  // An expired lease is taken when it is found, and not by a process that has only just come to itself.
  await expect.poll(all, { timeout: 20_000 + 4 * leaseMs, interval: 50 }).toBe(true);
  return held;
}

const OUTAGES: readonly { readonly begin: () => void; readonly end: () => void }[] = [
  { begin: () => server.pause(), end: () => server.resume() },
  { begin: () => proxy.refuse(), end: () => proxy.heal() },
  { begin: () => proxy.blackHole(), end: () => proxy.heal() },
];

async function sitOut(leaseMs: number, outageMs: number, kinds: typeof OUTAGES): Promise<void> {
  server = await startRedis();
  proxy = await startProxy(server);
  const world = await makeWorld('redis', server);
  const options = { leaseMs, sweepIntervalMs: leaseMs / 5, port: proxy.port };
  const workers = await Promise.all([world.worker(options), world.worker(options)]);
  for (const worker of workers) await worker.call('startup');
  await Promise.all(ids.map(async (id, index) => workers[index % 2]?.call('start', 'gate', { id })));
  for (const { begin, end } of kinds) {
    const before = await holders(world, workers, leaseMs);
    begin();
    const over = delay(outageMs);
    // Each worker gives up all it has, by its own clock.
    for (const { id, worker, attempt } of before) {
      const { code } = await worker.heard({ type: 'aborted', id, attempt });
      expect(code).toBe('LEASE_UNCERTAIN');
    }
    await over;
    end();
  }
  const last = await holders(world, workers, leaseMs);
  for (const { id, worker } of last) await worker.order(id, { do: 'return', value: id });
  for (const { id, worker } of last) await worker.heard({ type: 'event', event: 'task_completed', id });
  for (const id of ids) {
    const { status, attempt, crashes, errorCount } = await world.task(id);
    expect({ id, status, crashes, errorCount }).toEqual({
      id,
      status: 'completed',
      crashes: [],
      errorCount: 0,
    });
    expect(attempt).toBe(world.journal({ type: 'running', id }).length);
    expect(attempt).toBeGreaterThan(kinds.length);
  }
}

test('three outages of four leases each charge nobody, and all complete', { timeout: 120_000 }, async () => {
  // Stopped with its sockets open, gone, and silent.
  await sitOut(1_000, 4_000, OUTAGES);
});

/** The fences of attempts whose owners were heard of again, as the task's control record has them. */
async function lived(world: World, id: string): Promise<string[]> {
  const reads = world.partitions.map((each) => world.storage.read(each, [keys.control(id)]));
  const records = (await Promise.all(reads)).flatMap((read) => read.records);
  return records
    .flatMap((record) => [...(record?.keys() ?? [])])
    .filter((field) => field.startsWith('lived'));
}

test('one that was only cut off, and is heard of again, is not charged in the end', async () => {
  server = await startRedis();
  proxy = await startProxy(server);
  const world = await makeWorld('redis', server);
  const options = { leaseMs: 1_500, sweepIntervalMs: 100 };
  const [id = ''] = ids;
  const cutOff = await world.worker({ ...options, port: proxy.port });
  await cutOff.call('startup');
  await cutOff.call('start', 'gate', { id });
  const { fence } = await world.task(id);
  const other = await world.worker(options);
  await other.call('startup');
  proxy.blackHole();
  expect(await other.heard({ type: 'running', id })).toMatchObject({ attempt: 2 });
  expect((await world.task(id)).crashes).toMatchObject([{ attempt: 1, cause: 'lease_over' }]);
  proxy.heal();
  await expect.poll(() => lived(world, id), { timeout: 20_000 }).toEqual([`lived:${fence}`]);
  // In this order: else it would be the first one that takes it.
  await cutOff.kill();
  await other.kill();
  const heir = await world.worker(options);
  await heir.call('startup');
  expect(await heir.heard({ type: 'running', id })).toMatchObject({ attempt: 3 });
  // Only the one that died.
  expect((await world.task(id)).crashes).toMatchObject([{ attempt: 2, cause: 'owner_dead' }]);
});

const long = ROUNDS >= 25;
if (!long) console.log('Not tested: three real outages of 20 s. `npm run chaos` does.');

test.skipIf(!long)(
  'three outages of 20 s charge nobody: the default lease',
  { timeout: 400_000 },
  async () => {
    await sitOut(
      15_000,
      20_000,
      OUTAGES.slice(0, 1).flatMap((each) => [each, each, each]),
    );
  },
);
