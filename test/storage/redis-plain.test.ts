/** The short way of batches of sets, index changes and events: what it must have in common with the general one. */
import * as fc from 'fast-check';
import type { Redis } from 'ioredis';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { MemoryPartition, storageOver } from '../../src/storage/memory.js';
import { redisStorage } from '../../src/storage/redis.js';
import type { RedisClient } from '../../src/storage/redis.js';
import { PLAIN } from '../../src/storage/redis/plain-script.js';
import { COMMIT } from '../../src/storage/redis/scripts.js';
import type { Batch, Storage } from '../../src/storage/storage.js';
import { PART, change, connect, create, disconnectAll, fieldsOf, one } from '../support/redis-batches.js';
import { startRedis } from '../support/redis-server.js';
import type { RedisServer } from '../support/redis-server.js';

const FAR = 8e15;
let server: RedisServer;
let client: Redis;
let storage: Storage;
/** The scripts that the storage's calls have run since {@link runs} was last asked. */
let ran: string[] = [];
const runs = (): string[] => ran.splice(0);

function watched(client: Redis): RedisClient {
  return {
    evalsha: (sha, count, args) => {
      ran.push(sha === PLAIN.sha ? 'plain' : sha === COMMIT.sha ? 'general' : 'other');
      return client.evalsha(sha, count, args);
    },
    eval: (text, count, args) => client.eval(text, count, args),
    pipeline: () => client.pipeline(),
    info: (section) => client.info(section),
    config: (get, name) => client.config(get, name),
    on: (event, listener) => client.on(event, listener),
    off: (event, listener) => client.off(event, listener),
  };
}

beforeAll(async () => {
  server = await startRedis();
  client = connect({ port: server.port });
  storage = redisStorage(watched(client));
});
afterEach(async () => {
  await client.flushall();
  ran = [];
});
afterAll(async () => {
  disconnectAll();
  await server.stop();
});

const statuses = async (batches: readonly Batch[]): Promise<string[]> =>
  (await storage.commit(PART, batches)).outcomes.map(({ status }) => status);
const entries = async (index: string): Promise<string[]> => {
  const page = await storage.range(PART, index, { limit: 10_000 });
  return page.entries.map(({ id, score }) => `${id} ${score}`);
};
const events = async (on: Storage): Promise<(string | undefined)[]> => {
  const page = await on.events(PART, { after: null, limit: 10_000 });
  return page.events.map(({ fields }) => fields.get('n'));
};

test('two batches under one guard, which no queue of ours sends: the second is judged by what the first has left', async () => {
  const writes = { index: [{ index: 'i', id: 'a', score: 1 }] };
  expect(await statuses([create('a', writes), create('a', writes)])).toEqual(['applied', 'conflict']);
  expect(runs()).toEqual(['general']);
});

