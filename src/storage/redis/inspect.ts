/** Reads the server's settings that decide what an acknowledged write survives. */
import { messageOf } from '../../errors.js';
import type { StorageReport } from '../storage.js';
import type { RedisClient, RedisNode } from './client.js';

/** How full the memory may be before it is worth a warning. */
const FULL_SHARE = 0.8;

/** What one node tells; a field is undefined where the node does not say, as managed services may not. */
interface Settings {
  readonly policy: string | undefined;
  /** In bytes: what counts towards `maxmemory`, `maxmemory` itself (0: no limit), and what the machine has. */
  readonly usedBytes: number | undefined;
  readonly maxBytes: number | undefined;
  readonly machineBytes: number | undefined;
  readonly evictedKeys: number | undefined;
  readonly aof: string | undefined;
  readonly aofBroken: boolean;
  readonly snapshotBroken: boolean;
  readonly role: string | undefined;
  readonly replicas: number;
  /** Replicas that are in time, where `min-replicas-to-write` is set. */
  readonly goodReplicas: number | undefined;
  readonly minReplicas: number | undefined;
  readonly fsync: string | undefined;
  readonly denied: Denied;
}

/** What could not be read, by reason. */
type Denied = Map<string, string[]>;

/** In our own words: what a server or a proxy says may name users and hosts. */
function reasonOf(error: unknown): string {
  const text = messageOf(error);
  if (text.startsWith('NOPERM')) return 'not permitted';
  if (text.startsWith('NOAUTH')) return 'not signed in';
  return text.includes('unknown command') ? 'unknown command' : 'it failed';
}

async function section(node: RedisNode, name: string, denied: Denied): Promise<Map<string, string>> {
  const fields = new Map<string, string>();
  try {
    for (const line of (await node.info(name)).split('\r\n')) {
      const colon = line.indexOf(':');
      if (colon > 0) fields.set(line.slice(0, colon), line.slice(colon + 1));
    }
  } catch (error) {
    const reason = reasonOf(error);
    denied.set(reason, [...(denied.get(reason) ?? []), `INFO ${name}`]);
  }
  return fields;
}

/** CONFIG is off limits on managed services and for narrow users; the mock answers with an empty list. */
async function setting(node: RedisNode, name: string): Promise<string | undefined> {
  try {
    const reply = await node.config('GET', name);
    const value: unknown = Array.isArray(reply) ? reply[1] : undefined;
    return typeof value === 'string' ? value : undefined;
  } catch {
    return undefined;
  }
}

function numberOf(text: string | undefined): number | undefined {
  return text !== undefined && /^\d+$/.test(text) ? Number(text) : undefined;
}

function usedOf(memory: ReadonlyMap<string, string>): number | undefined {
  const used = numberOf(memory.get('used_memory'));
  // Buffers of replicas and of the append-only file do not count towards maxmemory.
  return used === undefined ? undefined : used - (numberOf(memory.get('mem_not_counted_for_evict')) ?? 0);
}

async function settingsOf(node: RedisNode): Promise<Settings> {
  const denied: Denied = new Map();
  const [memory, persistence, replication, stats, fsync, minReplicas] = await Promise.all([
    section(node, 'memory', denied),
    section(node, 'persistence', denied),
    section(node, 'replication', denied),
    section(node, 'stats', denied),
    setting(node, 'appendfsync'),
    setting(node, 'min-replicas-to-write'),
  ]);
  return {
    policy: memory.get('maxmemory_policy'),
    usedBytes: usedOf(memory),
    maxBytes: numberOf(memory.get('maxmemory')),
    machineBytes: numberOf(memory.get('total_system_memory')),
    evictedKeys: numberOf(stats.get('evicted_keys')),
    aof: persistence.get('aof_enabled'),
    aofBroken: (persistence.get('aof_last_write_status') ?? 'ok') !== 'ok',
    snapshotBroken: (persistence.get('rdb_last_bgsave_status') ?? 'ok') !== 'ok',
    role: replication.get('role'),
    replicas: Number(replication.get('connected_slaves') ?? 0),
    goodReplicas: numberOf(replication.get('min_slaves_good_slaves')),
    minReplicas: numberOf(minReplicas),
    fsync,
    denied,
  };
}

function share(used: number, of: number): string {
  const mib = (bytes: number): string => (bytes / 2 ** 20).toFixed(0);
  return `${Math.floor((100 * used) / of)} % (${mib(used)} of ${mib(of)} MiB)`;
}

