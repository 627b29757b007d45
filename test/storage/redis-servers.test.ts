/** The Redis adapter on a Cluster and behind Sentinel. */
import { Cluster } from 'ioredis';
import { afterAll, describe, expect, test } from 'vitest';
import { redisStorage } from '../../src/storage/redis.js';
import { PART, change, connect, create, disconnectAll, one, opens } from '../support/redis-batches.js';
import { redisCommand, startCluster, startSentinel, waitFor } from '../support/redis-server.js';

afterAll(disconnectAll);

describe('more than one server', () => {
  test('a Cluster: one partition a call, all its keys on one node', async () => {
    const servers = await startCluster();
    const cluster = opens(new Cluster([...servers.endpoints]));
    const spread = redisStorage(cluster, { waitReplicas: 0 });
    expect(spread.partitions).toBe(16);
    const partitions = Array.from({ length: 16 }, (_, at) => `rekindle:${at}`);
    for (const partition of partitions) {
      const batch = create('a', {
        set: [{ key: 'b', fields: { f: partition } }],
        index: [{ index: 'i', id: 'a', score: 1 }],
        append: [{ n: '1' }],
      });
      expect((await spread.commit(partition, [batch])).outcomes[0]?.status).toBe('applied');
      expect((await spread.read(partition, ['b'])).records[0]?.get('f')).toBe(partition);
      expect(await spread.count(partition, 'i')).toBe(1);
      expect((await spread.commit(partition, [])).outcomes).toEqual([]);
    }
    const sizes = await Promise.all(servers.nodes.map(({ port }) => redisCommand(port, ['DBSIZE'])));
    expect(sizes.every(([size]) => Number(size) > 0)).toBe(true);
    expect((await spread.inspect!()).warnings.join()).toContain('appendonly is off');
    const strict = redisStorage(cluster, { waitReplicas: 1, callDeadlineMs: 300 });
    await expect(strict.commit(PART, [create('z')])).rejects.toMatchObject({ details: { acks: 0 } });
    await servers.stop();
  });

  test('Sentinel: acknowledged by the replica, and there after a failover', async () => {
    const trio = await startSentinel();
    const redis = connect({ ...trio.options, retryStrategy: () => 100, sentinelRetryStrategy: () => 100 });
    const safe = redisStorage(redis, { waitReplicas: 1 });
    const made = create('a');
    expect((await one(safe, made)).status).toBe('applied');
    await redis.script('FLUSH');
    expect((await one(safe, made)).status).toBe('duplicate');
    trio.replica.pause();
    const second = change('a', made.guard.next);
    const commit = safe.commit(PART, [second], { deadlineMs: 400 });
    await expect(commit).rejects.toMatchObject({
      code: 'STORAGE_UNAVAILABLE',
      details: { outcome: 'unknown', acks: 0 },
    });
    expect(await one(safe, change('a', 'other'))).toMatchObject({ status: 'conflict' });
    trio.replica.resume();
    expect((await one(safe, second)).status).toBe('duplicate');
    await trio.master.kill9();
    await waitFor('the failover', async () => {
      const read = safe.read(PART, ['a'], [], { deadlineMs: 500 });
      const found = await read.then(({ records }) => records[0]?.get('token')).catch(() => null);
      return found === second.guard.next;
    });
    await trio.stop();
  });
});
