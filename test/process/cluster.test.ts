/** On a Cluster: a master dies and its replica takes over, or a slot moves, while workers write to it. */
import { afterEach, expect, test } from 'vitest';
import { startCluster } from '../support/redis-groups.js';
import type { RedisCluster } from '../support/redis-groups.js';
import { redisCommand, waitFor } from '../support/redis-server.js';
import type { RedisServer } from '../support/redis-server.js';
import { recordKey } from '../../src/storage/redis/keys.js';
import type { WorkerProcess } from './support/worker-process.js';
import { endWithEachTest, makeWorldAt } from './support/world.js';
import type { World } from './support/world.js';

let cluster: RedisCluster;
let world: World;

const ids = ['count-0', 'count-1', 'count-2', 'count-3'];
const steps = 250;

async function startWorld(options: { replicas: boolean }): Promise<WorkerProcess> {
  cluster = await startCluster(options);
  const waitReplicas = options.replicas ? 1 : 0;
  world = makeWorldAt({ cluster: cluster.endpoints, storage: { waitReplicas } });
  const worker = await world.worker();
  await worker.call('startup');
  for (const id of ids) await worker.call('start', 'steps', { id, steps, pauseMs: 5 });
  for (const id of ids) await worker.heard({ type: 'acknowledged', id, step: 10 });
  return worker;
}

// Before `endWithEachTest`: hooks after a test run in reverse order, and the world ends before its servers.
afterEach(() => cluster.stop());
endWithEachTest();

/** In one attempt, each step acknowledged once. */
async function expectUntouched(worker: WorkerProcess): Promise<void> {
  for (const id of ids) {
    expect(await worker.heard({ type: 'result', id })).toMatchObject({ value: { steps } });
    expect(await world.task(id)).toMatchObject({ status: 'completed', attempt: 1, errorCount: 0 });
    expect(worker.all({ type: 'acknowledged', id })).toHaveLength(steps);
  }
}

/** The slot of the home partition, and who has it. */
async function homeSlot(): Promise<{ slot: string; owner: RedisServer }> {
  const [first] = cluster.nodes;
  const key = recordKey(world.home, '');
  const [slot, ranges] = await redisCommand(
    first?.port ?? 0,
    ['CLUSTER', 'KEYSLOT', key],
    ['CLUSTER', 'SLOTS'],
  );
  const all: unknown[] = Array.isArray(ranges) ? ranges : [];
  const range = all.find(
    (each) => Array.isArray(each) && Number(each[0]) <= Number(slot) && Number(each[1]) >= Number(slot),
  );
  const port = Array.isArray(range) && Array.isArray(range[2]) ? Number(range[2][1]) : 0;
  const owner = cluster.nodes.find((node) => node.port === port);
  if (owner === undefined) throw new Error(`Nobody has slot ${String(slot)}.`);
  return { slot: String(slot), owner };
}

test('a master dies: nothing that its replica has acknowledged is lost, nor is a lease', async () => {
  const worker = await startWorld({ replicas: true });
  const { owner } = await homeSlot();
  const replica = cluster.replicas[cluster.nodes.indexOf(owner)];
  await owner.kill9();
  await waitFor('the failover', async () => {
    const [role] = await redisCommand(replica?.port ?? 0, ['ROLE']);
    return Array.isArray(role) && role[0] === 'master';
  });
  // As a replica: without one nothing more would be acknowledged.
  await owner.restart();
  await expectUntouched(worker);
});

test('the slot of a partition moves while workers write to it', async () => {
  const worker = await startWorld({ replicas: false });
  const { slot, owner } = await homeSlot();
  const target = cluster.nodes.find((node) => node !== owner) ?? owner;
  const idOf = async ({ port }: RedisServer): Promise<string> =>
    String((await redisCommand(port, ['CLUSTER', 'MYID']))[0]);
  const [from, to] = [await idOf(owner), await idOf(target)];
  await redisCommand(target.port, ['CLUSTER', 'SETSLOT', slot, 'IMPORTING', from]);
  await redisCommand(owner.port, ['CLUSTER', 'SETSLOT', slot, 'MIGRATING', to]);
  // One key after the other: scripts find some here and some there, and are told to try again.
  let moved = 0;
  await waitFor('the slot to be empty', async () => {
    const [found] = await redisCommand(owner.port, ['CLUSTER', 'GETKEYSINSLOT', slot, '1000']);
    const names: unknown[] = Array.isArray(found) ? found : [];
    for (const name of names) {
      await redisCommand(owner.port, [
        'MIGRATE',
        target.host,
        String(target.port),
        String(name),
        '0',
        '5000',
      ]);
      moved += 1;
    }
    return names.length === 0;
  });
  for (const { port } of [target, owner]) await redisCommand(port, ['CLUSTER', 'SETSLOT', slot, 'NODE', to]);
  expect(moved).toBeGreaterThan(5);
  await expectUntouched(worker);
  expect(Number((await redisCommand(target.port, ['CLUSTER', 'COUNTKEYSINSLOT', slot]))[0])).toBeGreaterThan(
    5,
  );
});
