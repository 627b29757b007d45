/** Checkpoints over a Cluster of three nodes with 16 partitions, against one node with one. */
import { setTimeout as delay } from 'node:timers/promises';
import { Cluster } from 'ioredis';
import { createRecovery } from '../dist/index.js';
import { redisStorage } from '../dist/redis.js';
import { AOF, freePort, HOST, rounds, show, startRedis, throughput } from './harness.mjs';
import { runningTasks } from './redis-checkpoint.mjs';

const WIDTH = 128;
const PARTITIONS = 16;
const RANGES = ['0 5460', '5461 10922', '10923 16383'];

async function startNode() {
  const bus = await freePort();
  const flags = ['--cluster-enabled', 'yes', '--cluster-port', String(bus)];
  const { port, connect, stop } = await startRedis([...AOF, ...flags]);
  return { port, bus, client: connect(), stop };
}

async function startCluster() {
  const nodes = [];
  for (const range of RANGES) {
    const node = await startNode();
    await node.client.cluster('ADDSLOTSRANGE', ...range.split(' '));
    await node.client.cluster('SET-CONFIG-EPOCH', nodes.length + 1);
    nodes.push(node);
  }
  const [first, ...others] = nodes;
  for (const { port, bus } of others) await first.client.cluster('MEET', HOST, port, bus);
  const isWell = async ({ client }) => {
    const info = await client.cluster('INFO');
    return info.includes('cluster_state:ok') && info.includes(`cluster_known_nodes:${RANGES.length}`);
  };
  while (!(await Promise.all(nodes.map(isWell))).every(Boolean)) await delay(50);
  const client = new Cluster(nodes.map(({ port }) => ({ host: HOST, port })));
  return {
    client,
    async stop() {
      client.disconnect();
      await Promise.all(nodes.map((node) => node.stop()));
    },
  };
}

async function running(storage) {
  const recovery = createRecovery({ storage, namespace: 'bench-cluster' });
  const tasks = await runningTasks(recovery, WIDTH);
  const stop = async () => {
    await tasks.end();
    await recovery.shutdown();
  };
  return { checkpoint: tasks.checkpoint, stop };
}

export async function cluster({ quick }) {
  const [one, three] = [await startRedis(), await startCluster()];
  try {
    const alone = await running(redisStorage(one.connect()));
    const spread = await running(redisStorage(three.client, { partitions: PARTITIONS }));
    const times = quick ? 50 : 300;
    const found = await rounds(quick ? 3 : 9, {
      ours: () => throughput(WIDTH, times, spread.checkpoint),
      floor: () => throughput(WIDTH, times, alone.checkpoint),
    });
    await alone.stop();
    await spread.stop();
    return [
      {
        measure: `Cluster of three nodes, ${PARTITIONS} partitions: checkpoints/s, ${WIDTH} at a time`,
        ours: show(found.ours),
        floor: show(found.floor),
        ratio: found.ours.median / found.floor.median,
        target: null,
        met: true,
        note: 'the floor is one node and one partition; one worker and all servers share the cores of this machine',
      },
    ];
  } finally {
    await one.stop();
    await three.stop();
  }
}
