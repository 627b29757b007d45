/** Redis servers that belong together: a Cluster, or a master with replicas and a sentinel. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  HOST,
  freePort,
  redisCommand,
  startRedis,
  startServer,
  tempFolder,
  waitFor,
} from './redis-server.js';
import type { RedisServer } from './redis-server.js';

/** Three masters that share all slots. */
export interface RedisCluster {
  readonly nodes: readonly RedisServer[];
  /** The replica of each node, if there are any. */
  readonly replicas: readonly RedisServer[];
  /** What `new Cluster(...)` takes. */
  readonly endpoints: readonly { readonly host: string; readonly port: number }[];
  stop(): Promise<void>;
}

/** A master, replicas and one sentinel that watches them with a quorum of one. */
export interface RedisSentinel {
  readonly master: RedisServer;
  /** The first replica. */
  readonly replica: RedisServer;
  readonly replicas: readonly RedisServer[];
  readonly sentinel: RedisServer;
  /** What `new Redis({ sentinels, name })` takes. */
  readonly options: {
    readonly sentinels: { readonly host: string; readonly port: number }[];
    readonly name: string;
  };
  stop(): Promise<void>;
}

async function stopAll(servers: readonly RedisServer[]): Promise<void> {
  await Promise.all(servers.map((server) => server.stop()));
}

/** The full sync of a replica begins at once. */
const QUICK = ['--repl-diskless-sync-delay', '0'];

async function startNode(): Promise<RedisServer> {
  const port = await freePort();
  const bus = String(port + 10_000);
  const flags = `--cluster-enabled yes --cluster-port ${bus} --cluster-node-timeout 1500`;
  return startRedis({ port, extra: [...flags.split(' '), ...QUICK] });
}

async function replicasInSync(master: RedisServer, count: number): Promise<void> {
  await waitFor('the replicas', async () => {
    const [info] = await redisCommand(master.port, ['INFO', 'replication']);
    if (String(info).split('state=online').length !== count + 1) return false;
    // After a diskless sync a master streams only once it has heard of the replica; before, a failover loses it all.
    const [, acks] = await redisCommand(master.port, ['FLUSHALL'], ['WAIT', String(count), '1000']);
    return acks === count;
  });
}

/** Gives each node a replica, in sync with it and known to all. */
async function addReplicas(nodes: readonly RedisServer[]): Promise<RedisServer[]> {
  const replicas: RedisServer[] = [];
  for (const { port } of nodes) {
    const [id] = await redisCommand(port, ['CLUSTER', 'MYID']);
    const replica = await startNode();
    replicas.push(replica);
    await redisCommand(replica.port, ['CLUSTER', 'MEET', HOST, String(port)]);
    const follow = (): Promise<boolean> =>
      redisCommand(replica.port, ['CLUSTER', 'REPLICATE', String(id)]).then(
        () => true,
        () => false,
      );
    await waitFor('the replica to know its master', follow);
  }
  for (const node of nodes) await replicasInSync(node, 1);
  return replicas;
}

async function allWell(nodes: readonly RedisServer[]): Promise<void> {
  await waitFor('the cluster', async () => {
    const infos = await Promise.all(nodes.map((node) => redisCommand(node.port, ['CLUSTER', 'INFO'])));
    return infos.every(
      ([info]) =>
        String(info).includes('cluster_state:ok') &&
        String(info).includes(`cluster_known_nodes:${nodes.length}`),
    );
  });
}

/** Starts three masters, spreads the slots and waits until every node calls the cluster well (about 2 s). */
export async function startCluster(options: { readonly replicas?: boolean } = {}): Promise<RedisCluster> {
  const nodes: RedisServer[] = [];
  for (let at = 0; at < 3; at += 1) nodes.push(await startNode());
  const ranges = ['0 5460', '5461 10922', '10923 16383'];
  const meetings = nodes.slice(1).map(({ port }) => ['CLUSTER', 'MEET', HOST, String(port)]);
  for (const [at, { port }] of nodes.entries()) {
    const slots = (ranges[at] ?? '').split(' ');
    const epoch = ['CLUSTER', 'SET-CONFIG-EPOCH', String(at + 1)];
    await redisCommand(port, ['CLUSTER', 'ADDSLOTSRANGE', ...slots], epoch);
  }
  // Only now: a node that knows another one takes no epoch any more.
  await redisCommand(nodes[0]?.port ?? 0, ...meetings);
  await allWell(nodes);
  const replicas = options.replicas === true ? await addReplicas(nodes) : [];
  const all = [...nodes, ...replicas];
  await allWell(all);
  const endpoints = nodes.map(({ host, port }) => ({ host, port }));
  return { nodes, replicas, endpoints, stop: () => stopAll(all) };
}

/** Starts a master, replicas in sync with it and one sentinel (failover after about 1.2 s). */
export async function startSentinel(count = 1): Promise<RedisSentinel> {
  const master = await startRedis({ extra: QUICK });
  const follow = ['--replicaof', HOST, String(master.port)];
  const starts = Array.from({ length: count }, () => startRedis({ extra: [...QUICK, ...follow] }));
  const replicas = await Promise.all(starts);
  const [replica] = replicas;
  if (replica === undefined) throw new Error('A sentinel needs a replica to fall back on.');
  await replicasInSync(master, count);
  const name = 'mymaster';
  const port = await freePort();
  const dir = tempFolder();
  const file = join(dir, 'sentinel.conf');
  const settings = [
    `bind ${HOST}\nport ${port}\ndir ${dir}`,
    `sentinel monitor ${name} ${HOST} ${master.port} 1`,
    `sentinel down-after-milliseconds ${name} 500`,
    `sentinel failover-timeout ${name} 3000`,
    `sentinel parallel-syncs ${name} ${count}\n`,
  ];
  writeFileSync(file, settings.join('\n'));
  const sentinel = await startServer(port, dir, true, [file, '--sentinel']);
  await waitFor('the sentinel', async () => {
    const [known] = await redisCommand(port, ['SENTINEL', 'REPLICAS', name]);
    return Array.isArray(known) && known.length === count;
  });
  const options = { sentinels: [{ host: HOST, port }], name };
  const stop = (): Promise<void> => stopAll([sentinel, ...replicas, master]);
  return { master, replica, replicas, sentinel, options, stop };
}
