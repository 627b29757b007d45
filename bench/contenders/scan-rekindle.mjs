// W4 of rekindle: half of the orphans by a dead owner, half by their lease; planned, claimed, and run to their end.
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { redisStorage } from '../../dist/redis.js';
import { sqliteStorage } from '../../dist/sqlite.js';
import { Case, finished } from '../discovery.mjs';
import { openSqlite } from '../harness.mjs';
import { redisLoader, sqliteLoader } from '../loaders.mjs';

function storeOf({ port, folder }) {
  if (port !== undefined) {
    const client = new Redis({ host: '127.0.0.1', port });
    return { storage: redisStorage(client), loader: () => redisLoader(client) };
  }
  const path = join(folder, 'scan-rekindle.db');
  return { storage: sqliteStorage(path), loader: () => sqliteLoader(openSqlite(path)) };
}

export async function open(place) {
  const { storage, loader } = storeOf(place);
  const test = new Case(storage, 'scan');
  await test.open();
  const insert = loader();
  return {
    load: (from, count) => insert(test.partition, finished(`done-${from}-`, count)),
    scan: () => test.recover([]),
  };
}
