/** Errors of Redis and SQLite, from a real server and real files. */
import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import type { RedisOptions } from 'ioredis';
import Database from 'libsql';
import { redisCommand, startRedis } from '../support/redis-server.js';
import { entry } from './error-corpus-entry.js';
import type { CorpusEntry } from './error-corpus-entry.js';

async function withRedis(options: RedisOptions, run: (redis: Redis) => Promise<unknown>): Promise<unknown> {
  const redis = new Redis({ host: '127.0.0.1', retryStrategy: () => null, ...options });
  redis.on('error', () => {});
  try {
    return await run(redis);
  } finally {
    redis.disconnect();
  }
}

function redisErrors(port: number): CorpusEntry[] {
  const call =
    (...command: readonly [string, ...string[]]) =>
    (): Promise<unknown> =>
      withRedis({ port }, (redis) => redis.call(...command));
  const named = (username: string, password = 'right'): RedisOptions => ({ port, username, password });
  return [
    entry('redis: wrong type', 'other', () =>
      withRedis({ port }, async (redis) => {
        const key = randomUUID();
        await redis.set(key, 'text');
        return redis.lpush(key, 'item');
      }),
    ),
    entry('redis: no script', 'other', call('EVALSHA', randomUUID().replaceAll('-', ''), '0')),
    entry('redis: unknown command', 'other', call('NOSUCH')),
    entry('redis: no integer', 'other', async (round) => {
      const key = randomUUID();
      await call('SET', key, `x${round}`)();
      return call('INCR', key)();
    }),
    entry('redis: error in a script', 'other', () => call('EVAL', 'return no_such_name', '0')()),
    entry('redis: no right', 'permission', () =>
      withRedis(named('reader'), (redis) => redis.set(randomUUID(), 'x')),
    ),
    entry('redis: wrong password', 'permission', () =>
      withRedis({ port }, (redis) => redis.auth('reader', randomUUID())),
    ),
    entry('redis: read-only replica', 'permission', async () => {
      await redisCommand(port, ['REPLICAOF', '127.0.0.1', '1']);
      try {
        return await withRedis({ port, enableReadyCheck: false }, (redis) => redis.set(randomUUID(), 'x'));
      } finally {
        await redisCommand(port, ['REPLICAOF', 'NO', 'ONE']);
      }
    }),
    entry('redis: out of memory', 'memory', async () => {
      await redisCommand(port, ['CONFIG', 'SET', 'maxmemory', '1']);
      try {
        return await withRedis({ port }, (redis) => redis.set(randomUUID(), 'x'));
      } finally {
        await redisCommand(port, ['CONFIG', 'SET', 'maxmemory', '0']);
      }
    }),
    entry('redis: time', 'timeout', (round) =>
      withRedis({ port, commandTimeout: 20 * round }, (redis) => redis.blpop(randomUUID(), 0)),
    ),
    entry('redis: nobody there', 'network', (round) =>
      withRedis({ port: round, maxRetriesPerRequest: round, retryStrategy: () => 1 }, (redis) =>
        redis.ping(),
      ),
    ),
    entry('redis: closed', 'network', () =>
      withRedis({ port, lazyConnect: true }, async (redis) => {
        await redis.connect();
        redis.disconnect();
        return redis.ping();
      }),
    ),
  ];
}

function sqliteErrors(folder: string): CorpusEntry[] {
  const path = (): string => join(folder, `${randomUUID()}.db`);
  const run = (...statements: readonly string[]): void => {
    const db = new Database(path());
    try {
      for (const statement of statements) db.exec(statement);
    } finally {
      db.close();
    }
  };
  return [
    entry('sqlite: no table', 'other', (round) => run(`SELECT ${round} FROM invoices`)),
    entry('sqlite: another table', 'other', (round) => run(`SELECT ${round} FROM payments`)),
    entry('sqlite: syntax', 'other', () => run('SELEKT 1')),
    entry('sqlite: not unique', 'other', (round) => {
      const insert = `INSERT INTO users VALUES ('${round}@example.com')`;
      run('CREATE TABLE users (email UNIQUE)', insert, insert);
    }),
    entry('sqlite: null', 'other', () =>
      run('CREATE TABLE users (email NOT NULL)', 'INSERT INTO users VALUES (NULL)'),
    ),
    entry('sqlite: no folder', 'file_not_found', () => new Database(join(folder, randomUUID(), 'a.db'))),
    entry('sqlite: no database', 'other', () => {
      const file = path();
      writeFileSync(file, 'not a database, whatever its name says. '.repeat(40));
      return new Database(file).exec('CREATE TABLE a (b)');
    }),
    entry('sqlite: read-only', 'permission', () => run('PRAGMA query_only = 1', 'CREATE TABLE a (b)')),
    entry('sqlite: locked', 'timeout', () => {
      const file = path();
      const [first, second] = [new Database(file), new Database(file)];
      try {
        first.exec('BEGIN IMMEDIATE');
        return second.exec('PRAGMA busy_timeout = 1; BEGIN IMMEDIATE');
      } finally {
        first.close();
        second.close();
      }
    }),
  ];
}

export async function storeErrors(): Promise<{ entries: CorpusEntry[]; close: () => Promise<void> }> {
  const folder = mkdtempSync(join(tmpdir(), 'rekindle-corpus-'));
  const server = await startRedis();
  await redisCommand(server.port, ['ACL', 'SETUSER', 'reader', 'on', '>right', '~*', '+@read', '+info']);
  return {
    entries: [...redisErrors(server.port), ...sqliteErrors(folder)],
    close: async () => {
      await server.stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
