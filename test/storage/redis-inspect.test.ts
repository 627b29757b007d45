/** What the Redis storage tells about its server: real ones where they can be brought to it, words of others where not. */
import type { Redis } from 'ioredis';
import { afterAll, afterEach, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { redisStorage } from '../../src/storage/redis.js';
import type { RedisClient } from '../../src/storage/redis.js';
import { inspectRedis } from '../../src/storage/redis/inspect.js';
import type { StorageReport } from '../../src/storage/storage.js';
import { connect, disconnectAll } from '../support/redis-batches.js';
import { startRedis } from '../support/redis-server.js';
import type { RedisServer } from '../support/redis-server.js';

let server: RedisServer;
let client: Redis;
beforeAll(async () => {
  server = await startRedis({ appendonly: 'always' });
  client = connect({ port: server.port });
});
afterEach(async () => {
  await client.config(
    'SET',
    'maxmemory',
    '0',
    'maxmemory-policy',
    'noeviction',
    'min-replicas-to-write',
    '0',
  );
  await client.flushall();
  await client.config('RESETSTAT');
});
afterAll(async () => {
  disconnectAll();
  await server.stop();
});

async function warnings(of: RedisClient = client): Promise<readonly string[]> {
  const report = await redisStorage(of).inspect?.();
  if (report === undefined) throw new Error('The storage does not inspect.');
  return report.warnings;
}

async function fill(mib: number): Promise<void> {
  for (let at = 0; at < mib; at += 1) await client.set(`fill-${at}`, 'x'.repeat(2 ** 20));
}

describe('memory', () => {
  test('over 80 % of maxmemory', async () => {
    await fill(4);
    const used = Number(/used_memory:(\d+)/.exec(await client.info('memory'))?.[1]);
    await client.config('SET', 'maxmemory', String(used * 2));
    expect(await warnings()).toEqual([]);
    await client.config('SET', 'maxmemory', String(Math.floor(used * 1.1)));
    const [full, ...others] = await warnings();
    expect(full).toMatch(/^maxmemory is used to (8|9)\d % .* at the limit Redis refuses writes\.$/);
    expect(others).toEqual([]);
  });

  test('that has been evicted is told of, also under a policy that evicts no more', async () => {
    await client.config('SET', 'maxmemory-policy', 'allkeys-lru', 'maxmemory', '4mb');
    await fill(8);
    await client.config('SET', 'maxmemory-policy', 'noeviction', 'maxmemory', '0');
    expect(await warnings()).toEqual([expect.stringMatching(/^Redis has evicted [1-9]\d* keys/)]);
    await client.config('RESETSTAT');
    expect(await warnings()).toEqual([]);
  });
});

describe('replicas', () => {
  test('fewer in time than min-replicas-to-write', async () => {
    await client.config('SET', 'min-replicas-to-write', '2');
    const refused = 'min-replicas-to-write is 2, but 0 replicas are in time: Redis refuses writes.';
    expect(await warnings()).toEqual([refused]);
    await expect(client.set('x', '1')).rejects.toThrow('NOREPLICAS');
  });
});

/** A server that says just this. */
function saying(info: Readonly<Record<string, string>>, config: Readonly<Record<string, string>> = {}) {
  return {
    info: async (section: string) => (info[section] ?? '').replaceAll(' ', '\r\n'),
    config: async (_get: 'GET', name: string) => (name in config ? [name, config[name]] : []),
  };
}

/** As {@link inspectRedis} sees it: the nodes of a Cluster are all that it asks for. */
function inspect(...nodes: ReturnType<typeof saying>[]): Promise<StorageReport> {
  const cluster: Pick<RedisClient, 'isCluster' | 'nodes'> = { isCluster: true, nodes: () => nodes };
  return inspectRedis(Object.assign(Object.create(client), cluster), 0);
}

describe('in the words of other servers', () => {
  const memory = (used: number, max: number, machine: number) =>
    saying({
      memory: `used_memory:${used} maxmemory:${max} total_system_memory:${machine} maxmemory_policy:noeviction`,
    });

  test('without maxmemory the machine’s memory counts', async () => {
    expect((await inspect(memory(800, 0, 1_000))).warnings).toEqual([]);
    expect((await inspect(memory(801, 0, 1_000))).warnings).toEqual([
      expect.stringContaining('Redis uses 80 %'),
    ]);
    expect((await inspect(memory(801, 10_000, 1_000))).warnings).toEqual([]);
    expect((await inspect(memory(801, 0, 0))).warnings).toEqual([]);
  });

  test('buffers that don’t count towards maxmemory are left out', async () => {
    const rest = 'maxmemory:1000 maxmemory_policy:noeviction';
    const said = (extra: string) => inspect(saying({ memory: `used_memory:900 ${rest} ${extra}` }));
    expect((await said('mem_not_counted_for_evict:0')).warnings).toHaveLength(1);
    expect((await said('mem_not_counted_for_evict:100')).warnings).toEqual([]);
  });

  test('nothing is concluded from what is not said', async () => {
    for (const said of [
      '',
      'used_memory:9',
      'used_memory:9 maxmemory: total_system_memory:10',
      'used_memory:9 maxmemory:0 total_system_memory:unknown',
    ]) {
      expect((await inspect(saying({ memory: said }))).warnings).toEqual([]);
    }
  });

  test('where CONFIG is hidden, no replica in time is still one too few', async () => {
    const said = (good: number) =>
      inspect(saying({ replication: `role:master connected_slaves:0 min_slaves_good_slaves:${good}` }));
    expect((await said(0)).warnings).toEqual([
      'min-replicas-to-write is set, but 0 replicas are in time: Redis refuses writes.',
    ]);
    expect((await said(1)).warnings).toEqual([]);
  });

  test('every master of a Cluster is asked', async () => {
    const evicted = saying({ stats: 'evicted_keys:7' });
    expect((await inspect(memory(1, 0, 1_000), evicted)).warnings).toEqual([
      expect.stringContaining('evicted 7 keys'),
    ]);
  });
});

describe('a server that hides its settings', () => {
  test('from this user', async () => {
    const rights = ['~*', '+@all', '-info', '-config'];
    await client.call('ACL', 'SETUSER', 'canary', 'on', '>canary', ...rights);
    const narrow = connect({
      port: server.port,
      username: 'canary',
      password: 'canary',
      enableReadyCheck: false,
    });
    expect(await warnings(narrow)).toEqual([
      'Settings could not be read: INFO memory, INFO persistence, INFO replication, INFO stats (not permitted).',
    ]);
  });

  test('from everybody: CONFIG has another name', async () => {
    const other = await startRedis({ appendonly: 'always', extra: ['--rename-command', 'CONFIG', 'canary'] });
    onTestFinished(() => other.stop());
    expect(await warnings(connect({ port: other.port }))).toEqual(['appendfsync could not be read.']);
  });

  test('from everybody: INFO has another name', async () => {
    const unknown = new Error("ERR unknown command 'INFO', with args beginning with: 'canary' ");
    const node = { ...saying({}), info: () => Promise.reject(unknown) };
    expect(await inspect(node)).toEqual({
      durability: 'unknown: Redis does not tell its persistence settings',
      warnings: [
        'Settings could not be read: INFO memory, INFO persistence, INFO replication, INFO stats (unknown command).',
      ],
    });
  });

  test('in part, and in words that may hold secrets', async () => {
    const node = {
      ...saying({ persistence: 'aof_enabled:1' }),
      info: async (section: string) => {
        if (section === 'memory' || section === 'stats')
          throw new Error('connect redis://me:canary@host failed');
        return section === 'persistence' ? 'aof_enabled:1' : 'role:master';
      },
      config: () => Promise.reject(new Error('ERR canary')),
    };
    expect(await inspect(node)).toEqual({
      durability: 'a crash of Redis: append-only file, appendfsync unknown',
      warnings: [
        'Settings could not be read: INFO memory, INFO stats (it failed).',
        'appendfsync could not be read.',
      ],
    });
  });
});
