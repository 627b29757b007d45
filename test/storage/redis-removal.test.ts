/** How the Redis adapter removes records: without holding the server up, and also where it may not do so. */
import type { Redis } from 'ioredis';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { redisStorage } from '../../src/storage/redis.js';
import type { Batch, Storage } from '../../src/storage/storage.js';
import { change, connect, create, disconnectAll, one } from '../support/redis-batches.js';
import { startRedis } from '../support/redis-server.js';
import type { RedisServer } from '../support/redis-server.js';

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

describe('removal', () => {
  test.each(['+@all', '-unlink'])('removes whole records, with %s', async (right) => {
    await client.call('ACL', 'SETUSER', 'remover', 'reset', 'on', '>secret', '~*', '+@all', right);
    const as = redisStorage(connect({ port: server.port, username: 'remover', password: 'secret' }));
    const made = create('a', {
      set: [
        { key: 'a/1', fields: { f: '1' } },
        { key: 'a/2', fields: { f: '1' } },
      ],
    });
    await one(as, made);
    const cut = change('a', made.guard.next, { remove: ['a/1', 'absent'], observe: ['a/1', 'a/2'] });
    expect(await one(as, cut)).toEqual({ status: 'applied', observed: [null, new Map([['f', '1']])] });
    const gone: Batch = { guard: { key: 'a', expect: cut.guard.next, next: null }, remove: ['a/2'] };
    expect((await one(as, gone)).status).toBe('applied');
    expect(await client.keys('*')).toEqual([]);
  });

  test('never holds the server up with DEL', async () => {
    const made = create('a', { set: [{ key: 'big', fields: { f: '1' } }] });
    await one(storage, made);
    await client.config('RESETSTAT');
    await one(storage, { guard: { key: 'a', expect: made.guard.next, next: null }, remove: ['big'] });
    const stats = await client.info('commandstats');
    expect(stats).toContain('cmdstat_unlink:calls=2,');
    expect(stats).not.toContain('cmdstat_del:');
  });
});
