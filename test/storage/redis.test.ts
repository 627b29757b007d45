/** The Redis adapter against real servers. The laws themselves are in the shared suite; here is what only Redis does. */
import type { Redis } from 'ioredis';
import { afterAll, afterEach, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { redisStorage } from '../../src/storage/redis.js';
import type { Batch, Storage } from '../../src/storage/storage.js';
import { PART, change, connect, create, disconnectAll, fieldsOf, one } from '../support/redis-batches.js';
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

describe('commit', () => {
  test('applies every part and tells what became of each batch', async () => {
    const first = create('a', {
      set: [
        { key: 'a', fields: { status: 'running', until: { fromNow: 500 } } },
        { key: 'a/1', fields: { v: 'x', w: 'y' } },
      ],
      increment: [
        { key: 'n', field: 'done', by: 3 },
        { key: 'n', field: 'done', by: -1 },
        { key: 'm', field: 'done', by: 1 },
      ],
      index: [
        { index: 'due', id: 'a', score: { fromNow: 1000 } },
        { index: 'due', id: 'b', score: 7.5 },
        { index: 'due', id: 'c', score: 1 },
        { index: 'due', id: 'c', score: null },
      ],
      append: [{ type: 'made', at: { fromNow: 0 } }],
      observe: ['a/1', 'gone', 'n'],
    });
    const { nowMs, outcomes } = await storage.commit(PART, [first]);
    expect(Math.abs(nowMs - Date.now())).toBeLessThan(1000);
    expect(outcomes[0]).toEqual({
      status: 'applied',
      observed: [
        new Map([
          ['v', 'x'],
          ['w', 'y'],
        ]),
        null,
        new Map([['done', '2']]),
      ],
    });
    expect(await fieldsOf(storage, 'a')).toEqual({
      token: first.guard.next,
      status: 'running',
      until: String(nowMs + 500),
    });
    const page = await storage.range(PART, 'due', { limit: 10 });
    expect(page.entries).toEqual([
      { id: 'b', score: 7.5 },
      { id: 'a', score: nowMs + 1000 },
    ]);
    const { events } = await storage.events(PART, { after: null, limit: 10 });
    expect(events.map((event) => Object.fromEntries(event.fields))).toEqual([
      { type: 'made', at: String(nowMs) },
    ]);

    const again = await storage.commit(PART, [
      first,
      change('b', 'nobody'),
      { ...create('c'), notAfter: nowMs - 1 },
      create('d', { append: [{ '\ud800': '' }] }),
      change('a', first.guard.next, {
        unset: [
          { key: 'a', fields: ['until'] },
          { key: 'a/1', fields: ['v', 'w'] },
        ],
        remove: ['n'],
      }),
      change('a', 'late'),
    ]);
    const statuses = again.outcomes.map(({ status }) => status).join(' ');
    expect(statuses).toBe('duplicate conflict expired refused applied conflict');
    expect(again.outcomes[1]).toEqual({ status: 'conflict', current: null });
    expect(again.outcomes[3]).toMatchObject({ code: 'NOT_WELL_FORMED' });
    const { records } = await storage.read(PART, ['a', 'a/1', 'n', 'm'], ['status', 'done']);
    expect(records).toEqual([new Map([['status', 'running']]), null, null, new Map([['done', '1']])]);
    expect(await storage.count(PART, 'due', { to: { fromNow: 0 } })).toBe(1);
  });

  test('removes a guard once and calls the second time a duplicate', async () => {
    const made = create('a');
    await one(storage, made);
    const gone: Batch = { guard: { key: 'a', expect: made.guard.next, next: null } };
    expect((await one(storage, gone)).status).toBe('applied');
    expect((await one(storage, gone)).status).toBe('duplicate');
    expect(await fieldsOf(storage, 'a')).toBeNull();
  });

  test('observes records that the batch itself changes, as they are afterwards', async () => {
    const made = create('a', { set: [{ key: 'x', fields: { f: '1' } }], observe: ['x', 'a'] });
    const outcome = await one(storage, made);
    expect(outcome).toMatchObject({
      status: 'applied',
      observed: [new Map([['f', '1']]), new Map([['token', made.guard.next]])],
    });
  });

  test('a batch on a key of the wrong type is refused whole, whatever part names it, and alone', async () => {
    await client.set(`{${PART}}:r:bad`, 'text');
    await client.set(`{${PART}}:i:bad`, 'text');
    const parts: Partial<Batch>[] = [
      { set: [{ key: 'bad', fields: { a: '1' } }] },
      {
        set: [
          { key: 'fresh', fields: { a: '1' } },
          { key: 'bad', fields: { a: '1' } },
        ],
      },
      { set: [{ key: 'fresh', fields: { a: '1' } }], unset: [{ key: 'bad', fields: ['a'] }] },
      { set: [{ key: 'fresh', fields: { a: '1' } }], increment: [{ key: 'bad', field: 'n', by: 1 }] },
      { set: [{ key: 'fresh', fields: { a: '1' } }], index: [{ index: 'bad', id: 'x', score: 1 }] },
      { set: [{ key: 'fresh', fields: { a: '1' } }], index: [{ index: 'bad', id: 'x', score: null }] },
      { set: [{ key: 'fresh', fields: { a: '1' } }], observe: ['bad'] },
      { set: [{ key: 'fresh', fields: { a: '1' } }], observe: ['fresh', 'bad'] },
    ];
    for (const part of parts) {
      const batches = [create('one'), create('two', part), create('three')];
      const { outcomes } = await storage.commit(PART, batches);
      expect(outcomes.map(({ status }) => status)).toEqual(['applied', 'refused', 'applied']);
      expect(outcomes[1]).toMatchObject({ code: 'WRONG_TYPE' });
      const { records } = await storage.read(PART, ['one', 'two', 'three', 'fresh']);
      expect(records.map((record) => record !== null)).toEqual([true, false, true, false]);
      await client.del(`{${PART}}:r:one`, `{${PART}}:r:three`);
    }
    expect(await one(storage, create('bad'))).toMatchObject({ status: 'refused', code: 'WRONG_TYPE' });
    await client.set(`{${PART}}:events`, 'text');
    const noLog = create('two', { set: [{ key: 'fresh', fields: { a: '1' } }], append: [{ a: '1' }] });
    expect(await one(storage, noLog)).toMatchObject({ status: 'refused', code: 'WRONG_TYPE' });
    expect(await fieldsOf(storage, 'fresh')).toBeNull();
    await expect(storage.read(PART, ['bad'])).rejects.toMatchObject({ code: 'CORRUPT_RECORD' });
  });

  test('counters refuse what they cannot add exactly', async () => {
    for (const [value, by] of [
      ['01', 1],
      ['', 1],
      ['-0', 1],
      ['1.0', 1],
      ['1e3', 1],
      ['1\n', 1],
      ['9'.repeat(16), 1],
      ['9'.repeat(15), 1],
      [`-${'9'.repeat(15)}`, -1],
    ] as const) {
      await client.hset(`{${PART}}:r:n`, 'f', value);
      const batch = create('a', { increment: [{ key: 'n', field: 'f', by }] });
      expect(await one(storage, batch)).toMatchObject({ status: 'refused', code: 'NOT_A_NUMBER' });
    }
    await client.hset(`{${PART}}:r:n`, 'f', `-${'9'.repeat(15)}`);
    await one(storage, create('b', { increment: [{ key: 'n', field: 'f', by: 999_999_999_999_999 }] }));
    expect(await fieldsOf(storage, 'n')).toEqual({ f: '0' });
  });

  test('keeps texts exactly, and records of more fields than Lua can unpack', async () => {
    const strange = { '\u{1F525}': '\0\u{10FFFF}\r\n', constructor: '', ü: '{"a":[]}' };
    const many = Object.fromEntries(Array.from({ length: 9_000 }, (_, at) => [`f${at}`, `${at}`]));
    const made = create('a', {
      set: [
        { key: 'x', fields: strange },
        { key: 'y', fields: many },
        { key: 'a', fields: many },
      ],
      index: Array.from({ length: 9_000 }, (_, at) => ({ index: 'i', id: `m${at}`, score: at })),
    });
    expect((await one(storage, made)).status).toBe('applied');
    expect(await fieldsOf(storage, 'x')).toEqual(strange);
    expect(await fieldsOf(storage, 'y')).toEqual(many);
    expect(await fieldsOf(storage, 'a')).toEqual({ ...many, token: made.guard.next });
    expect(await storage.count(PART, 'i')).toBe(9_000);
    const event = Object.fromEntries(Array.from({ length: 3_000 }, (_, at) => [`f${at}`, '']));
    expect(await one(storage, create('b', { append: [event] }))).toMatchObject({ code: 'TOO_LARGE' });
  });
});

describe('reading', () => {
  test('pages in the order of bytes, both ways, from cursors that are gone', async () => {
    const ids = ['Z', 'a', 'b', 'é', '\u{ffff}', '\u{10000}', 'aa', '0'];
    const index = ids.flatMap((id) => [
      { index: 'i', id, score: 5 },
      { index: 'i', id: `${id}x`, score: { fromNow: 0 } },
    ]);
    await one(storage, create('a', { index }));
    const all = (await storage.range(PART, 'i', { limit: Infinity })).entries;
    expect(all.slice(0, 8).map(({ id }) => id)).toEqual(
      ids.toSorted((x, y) => Buffer.compare(Buffer.from(x), Buffer.from(y))),
    );
    for (const reverse of [false, true]) {
      const order = reverse ? all.toReversed() : all;
      let rest = [...order];
      for (const after of order) {
        const query = { after, limit: 3, reverse };
        rest = rest.slice(1);
        expect((await storage.range(PART, 'i', query)).entries).toEqual(rest.slice(0, 3));
        await client.zrem(`{${PART}}:i:i`, after.id);
        expect((await storage.range(PART, 'i', query)).entries).toEqual(rest.slice(0, 3));
      }
      await client.del(`{${PART}}:i:i`);
      await client.zadd(`{${PART}}:i:i`, ...all.flatMap(({ id, score }) => [String(score), id]));
    }
    const bounds = { from: 5.5, to: { fromNow: 0 } };
    expect(await storage.count(PART, 'i', bounds)).toBe(8);
    expect((await storage.range(PART, 'i', { ...bounds, limit: 2 })).entries).toEqual(all.slice(8, 10));
    expect((await storage.range(PART, 'i', { ...bounds, limit: 0 })).entries).toEqual([]);
    expect((await storage.range(PART, 'i', { to: 4, limit: 9, after: all[0]! })).entries).toEqual([]);
    expect((await storage.range(PART, 'none', { limit: 2 })).entries).toEqual([]);
  });

  test('the log is bounded, tells what it trimmed, and an outside reader can follow it', async () => {
    const small = redisStorage(client, { maxEvents: 100 });
    await one(small, create('a', { append: [{ n: '0' }] }));
    const first = await small.events(PART, { after: null, limit: 1 });
    const cursor = first.events[0]!.cursor;
    await one(small, create('b', { append: [{ n: '1', ü: '\0' }, { n: '2' }] }));
    const page = await small.events(PART, { after: cursor, limit: 10 });
    expect(page.truncated).toBe(false);
    expect(page.events.map(({ fields }) => fields.get('n'))).toEqual(['1', '2']);
    const streams = await client.xread('STREAMS', `{${PART}}:events`, cursor);
    expect(streams?.[0]?.[1]?.map(([, fields]) => fields)).toEqual([
      ['n', '1', 'ü', '\0'],
      ['n', '2'],
    ]);
    await one(small, create('c', { append: Array.from({ length: 500 }, () => ({ n: 'x' })) }));
    const later = await small.events(PART, { after: cursor, limit: 1_000 });
    expect(later.truncated).toBe(true);
    expect(later.events.length).toBeLessThan(300);
    expect((await small.events(PART, { after: 'foreign', limit: 1 })).truncated).toBe(true);
    expect((await small.events(PART, { after: null, limit: 0 })).events).toEqual([]);
    await small.close();
  });

  test('a call without keys or batches still tells the time', async () => {
    expect((await storage.read(PART, [])).records).toEqual([]);
    const reply = await storage.commit(PART, []);
    expect(reply.outcomes).toEqual([]);
    expect(Math.abs(reply.nowMs - Date.now())).toBeLessThan(1_000);
  });
});

describe('settings', () => {
  test('inspect warns about what puts acknowledged writes at risk', async () => {
    const risky = await storage.inspect!();
    expect(risky.warnings.join('\n')).toContain('appendonly is off');
    await client.config('SET', 'maxmemory-policy', 'allkeys-lru');
    const policy = await storage.inspect!();
    expect(policy.warnings.join('\n')).toContain('allkeys-lru');
    await client.config('SET', 'maxmemory-policy', 'noeviction');
    const safe = await startRedis({ appendonly: 'always' });
    onTestFinished(() => safe.stop());
    const report = await redisStorage(connect({ port: safe.port })).inspect!();
    expect(report).toEqual({
      durability: 'power loss: append-only file, flushed before the reply',
      warnings: [],
    });
  });

  test('a key prefix of the client is kept', async () => {
    const prefixed = redisStorage(connect({ port: server.port, keyPrefix: 'app:' }));
    await one(prefixed, create('a', { index: [{ index: 'i', id: 'a', score: 1 }], append: [{ n: '1' }] }));
    expect(await client.keys('*')).toHaveLength(3);
    expect((await client.keys('app:{rekindle:0}:*')).toSorted()).toHaveLength(3);
    expect(await fieldsOf(storage, 'a')).toBeNull();
    expect(await fieldsOf(prefixed, 'a')).not.toBeNull();
  });

  test('options out of range are refused', () => {
    for (const bad of [
      { partitions: 0 },
      { waitReplicas: -1 },
      { callDeadlineMs: 0.5 },
      { maxEvents: NaN },
    ]) {
      expect(() => redisStorage(client, bad)).toThrow(expect.objectContaining({ code: 'INVALID_OPTION' }));
    }
  });
});