describe('many batches in a call', () => {
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
  const drawn = fc.record(
    {
      key,
      how: fc.constantFrom('right', 'right', 'right', 'right', 'right', 'wrong', 'sent before', 'late'),
      set: fc.array(fc.record({ key, fields }), { maxLength: 3 }),
      index: fc.array(entry, { maxLength: 4 }),
      append: fc.array(fields, { maxLength: 2 }),
    },
    { requiredKeys: ['key', 'how'] },
  );
  const calls = fc.array(fc.uniqueArray(drawn, { minLength: 1, selector: (batch) => batch.key }), {
    minLength: 1,
    maxLength: 6,
  });

  test('come to the same as on the memory storage, whichever of them apply', async () => {
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
          expect(reply.outcomes).toEqual((await model.commit(partition, batches)).outcomes);
          const all = await Promise.all(
            [storage, model].map(async (on) => [
              (await on.read(partition, KEYS)).records,
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
    expect(new Set(runs())).toEqual(new Set(['plain', 'other']));
  });

  test('send one command an index, and trim the log once', async () => {
    await one(storage, create('first', { index: [{ index: 'i', id: 'first', score: 1 }] }));
    await client.config('RESETSTAT');
    const index = (id: string): NonNullable<Batch['index']> => [
      { index: 'i', id, score: 1 },
      { index: 'j', id, score: { fromNow: 0 } },
    ];
    const ids = Array.from({ length: 50 }, (_, at) => `id${at}`);
    const made = ids.map((id) => create(id, { index: index(id), append: [{ n: id }] }));
    expect(new Set(await statuses(made))).toEqual(new Set(['applied']));
    expect(runs()).toEqual(['plain', 'plain']);
    expect(await client.info('commandstats')).toContain('cmdstat_zadd:calls=2,');
    expect(await entries('i')).toHaveLength(51);
    expect(await events(storage)).toEqual(ids);
  });

  test('change an index in their order, more entries than a command takes too', async () => {
    const many = Array.from({ length: 9_001 }, (_, at) => ({ index: 'i', id: `m${at}`, score: at }));
    const turns = [5, null, 6, null, 7].map((score) => [{ index: 'j', id: 'turn', score }]);
    const made = [...turns, many].map((index, at) => create(`k${at}`, { index }));
    expect(new Set(await statuses(made))).toEqual(new Set(['applied']));
    expect(await entries('j')).toEqual(['turn 7']);
    expect(await entries('i')).toHaveLength(9_001);
    expect(runs()[0]).toBe('plain');
  });

  test('trim the log although the last of them does not apply', async () => {
    const small = redisStorage(client, { maxEvents: 100 });
    for (let at = 0; at < 10; at += 1) {
      const append = Array.from({ length: 50 }, () => ({ n: `${at}` }));
      const parts = [{ index: [] }, { append }, { index: [] }];
      const made = parts.map((part, turn) => create(`a${at}.${turn}`, part));
      await small.commit(PART, [...made, change('b', 'nobody', { append })]);
    }
    const kept = await events(small);
    expect(kept.length).toBeLessThan(300);
    expect(kept.length).toBeGreaterThanOrEqual(100);
    await small.close();
  });

  test('with records of more fields than Lua unpacks go the general way', async () => {
    const many = Object.fromEntries(Array.from({ length: 1_001 }, (_, at) => [`f${at}`, `${at}`]));
    for (const key of ['a', 'x']) {
      const made = create('a', { set: [{ key, fields: many }], index: [{ index: 'i', id: 'a', score: 1 }] });
      expect((await one(storage, made)).status).toBe('applied');
      expect(runs()).toEqual(['general']);
      expect(await fieldsOf(storage, key)).toMatchObject(many);
      await client.flushall();
      runs();
    }
  });
});

test.each([
  ['removes', { remove: ['x'] }, null],
  ['unsets', { unset: [{ key: 'x', fields: ['f'] }] }, null],
  ['counts', { increment: [{ key: 'x', field: 'f', by: 1 }] }, { f: '2' }],
])('a batch that also %s goes the general way', async (_, parts, left) => {
  const made = create('a', { set: [{ key: 'x', fields: { f: '1' } }], append: [{ n: '1' }] });
  await one(storage, made);
  runs();
  expect(await statuses([change('a', made.guard.next, { ...parts, append: [{ n: '2' }] })])).toEqual([
    'applied',
  ]);
  expect(runs()).toEqual(['general']);
  expect(await fieldsOf(storage, 'x')).toEqual(left);
});

describe('what goes wrong', () => {
  const index = [{ index: 'i', id: 'x', score: 1 }];
  const append = [{ n: '1' }];

  test.each([
    ['a guard', 'r:two', {}],
    ['another record', 'r:other', { set: [{ key: 'other', fields: { f: '1' } }] }],
    ['an index', 'i:bad', { index: [...index, { index: 'bad', id: 'x', score: 1 }] }],
    ['an index that an entry leaves', 'i:bad', { index: [...index, { index: 'bad', id: 'x', score: null }] }],
    ['the first index', 'i:bad', { index: [{ index: 'bad', id: 'x', score: 1 }, ...index] }],
  ] as const)('%s of the wrong type: the batch is refused whole, the others apply', async (_, key, parts) => {
    await client.set(`{${PART}}:${key}`, 'text');
    const batches = [
      create('one', { append }),
      create('two', { append, ...parts }),
      create('three', { append }),
    ];
    const { outcomes } = await storage.commit(PART, batches);
    expect(outcomes).toMatchObject([
      { status: 'applied' },
      { status: 'refused', code: 'WRONG_TYPE' },
      { status: 'applied' },
    ]);
    expect(runs()).toEqual(['plain', 'general']);
    expect(await events(storage)).toEqual(['1', '1']);
    expect(await entries('i')).toEqual([]);
  });

  test('a log of the wrong type refuses those that tell something', async () => {
    await client.set(`{${PART}}:events`, 'text');
    const { outcomes } = await storage.commit(PART, [
      create('one', { index }),
      create('two', { index, append }),
    ]);
    expect(outcomes).toMatchObject([{ status: 'applied' }, { status: 'refused', code: 'WRONG_TYPE' }]);
    expect(await fieldsOf(storage, 'two')).toBeNull();
  });

  test('out of memory: refused whole, and what makes room first still applies', async () => {
    const made = create('a', { index, append });
    await one(storage, made);
    await client.config('SET', 'maxmemory', '1');
    try {
      const full = { status: 'refused', code: 'STORAGE_FULL' };
      for (const parts of [{ index }, { append }, { set: [{ key: 'o', fields: { f: '1' } }] }]) {
        runs();
        const { outcomes } = await storage.commit(PART, [create('b', parts), create('c', parts)]);
        expect(outcomes).toMatchObject([full, full]);
        expect(runs()).toEqual(['plain', 'general']);
      }
      const ends = change('a', made.guard.next, { index: [{ index: 'i', id: 'x', score: null }], append });
      const { outcomes } = await storage.commit(PART, [
        create('b', { index: [{ index: 'j', id: 'b', score: 1 }] }),
        ends,
      ]);
      expect(outcomes).toMatchObject([full, { status: 'applied' }]);
    } finally {
      await client.config('SET', 'maxmemory', '0');
    }
    expect(await client.keys('*')).toHaveLength(2);
  });

  const entry = { index: [{ index: 'i', id: 'x', score: 1 }] };
  const leave = { index: [{ index: 'i', id: 'y', score: null }] };
  const other = { set: [{ key: 'o', fields: { f: '1' } }] };
  const told = { append: [{ n: '1' }] };
  test.each([
    { right: '-zadd', parts: [{ ...entry, ...told }], after: 'nothing' },
    { right: '-hset', parts: [{ index: [] }], after: 'nothing' },
    { right: '-hset', parts: [other, told], after: 'nothing' },
    { right: '-xadd', parts: [told], after: 'nothing' },
    { right: '-zrem', parts: [entry, leave], after: 'an entry' },
    { right: '-hset', parts: [entry], after: 'an entry' },
    { right: '-hset', parts: [told], after: 'an event' },
    { right: '-xadd', parts: [{ ...other, ...told }], after: 'a record' },
    { right: '-xadd', parts: [{ index: [] }, told], after: 'a token' },
  ])('a user without a right ($right, after $after): an error, and nothing is tried again', async (point) => {
    await client.call('ACL', 'SETUSER', 'narrow', 'reset', 'on', '>pw', '~*', '+@all', point.right);
    const as = redisStorage(watched(connect({ port: server.port, username: 'narrow', password: 'pw' })));
    const batches = point.parts.map((parts, at) => create(`k${at}`, parts));
    await expect(as.commit(PART, batches)).rejects.toMatchObject({
      code: 'STORAGE_UNAVAILABLE',
      retryable: false,
    });
    // Only what has written nothing may go to the general script.
    expect(runs()).toEqual(point.after === 'nothing' ? ['plain', 'general'] : ['plain']);
    expect(await fieldsOf(storage, `k${point.parts.length - 1}`)).toBeNull();
  });

  test('a call that has to go twice still ends in time when it waits for replicas', async () => {
    await client.set(`{${PART}}:r:a`, 'text');
    const replicated = redisStorage(watched(connect({ port: server.port })), {
      waitReplicas: 1,
      callDeadlineMs: 600,
    });
    expect(await one(replicated, create('a', { append }))).toMatchObject({ code: 'WRONG_TYPE' });
    await replicated.close();
  });
});
