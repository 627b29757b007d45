/** The Redis adapter when the network, the server or the user's rights fail. */
import type { Redis } from 'ioredis';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { redisStorage } from '../../src/storage/redis.js';
import type { Batch, Storage } from '../../src/storage/storage.js';
import {
  PART,
  change,
  connect,
  create,
  disconnectAll,
  fieldsOf,
  one,
  warm,
} from '../support/redis-batches.js';
import { startRedis } from '../support/redis-server.js';
import type { RedisServer } from '../support/redis-server.js';
import { startProxy } from '../support/tcp-proxy.js';
import type { TcpProxy } from '../support/tcp-proxy.js';

let server: RedisServer;
let client: Redis;
let storage: Storage;

beforeAll(async () => {
  server = await startRedis();
  client = connect({ port: server.port });
  storage = redisStorage(client);
});
afterEach(async () => {
  await client.flushall();
});
afterAll(async () => {
  disconnectAll();
  await server.stop();
});

describe('faults', () => {
  let proxy: TcpProxy;
  beforeAll(async () => {
    proxy = await startProxy(server);
  });
  afterEach(() => proxy.heal());
  afterAll(() => proxy.close());

  test('a server that forgets its scripts is not noticed', async () => {
    const done = new AbortController();
    const flusher = (async () => {
      while (!done.signal.aborted) await client.script('FLUSH');
    })();
    let expected: string | null = null;
    for (let at = 0; at < 200; at += 1) {
      const batch: Batch =
        expected === null
          ? create('a', { increment: [{ key: 'n', field: 'f', by: 1 }] })
          : change('a', expected, { increment: [{ key: 'n', field: 'f', by: 1 }] });
      expect((await one(storage, batch)).status).toBe('applied');
      expected = batch.guard.next;
    }
    done.abort();
    await flusher;
    expect(await fieldsOf(storage, 'n')).toEqual({ f: '200' });
  });

  test('a reply that got lost: the same batch again is a duplicate and counts once', async () => {
    const behind = connect({ port: proxy.port, maxRetriesPerRequest: 0 });
    const over = redisStorage(behind);
    await warm(over);
    const batch = create('a', { increment: [{ key: 'n', field: 'f', by: 1 }], append: [{ n: '1' }] });
    const dropped = proxy.dropNextReply((bytes) => bytes.includes('evalsha'));
    await expect(over.commit(PART, [batch])).rejects.toMatchObject({
      code: 'STORAGE_UNAVAILABLE',
      retryable: true,
      details: { outcome: 'unknown' },
    });
    await dropped;
    expect(await one(storage, batch)).toMatchObject({ status: 'duplicate' });
    expect(await fieldsOf(storage, 'n')).toEqual({ f: '1' });
    expect((await storage.events(PART, { after: null, limit: 10 })).events).toHaveLength(1);
  });

  test('ioredis sends a commit twice by default: it is applied once', async () => {
    const over = redisStorage(connect({ port: proxy.port }));
    await over.read(PART, []);
    await warm(over);
    const dropped = proxy.dropNextReply((bytes) => bytes.includes('evalsha'));
    const batch = create('a', { increment: [{ key: 'n', field: 'f', by: 1 }] });
    expect(await one(over, batch)).toMatchObject({ status: 'duplicate' });
    await dropped;
    expect(await fieldsOf(storage, 'n')).toEqual({ f: '1' });
  });

  test('a black hole ends by the deadline, and what arrives late finds a conflict', async () => {
    const over = redisStorage(connect({ port: proxy.port }), { callDeadlineMs: 200 });
    const made = create('a');
    await one(over, made);
    const holding = proxy.holdNextRequest((bytes) => bytes.includes('evalsha'));
    const late = change('a', made.guard.next);
    const started = performance.now();
    await expect(over.commit(PART, [late])).rejects.toMatchObject({ code: 'STORAGE_UNAVAILABLE' });
    await expect(over.read(PART, ['a'], undefined, { deadlineMs: 50 })).rejects.toMatchObject({
      retryable: true,
      details: { outcome: 'unknown' },
    });
    expect(performance.now() - started).toBeLessThan(600);
    const other = change('a', made.guard.next);
    await one(storage, other);
    expect(String(await (await holding).deliver())).toContain(other.guard.next);
    expect(await fieldsOf(storage, 'a')).toEqual({ token: other.guard.next });
    expect(await one(storage, late)).toEqual({ status: 'conflict', current: other.guard.next });
  });

  test('out of memory: refused whole, and records can still be removed', async () => {
    const made = create('a');
    await one(storage, made);
    await client.config('SET', 'maxmemory-policy', 'noeviction');
    await client.config('SET', 'maxmemory', '1');
    try {
      const { outcomes } = await storage.commit(PART, [
        change('a', made.guard.next, { set: [{ key: 'x', fields: { f: '1' } }] }),
        create('b'),
      ]);
      expect(outcomes).toMatchObject([
        { status: 'refused', code: 'STORAGE_FULL' },
        { status: 'refused', code: 'STORAGE_FULL' },
      ]);
      expect(await fieldsOf(storage, 'x')).toBeNull();
      const gone = await one(storage, { guard: { key: 'a', expect: made.guard.next, next: null } });
      expect(gone.status).toBe('applied');
    } finally {
      await client.config('SET', 'maxmemory', '0');
    }
  });

  test('a replica is a typed, retryable error', async () => {
    await client.replicaof('127.0.0.1', 1);
    try {
      await expect(storage.commit(PART, [create('a')])).rejects.toMatchObject({
        code: 'STORAGE_READONLY',
        retryable: true,
      });
    } finally {
      await client.replicaof('NO', 'ONE');
    }
    expect((await one(storage, create('a'))).status).toBe('applied');
  });

  test('a server that lacks replicas, or denies the user, writes nothing', async () => {
    await client.config('SET', 'min-replicas-to-write', '1');
    await expect(storage.commit(PART, [create('a')])).rejects.toMatchObject({
      code: 'STORAGE_UNAVAILABLE',
      retryable: true,
    });
    await client.config('SET', 'min-replicas-to-write', '0');
    await client.call('ACL', 'SETUSER', 'narrow', 'on', '>pw', '~{rekindle:*', '+@all', '-config', '-info');
    const narrow = connect({
      port: server.port,
      username: 'narrow',
      password: 'pw',
      enableReadyCheck: false,
    });
    const limited = redisStorage(narrow);
    expect((await one(limited, create('a'))).status).toBe('applied');
    await expect(limited.commit('foreign', [create('a')])).rejects.toMatchObject({
      code: 'STORAGE_UNAVAILABLE',
      retryable: false,
    });
    const report = await limited.inspect!();
    expect(report.durability).toContain('unknown');
    expect(report.warnings.join()).toContain('INFO memory');
  });

  test('a silent server and an ended client: no unhandled rejection, close is at once and final', async () => {
    const redis = connect({ port: proxy.port, retryStrategy: () => 20 });
    const over = redisStorage(redis, { callDeadlineMs: 100 });
    await over.read(PART, []);
    expect(redis.listenerCount('error')).toBe(1);
    proxy.blackHole();
    const pending = over.commit(PART, [create('a')]);
    await expect(pending).rejects.toMatchObject({ code: 'STORAGE_UNAVAILABLE' });
    proxy.refuse();
    await expect(over.commit(PART, [create('a')])).rejects.toMatchObject({ retryable: true });
    await over.close();
    await over.close();
    expect(redis.listenerCount('error')).toBe(0);
    redis.on('error', () => {});
    await expect(over.read(PART, ['a'])).rejects.toMatchObject({
      code: 'STORAGE_UNAVAILABLE',
      retryable: false,
    });
    // The client rejects the commands it still has; nobody waits for them any more.
    redis.disconnect();
    await new Promise((resolve) => setTimeout(resolve, 50));
  });
});
