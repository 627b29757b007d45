/** The Redis adapter on a Cluster, behind Sentinel, and on the mock, which is no Redis but starts at once. */
import { Cluster } from 'ioredis';
import RedisMock from 'ioredis-mock';
import { afterAll, describe, expect, onTestFinished, test } from 'vitest';
import { redisStorage } from '../../src/storage/redis.js';
import { PART, change, connect, create, disconnectAll, one, opens } from '../support/redis-batches.js';
import { startCluster, startSentinel } from '../support/redis-groups.js';
import { redisCommand, waitFor } from '../support/redis-server.js';

afterAll(disconnectAll);

describe('other than one server', () => {
  test('ioredis-mock is good for a smoke test', async () => {
    const mocked = redisStorage(new RedisMock());
    const made = create('a', {
      set: [{ key: 'b', fields: { f: '\0é', at: { fromNow: 0 } } }],
      increment: [{ key: 'n', field: 'f', by: 2 }],
      index: [{ index: 'i', id: 'a', score: 15 }],
      append: [{ n: '1' }],
      observe: ['n', 'gone'],
    });
    expect(await one(mocked, made)).toEqual({
      status: 'applied',
      observed: [new Map([['f', '2']]), null],
    });
    expect(await one(mocked, made)).toMatchObject({ status: 'duplicate' });
    expect(await one(mocked, change('a', 'other'))).toEqual({ status: 'conflict', current: made.guard.next });
    const { records } = await mocked.read(PART, ['b', 'gone'], ['f']);
    expect(records).toEqual([new Map([['f', '\0é']]), null]);
    const { entries } = await mocked.range(PART, 'i', { limit: 5 });
    expect(entries).toEqual([{ id: 'a', score: 15 }]);
    expect((await mocked.events(PART, { after: null, limit: 5 })).events).toHaveLength(1);
    const gone = { guard: { key: 'a', expect: made.guard.next, next: null }, remove: ['b'] };
    expect((await one(mocked, gone)).status).toBe('applied');
    expect((await mocked.read(PART, ['a', 'b'])).records).toEqual([null, null]);
  });

  test('a Cluster: one partition a call, all its keys on one node', async () => {
    const servers = await startCluster();
    onTestFinished(() => servers.stop());
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
  });

  test('Sentinel: acknowledged by the replica, and there after a failover', async () => {
    const trio = await startSentinel();
    onTestFinished(() => trio.stop());
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
      details: { outcome: 'unknown' },
    });
    expect(await one(safe, change('a', 'other'))).toMatchObject({ status: 'conflict' });
    trio.replica.resume();
    expect((await one(safe, second)).status).toBe('duplicate');
    await trio.master.kill9();
    await waitFor('the failover', async () => {
      const read = safe.read(PART, ['a'], undefined, { deadlineMs: 500 });
      const found = await read.then(({ records }) => records[0]?.get('token')).catch(() => null);
      return found === second.guard.next;
    });
  });
});
