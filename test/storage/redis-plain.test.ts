/** The short way of batches of sets, index changes and events: what it must have in common with the general one. */
import type { Redis } from 'ioredis';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { redisStorage } from '../../src/storage/redis.js';
import type { RedisClient } from '../../src/storage/redis.js';
import { PLAIN } from '../../src/storage/redis/plain-script.js';
import { COMMIT } from '../../src/storage/redis/scripts.js';
import type { Batch, Storage } from '../../src/storage/storage.js';
import {
  PART,
  change,
  connect,
  create,
  disconnectAll,
  fieldsOf,
  one,
  watchScripts,
} from '../support/redis-batches.js';
import { startRedis } from '../support/redis-server.js';
import type { RedisServer } from '../support/redis-server.js';

let server: RedisServer;
let client: Redis;
let storage: Storage;
/** The scripts that the storage's calls have run since {@link runs} was last asked. */
let ran: string[] = [];
const runs = (): string[] => ran.splice(0);

const watched = (client: Redis): RedisClient =>
  watchScripts(client, (sha) => {
    ran.push(sha === PLAIN.sha ? 'plain' : sha === COMMIT.sha ? 'general' : 'other');
  });

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
const entries = async (index: string): Promise<string[]> =>
  (await storage.range(PART, index, { limit: 10_000 })).entries.map(({ id, score }) => `${id} ${score}`);
const events = async (on: Storage): Promise<(string | undefined)[]> =>
  (await on.events(PART, { after: null, limit: 10_000 })).events.map(({ fields }) => fields.get('n'));

test('two batches under one guard, which no queue of ours sends: the second is judged by what the first has left', async () => {
  const writes = { index: [{ index: 'i', id: 'a', score: 1 }] };
  expect(await statuses([create('a', writes), create('a', writes)])).toEqual(['applied', 'conflict']);
  expect(runs()).toEqual(['general']);
});

describe('many batches in a call', () => {
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

  test('send one command a counter; what counts and is set in one call goes the general way', async () => {
    await client.config('RESETSTAT');
    const increment = [{ key: 'n', field: 'k', by: 2 }];
    const made = ['a', 'b', 'c'].map((key) => create(key, { increment, append: [{ n: key }] }));
    expect(await statuses([...made, change('d', 'nobody', { increment })])).toEqual([
      ...made.map(() => 'applied'),
      'conflict',
    ]);
    expect(runs()).toEqual(['plain']);
    expect(await client.info('commandstats')).toContain('cmdstat_hincrby:calls=1,');
    expect(await fieldsOf(storage, 'n')).toEqual({ k: '6' });
    const sets = create('e', { set: [{ key: 'n', fields: { k: '10' } }] });
    expect(await statuses([sets, create('f', { increment })])).toEqual(['applied', 'applied']);
    expect(await fieldsOf(storage, 'n')).toEqual({ k: '12' });
    const guard = create('m', { set: [{ key: 'm', fields: { k: '1' } }] });
    const counts = create('g', { increment: [{ key: 'm', field: 'k', by: 1 }] });
    expect(await statuses([guard, counts])).toEqual(['applied', 'applied']);
    expect(await client.hget(`{${PART}}:r:m`, 'k')).toBe('2');
    expect(runs().filter((each) => each !== 'other')).toEqual(['general', 'general']);
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

  test('that set one record in many parts are not torn: each part may be small, and all of them too many', async () => {
    const made = create('a');
    await one(storage, made);
    runs();
    const parts = ['a', 'b', 'c', 'd'].map((name) => {
      const names = Array.from({ length: 1_000 }, (_, at) => `${name}${at}`);
      return { key: 'a', fields: Object.fromEntries(names.map((each) => [each, 'v'])) };
    });
    const set = [{ key: 'other', fields: { v: 'x' } }, ...parts];
    expect(await one(storage, change('a', made.guard.next, { set }))).toMatchObject({ status: 'applied' });
    expect(runs()).toEqual(['general']);
    expect(Object.keys((await fieldsOf(storage, 'a')) ?? {})).toHaveLength(4_001);
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
    ['an observed record', 'r:seen', { observe: ['seen'] }],
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

  test('a counter of the wrong type refuses those that count', async () => {
    await client.set(`{${PART}}:r:n`, 'text');
    const counts = create('two', { index, increment: [{ key: 'n', field: 'k', by: 1 }] });
    expect((await storage.commit(PART, [create('one', { index }), counts])).outcomes).toMatchObject([
      { status: 'applied' },
      { status: 'refused', code: 'WRONG_TYPE' },
    ]);
    expect(runs()).toEqual(['plain', 'general']);
    expect(await fieldsOf(storage, 'two')).toBeNull();
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
