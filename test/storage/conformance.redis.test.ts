/** The storage laws on real Redis servers: one alone, behind a proxy with faults, and a Cluster of three. */
import assert from 'node:assert/strict';
import { Cluster, Redis } from 'ioredis';
import { Redis as Redis6 } from 'ioredis-6';
import RedisMock from 'ioredis-mock';
import { afterAll, beforeAll, describe, test } from 'vitest';
import { redisStorage } from '../../src/storage/redis.js';
import { recordKey } from '../../src/storage/redis/keys.js';
import { storageSuite } from '../../src/testing/index.js';
import type { Law, StorageFaults, SuiteOpenOptions, SuiteStore } from '../../src/testing/index.js';
import { startCluster } from '../support/redis-groups.js';
import { warm } from '../support/redis-batches.js';
import { redisCommand, startRedis } from '../support/redis-server.js';
import type { RedisCluster } from '../support/redis-groups.js';
import type { RedisServer } from '../support/redis-server.js';
import { startProxy } from '../support/tcp-proxy.js';
import type { TcpProxy } from '../support/tcp-proxy.js';

const runner = { describe, test };
const isScript = (request: Buffer): boolean => /\bevalsha\b|\beval\b/i.test(request.toString('latin1'));

function proxyFaults(proxy: TcpProxy): StorageFaults {
  return {
    async withLostReply(call) {
      const dropped = proxy.dropNextReply(isScript);
      try {
        return await call();
      } finally {
        await dropped;
      }
    },
    async withHeldRequest(call) {
      const holding = proxy.holdNextRequest(isScript);
      // It cannot succeed: its request is held until its deadline.
      await assert.rejects(call, { code: 'STORAGE_UNAVAILABLE' });
      const held = await holding;
      // The connection is reset, and ioredis sends the request again by itself: one more copy of it.
      proxy.heal();
      return async () => {
        await held.deliver();
      };
    },
  };
}

function serverFaults(servers: readonly RedisServer[], client: Redis | Redis6 | Cluster): StorageFaults {
  return {
    async corrupt(partition, key) {
      await client.set(recordKey(partition, key), 'a text, not a hash');
    },
    async flushScripts() {
      await Promise.all(servers.map(({ port }) => redisCommand(port, ['SCRIPT', 'FLUSH'])));
    },
    async freeze() {
      for (const server of servers) server.pause();
    },
    async thaw() {
      for (const server of servers) server.resume();
    },
  };
}

describe.each([
  { version: 5, connect: (port: number): Redis | Redis6 => new Redis({ port }) },
  { version: 6, connect: (port: number): Redis | Redis6 => new Redis6({ port }) },
])('standalone, ioredis $version', ({ version, connect }) => {
  let server: RedisServer;
  let proxy: TcpProxy;
  beforeAll(async () => {
    server = await startRedis();
    proxy = await startProxy(server);
  });
  afterAll(async () => {
    await proxy.close();
    await server.stop();
  });

  storageSuite({
    name: `redis, ioredis ${version}`,
    runner,
    async open(options: SuiteOpenOptions): Promise<SuiteStore> {
      const through = connect(proxy.port);
      const direct = connect(server.port);
      const storage = redisStorage(through, options);
      const second = redisStorage(direct, options);
      // Connected, and the scripts known to the server: the faults hit the case's own requests.
      await warm(storage, 'warm-up');
      return {
        storage,
        second,
        faults: { ...serverFaults([server], direct), ...proxyFaults(proxy) },
        async dispose() {
          proxy.heal();
          await Promise.all([storage.close(), second.close()]);
          through.disconnect();
          direct.disconnect();
        },
      };
    },
  });
});

describe('a Cluster of three', () => {
  let servers: RedisCluster;
  beforeAll(async () => {
    servers = await startCluster();
  });
  afterAll(() => servers.stop());

  storageSuite({
    name: 'redis cluster',
    runner,
    runs: 20,
    async open(options: SuiteOpenOptions): Promise<SuiteStore> {
      const one = new Cluster([...servers.endpoints]);
      const other = new Cluster([...servers.endpoints]);
      const storage = redisStorage(one, options);
      const second = redisStorage(other, options);
      return {
        storage,
        second,
        faults: serverFaults(servers.nodes, other),
        async dispose() {
          await Promise.all([storage.close(), second.close()]);
          one.disconnect();
          other.disconnect();
        },
      };
    },
  });
});

const jumpingClock = 'Its TIME is rounded to whole seconds: it jumps by up to a second, also backwards.';
const noTypes = 'It does not tell types apart: HGET of a text is null.';
const noServer = 'There is no server that could stop answering.';
const streamIds = 'XRANGE from an id finds nothing, and XADD with MAXLEN gives the same id twice.';
const mockSkips: readonly (readonly [law: Law, title: string, reason: string])[] = [
  ['S1', 'a record of a wrong type in the second batch of three', noTypes],
  ['S1', 'a guard of a wrong type in the second batch of three', noTypes],
  ['S1', 'a counter of a wrong type in the second batch of three', noTypes],
  [
    'S1',
    'random commands come to the same as on the memory storage',
    'They meet all that is skipped below: fields like "constructor", fractions, cursors of events.',
  ],
  ['S3', 'a late duplicate of a creation does not bring a removed record back', jumpingClock],
  ['S3', 'a batch after its notAfter is expired and writes nothing', jumpingClock],
  ['S4', 'read, commit and range tell one clock, which goes forward', jumpingClock],
  ['S4', 'bounds from now are of the time of the call', jumpingClock],
  ['S4', 'the time is read, and notAfter judged, when the call gets its turn', noServer],
  ['S5', 'both bounds of a range are included', 'It rounds bounds to whole numbers.'],
  ['S5', 'scores come back exactly', 'It rounds bounds to whole numbers.'],
  ['S5', 'ties stand in the order of the bytes of their ids', 'It orders them by UTF-16.'],
  ['S6', 'a cursor continues behind its event, on any connection', streamIds],
  ['S6', 'a reader at the end meets what comes later', streamIds],
  ['S6', 'a reader misses nothing of several writers', streamIds],
  ['S6', 'the log is bounded and keeps the newest', streamIds],
  ['S6', 'a reader whose event is no longer kept is told', streamIds],
  [
    'S7',
    'awkward names of keys, fields, ids and indexes work',
    'Its hashes are objects: HGET of "constructor" finds what every object inherits.',
  ],
  ['S8', 'every call ends by its deadline while the store does not answer, and is safe to repeat', noServer],
  ['S8', 'close ends while the store does not answer', noServer],
  ['S8', 'a server that forgets its scripts is taught again', 'It has no SCRIPT command.'],
];

let mocks = 0;
storageSuite({
  name: 'ioredis-mock, reduced',
  runner,
  runs: 20,
  skip: mockSkips.map(([law, title, reason]) => ({ law, case: title, reason })),
  async open(options: SuiteOpenOptions): Promise<SuiteStore> {
    mocks += 1;
    // Mocks of one host share their data.
    const storage = redisStorage(new RedisMock({ host: `mock-${mocks}` }), options);
    const second = redisStorage(new RedisMock({ host: `mock-${mocks}` }), options);
    return { storage, second, dispose: () => storage.close() };
  },
});
