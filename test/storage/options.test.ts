import { describe, expect, it } from 'vitest';
import { memoryStorage } from '../../src/storage/memory.js';
import { redisStorage } from '../../src/storage/redis.js';
import { sqliteStorage } from '../../src/storage/sqlite.js';

const refused = (about: string) =>
  expect.objectContaining({ code: 'INVALID_OPTION', message: expect.stringContaining(about) });

describe('options of storages', () => {
  it('are refused when misspelt', () => {
    const wrong: object = { sync: 1 };
    expect(() => memoryStorage(wrong)).toThrow(refused('sync'));
    expect(() => sqliteStorage('never-opened.db', wrong)).toThrow(refused('sync'));
    const client = { evalsha: () => {}, on: () => {}, off: () => {} };
    expect(() => Reflect.apply(redisStorage, undefined, [client, wrong])).toThrow(refused('sync'));
  });

  it('need a client, not a URL', () => {
    for (const no of ['redis://localhost', {}, null]) {
      expect(() => Reflect.apply(redisStorage, undefined, [no])).toThrow(refused('client'));
    }
  });
});
