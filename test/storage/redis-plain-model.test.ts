/** The short way of batches comes to what the memory storage comes to, whichever of a call's batches apply. */
import * as fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { MemoryPartition, storageOver } from '../../src/storage/memory.js';
import { redisStorage } from '../../src/storage/redis.js';
import { PLAIN } from '../../src/storage/redis/plain-script.js';
import { COMMIT } from '../../src/storage/redis/scripts.js';
import type { Batch, Storage } from '../../src/storage/storage.js';
import { connect, disconnectAll, watchScripts } from '../support/redis-batches.js';
import { startRedis } from '../support/redis-server.js';
import type { RedisServer } from '../support/redis-server.js';

const FAR = 8e15;
const ran = new Set<string>();
let server: RedisServer;
let storage: Storage;

beforeAll(async () => {
  server = await startRedis();
  storage = redisStorage(watchScripts(connect({ port: server.port }), (sha) => void ran.add(sha)));
});
afterAll(async () => {
  disconnectAll();
  await server.stop();
});

const KEYS = ['a', 'b', 'c', 'd', 'e'] as const;
const key = fc.constantFrom(...KEYS);
const value = fc.oneof(fc.constantFrom('0', '', 'a\0b'), fc.record({ fromNow: fc.constantFrom(-5, 0, 5) }));
const fields = fc.dictionary(fc.constantFrom('x', 'y', 'z'), value, { minKeys: 1 });
const score = fc.oneof(
  fc.constantFrom(1, 2.5),
  fc.record({ fromNow: fc.constantFrom(0, 5) }),
  fc.constant(null),
);
const entry = fc.record({ index: fc.constantFrom('i', 'j'), id: fc.constantFrom('p', 'q', 'r'), score });
const counted = fc.record({
  key: fc.constantFrom('n', 'n', 'm', 'e'),
  field: fc.constantFrom('k', 'k', 'x'),
  by: fc.constantFrom(1, 1, -1, 5, 999_999_999_999_999),
});
const drawn = fc.record(
  {
    key,
    how: fc.constantFrom('right', 'right', 'right', 'right', 'right', 'wrong', 'sent before', 'late'),
    set: fc.array(fc.record({ key, fields }), { maxLength: 3 }),
    increment: fc.array(counted, { maxLength: 3 }),
    observe: fc.uniqueArray(fc.constantFrom('a', 'e', 'n', 'm', 'nobody'), { maxLength: 2 }),
    index: fc.array(entry, { maxLength: 4 }),
    append: fc.array(fields, { maxLength: 2 }),
  },
  { requiredKeys: ['key', 'how'] },
);
const calls = fc.array(fc.uniqueArray(drawn, { minLength: 1, selector: (batch) => batch.key }), {
  minLength: 1,
  maxLength: 6,
});

test('property: many batches in a call', async () => {
  let partitions = 0;
  let fresh = 0;
  await fc.assert(
    fc.asyncProperty(calls, async (list) => {
      partitions += 1;
      const partition = `plain:${partitions}`;
      let nowMs = 0;
      const model = storageOver(() => new MemoryPartition(1_000), { wallMs: () => nowMs }, 1);
      for (const call of list) {
        const { records } = await model.read(
          partition,
          call.map((batch) => batch.key),
          ['token'],
        );
        const batches = call.map(({ key, how, ...parts }, at): Batch => {
          const current = records[at]?.get('token') ?? null;
          const next = how === 'sent before' && current !== null ? current : `t${(fresh += 1)}`;
          const expect = how === 'wrong' || next === current ? 'other' : current;
          const timed = how === 'late' || expect === null;
          const notAfter = timed ? { notAfter: how === 'late' ? 1 : FAR } : {};
          return { ...parts, guard: { key, expect, next }, ...notAfter };
        });
        const reply = await storage.commit(partition, batches);
        nowMs = reply.nowMs;
        const expected = (await model.commit(partition, batches)).outcomes;
        // Each storage says in words of its own why it refuses one.
        const worded = expected.map((each) => ({
          ...each,
          ...('message' in each && { message: expect.any(String) }),
        }));
        expect(reply.outcomes).toEqual(worded);
        const all = await Promise.all(
          [storage, model].map(async (on) => [
            (await on.read(partition, [...KEYS, 'n', 'm'])).records,
            (await on.range(partition, 'i', { limit: 9 })).entries,
            (await on.range(partition, 'j', { limit: 9 })).entries,
            (await on.events(partition, { after: null, limit: 99 })).events.map((event) => event.fields),
          ]),
        );
        expect(all[0]).toEqual(all[1]);
      }
    }),
    { numRuns: 150 },
  );
  expect([ran.has(PLAIN.sha), ran.has(COMMIT.sha)]).toEqual([true, true]);
});