/** What has been dropped, and what will be refused or dropped soon. */
function memoryWarnings({ policy, usedBytes, maxBytes, machineBytes, evictedKeys }: Settings): string[] {
  const warnings: string[] = [];
  if (policy !== undefined && policy !== 'noeviction') {
    warnings.push(`maxmemory-policy is ${policy}: Redis may drop records; set it to noeviction.`);
  }
  if (evictedKeys !== undefined && evictedKeys > 0) {
    warnings.push(
      `Redis has evicted ${evictedKeys} keys since its start or the last CONFIG RESETSTAT; records of tasks may be among them.`,
    );
  }
  if (usedBytes === undefined || maxBytes === undefined) return warnings;
  if (maxBytes > 0) {
    if (usedBytes > FULL_SHARE * maxBytes) {
      const end = policy === 'noeviction' ? 'refuses writes' : 'drops keys or refuses writes';
      warnings.push(`maxmemory is used to ${share(usedBytes, maxBytes)}: at the limit Redis ${end}.`);
    }
  } else if (machineBytes !== undefined && machineBytes > 0 && usedBytes > FULL_SHARE * machineBytes) {
    warnings.push(
      `Redis uses ${share(usedBytes, machineBytes)} of the machine's memory, without a limit: the system may kill it; set maxmemory.`,
    );
  }
  return warnings;
}

function replicaWarnings(settings: Settings, waitReplicas: number): string[] {
  const { role, replicas, goodReplicas, minReplicas } = settings;
  if (role === 'slave') return ['The server is a replica: it takes no writes.'];
  if (role !== 'master') return [];
  const warnings: string[] = [];
  if (replicas < waitReplicas) {
    warnings.push(`waitReplicas is ${waitReplicas}, but ${replicas} replicas are connected.`);
  }
  // Redis tells the first only when the second is set, so to at least 1.
  if (goodReplicas !== undefined && goodReplicas < (minReplicas ?? 1)) {
    const least = minReplicas ?? 'set';
    warnings.push(
      `min-replicas-to-write is ${least}, but ${goodReplicas} replicas are in time: Redis refuses writes.`,
    );
  }
  if (replicas > 0 && waitReplicas === 0) {
    warnings.push('Replication is asynchronous: a failover may lose acknowledged writes; see waitReplicas.');
  }
  return warnings;
}

function warningsOf(settings: Settings, waitReplicas: number): string[] {
  const { aof, fsync } = settings;
  const warnings = [...settings.denied].map(
    ([reason, what]) => `Settings could not be read: ${what.join(', ')} (${reason}).`,
  );
  warnings.push(...memoryWarnings(settings));
  if (aof === '0') {
    warnings.push('appendonly is off: a restart of Redis loses what was written since the last snapshot.');
  } else if (aof !== undefined && fsync === undefined) {
    warnings.push('appendfsync could not be read.');
  } else if (aof !== undefined && fsync !== 'always') {
    const loss = fsync === 'everysec' ? 'about a second' : 'what the system had not flushed';
    warnings.push(`appendfsync is ${fsync}: power loss takes ${loss} of acknowledged writes.`);
  }
  if (settings.aofBroken) warnings.push('The last write of the append-only file failed.');
  if (settings.snapshotBroken) warnings.push('The last snapshot failed.');
  return [...warnings, ...replicaWarnings(settings, waitReplicas)];
}

function durabilityOf({ aof, fsync }: Settings, waitReplicas: number): string {
  const local =
    aof === undefined
      ? 'unknown: Redis does not tell its persistence settings'
      : aof === '0'
        ? 'nothing but the process of Redis: memory only, or snapshots'
        : fsync === 'always'
          ? 'power loss: append-only file, flushed before the reply'
          : `a crash of Redis: append-only file, appendfsync ${fsync ?? 'unknown'}`;
  return waitReplicas > 0 ? `${local}; and is acknowledged by ${waitReplicas} replica(s)` : local;
}

/** Asks the server, or each master of a Cluster; the durability is the first node's, warnings are everybody's. */
export async function inspectRedis(client: RedisClient, waitReplicas: number): Promise<StorageReport> {
  const nodes: RedisNode[] = client.isCluster === true ? (client.nodes?.('master') ?? []) : [client];
  const settings = await Promise.all(nodes.map(settingsOf));
  const warnings = new Set(settings.flatMap((one) => warningsOf(one, waitReplicas)));
  const [first] = settings;
  if (first === undefined) return { durability: 'unknown: no master is known', warnings: [...warnings] };
  return { durability: durabilityOf(first, waitReplicas), warnings: [...warnings] };
}
