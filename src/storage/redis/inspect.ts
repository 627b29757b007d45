/** Reads the server's settings that decide what an acknowledged write survives. */
import { messageOf } from '../../errors.js';
import type { StorageReport } from '../storage.js';
import type { RedisClient, RedisNode } from './client.js';

/** What one node tells; a field is undefined where the node does not say, as managed services may not. */
interface Settings {
  readonly policy: string | undefined;
  readonly aof: string | undefined;
  readonly aofBroken: boolean;
  readonly snapshotBroken: boolean;
  readonly role: string | undefined;
  readonly replicas: number;
  readonly fsync: string | undefined;
  readonly denied: readonly string[];
}

async function section(node: RedisNode, name: string, denied: string[]): Promise<Map<string, string>> {
  const fields = new Map<string, string>();
  try {
    for (const line of (await node.info(name)).split('\r\n')) {
      const colon = line.indexOf(':');
      if (colon > 0) fields.set(line.slice(0, colon), line.slice(colon + 1));
    }
  } catch (error) {
    denied.push(`INFO ${name}: ${messageOf(error)}`);
  }
  return fields;
}

/** CONFIG is off limits on managed services and for narrow users; the mock answers with an empty list. */
async function appendFsync(node: RedisNode): Promise<string | undefined> {
  try {
    const reply = await node.config('GET', 'appendfsync');
    const value: unknown = Array.isArray(reply) ? reply[1] : undefined;
    return typeof value === 'string' ? value : undefined;
  } catch {
    return undefined;
  }
}

async function settingsOf(node: RedisNode): Promise<Settings> {
  const denied: string[] = [];
  const [memory, persistence, replication, fsync] = await Promise.all([
    section(node, 'memory', denied),
    section(node, 'persistence', denied),
    section(node, 'replication', denied),
    appendFsync(node),
  ]);
  return {
    policy: memory.get('maxmemory_policy'),
    aof: persistence.get('aof_enabled'),
    aofBroken: (persistence.get('aof_last_write_status') ?? 'ok') !== 'ok',
    snapshotBroken: (persistence.get('rdb_last_bgsave_status') ?? 'ok') !== 'ok',
    role: replication.get('role'),
    replicas: Number(replication.get('connected_slaves') ?? 0),
    fsync,
    denied,
  };
}

function warningsOf(settings: Settings, waitReplicas: number): string[] {
  const { policy, aof, fsync, role, replicas } = settings;
  const warnings = settings.denied.map((what) => `Settings could not be read: ${what}`);
  if (policy !== undefined && policy !== 'noeviction') {
    warnings.push(`maxmemory-policy is ${policy}: Redis may drop records; set it to noeviction.`);
  }
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
  if (role === 'slave') warnings.push('The server is a replica: it takes no writes.');
  if (role === 'master' && replicas < waitReplicas) {
    warnings.push(`waitReplicas is ${waitReplicas}, but ${replicas} replicas are connected.`);
  }
  if (role === 'master' && replicas > 0 && waitReplicas === 0) {
    warnings.push('Replication is asynchronous: a failover may lose acknowledged writes; see waitReplicas.');
  }
  return warnings;
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
