import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { promisify } from 'node:util';
import Database from 'libsql';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { SqliteDatabase, SqliteStorageOptions } from '../../src/storage/sqlite.js';
import { sqliteStorage } from '../../src/storage/sqlite.js';
import { openPath } from '../../src/storage/sqlite/driver.js';
import type { Batch, Storage } from '../../src/storage/storage.js';

const FAR = 4_102_444_800_000;
const created = (key: string, parts: Partial<Batch> = {}): Batch => ({
  guard: { key, expect: null, next: 't1' },
  notAfter: FAR,
  ...parts,
});

let folder = '';
let file = '';
let cleanups: (() => unknown)[] = [];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'rekindle-sqlite-'));
  file = join(folder, 'a.db');
});
afterEach(async () => {
  for (const cleanup of cleanups.toReversed()) await cleanup();
  cleanups = [];
  rmSync(folder, { recursive: true, force: true });
});

function open(options: SqliteStorageOptions = {}, target: string | SqliteDatabase = file): Storage {
  const storage = sqliteStorage(target, options);
  cleanups.push(() => storage.close());
  return storage;
}

/**
 * A database object of the test's own. The storage must use the same driver on this file: two copies of SQLite
 * in one process do not see each other's locks.
 */
async function rawDatabase(journal = 'WAL'): Promise<SqliteDatabase> {
  const db = await openPath(file);
  db.exec(`PRAGMA journal_mode=${journal}`);
  cleanups.push(() => db.close());
  return db;
}

async function counter(storage: Storage): Promise<string | undefined> {
  const { records } = await storage.read('p', ['counter']);
  return records[0]?.get('n');
}

describe('drivers', () => {
  const missing = { module: 'rekindle-has-no-such-driver', exportName: 'default' };
  const broken = {
    module: 'data:text/javascript,export default class { constructor() { throw new Error("no bindings") } }',
    exportName: 'default',
  };

  test('one that is missing, or installed without its native part, is passed over', async () => {
    const db = await openPath(file, [missing, broken, { module: 'libsql', exportName: 'default' }]);
    expect(db).toBeInstanceOf(Database);
    db.close();
  });

  test('when none is there, the error says what to install', async () => {
    await expect(openPath(file, [missing, broken])).rejects.toMatchObject({
      code: 'DRIVER_MISSING',
      message: expect.stringContaining('npm install libsql'),
      details: { tried: { [missing.module]: expect.any(String), [broken.module]: 'no bindings' } },
    });
  });

  test('a file that cannot be opened, or is no database, is the file’s error and not the driver’s', async () => {
    const nowhere = join(folder, 'no', 'folder.db');
    await expect(open({}, nowhere).count('p', 'i')).rejects.toMatchObject({
      code: 'STORAGE_UNAVAILABLE',
      message: expect.stringContaining(`"${nowhere}" cannot be opened. Its folder must exist`),
      retryable: false,
    });
    writeFileSync(file, 'this is no database. '.repeat(400));
    await expect(open().count('p', 'i')).rejects.toMatchObject({
      code: 'STORAGE_UNAVAILABLE',
      retryable: false,
      details: { sqlite: 'SQLITE_NOTADB' },
    });
  });

  test('options are checked', () => {
    expect(() => sqliteStorage('')).toThrow(expect.objectContaining({ code: 'INVALID_OPTION' }));
    for (const options of [{ maxEvents: 0 }, { partitions: 1.5 }, { callDeadlineMs: 0 }]) {
      expect(() => sqliteStorage(file, options)).toThrow(expect.objectContaining({ code: 'INVALID_OPTION' }));
    }
  });
});

describe('locks', () => {
  test('two connections of one process contend, and lose nothing', async () => {
    const storages = [open(), open()];
    const add = async (storage: Storage, key: string): Promise<void> => {
      const reply = await storage.commit('p', [
        created(key, { increment: [{ key: 'counter', field: 'n', by: 1 }] }),
      ]);
      expect(reply.outcomes[0]?.status).toBe('applied');
    };
    await Promise.all(
      storages.flatMap((storage, at) =>
        Array.from({ length: 60 }, (_, step) => add(storage, `${at}.${step}`)),
      ),
    );
    expect(await counter(storages[0]!)).toBe('120');
  });

  test('a held lock ends the call at its deadline, and never blocks the event loop', async () => {
    const storage = open({ callDeadlineMs: 300 });
    await storage.commit('p', [created('a')]);
    const other = await rawDatabase();
    other.exec('BEGIN IMMEDIATE');
    let last = performance.now();
    let longest = 0;
    const ticks = setInterval(() => {
      longest = Math.max(longest, performance.now() - last);
      last = performance.now();
    }, 1);
    const started = performance.now();
    const calls = Array.from({ length: 20 }, (_, at) => storage.commit('p', [created(`b${at}`)]));
    const results = await Promise.allSettled(calls);
    const took = performance.now() - started;
    clearInterval(ticks);
    other.exec('ROLLBACK');
    for (const result of results) {
      expect(result).toMatchObject({
        reason: { code: 'STORAGE_UNAVAILABLE', retryable: true, details: { outcome: 'not_applied' } },
      });
    }
    expect(took).toBeGreaterThanOrEqual(295);
    expect(took).toBeLessThan(500);
    expect(longest).toBeLessThan(150);
    expect((await storage.commit('p', [created('b0')])).outcomes[0]?.status).toBe('applied');
  });

  test('a lock that is given back lets the call go on, with the time of then', async () => {
    const storage = open();
    await storage.commit('p', [created('a')]);
    const other = await rawDatabase();
    other.exec('BEGIN EXCLUSIVE');
    const waiting = storage.commit('p', [
      created('b', { set: [{ key: 'b', fields: { at: { fromNow: 0 } } }] }),
    ]);
    await pause(120);
    const releasedAt = Date.now();
    other.exec('ROLLBACK');
    const reply = await waiting;
    expect(reply.nowMs).toBeGreaterThanOrEqual(releasedAt);
    const { records } = await storage.read('p', ['b'], ['at']);
    expect(records[0]?.get('at')).toBe(String(reply.nowMs));
  });

  test.skipIf(!existsSync('dist/sqlite.js'))('four processes increment, and lose nothing', async () => {
    const run = promisify(execFile);
    const children = ['a', 'b', 'c', 'd'].map((name) =>
      run(process.execPath, ['test/fixtures/sqlite-increment.mjs', file, name, '100']),
    );
    await Promise.all(children);
    const storage = open();
    expect(await counter(storage)).toBe('400');
    const { events } = await storage.events('p', { after: null, limit: 1000 });
    expect(events).toHaveLength(400);
  });
});

describe('a database that is passed in', () => {
  test('keeps its timeout and its journal, and stays open', async () => {
    const db = await rawDatabase('DELETE');
    db.exec('PRAGMA busy_timeout=1234');
    const storage = open({}, db);
    await storage.commit('p', [created('a')]);
    expect(db.prepare('PRAGMA busy_timeout').all()).toMatchObject([{ timeout: 1234 }]);
    expect(db.prepare('PRAGMA journal_mode').all()).toMatchObject([{ journal_mode: 'delete' }]);
    expect((await storage.inspect?.())?.warnings).toEqual([expect.stringContaining('use WAL')]);
    await storage.close();
    db.exec('CREATE TABLE mine (x)');
    await expect(storage.count('p', 'i')).rejects.toMatchObject({ code: 'STORAGE_UNAVAILABLE' });
  });

  test('is refused inside its owner’s transaction, which stays as it is', async () => {
    const db = await rawDatabase();
    db.exec('CREATE TABLE mine (x)');
    const storage = open({}, db);
    const refusal = { code: 'STORAGE_REFUSED', message: expect.stringContaining('end the transaction') };
    for (const round of [1, 2]) {
      db.exec('BEGIN');
      db.exec(`INSERT INTO mine VALUES (${round})`);
      await expect(storage.commit('p', [created(`k${round}`)])).rejects.toMatchObject(refusal);
      await expect(storage.read('p', ['k'])).rejects.toMatchObject(refusal);
      db.exec('COMMIT');
      expect(db.prepare('SELECT count(*) AS n FROM mine').all()).toMatchObject([{ n: round }]);
      expect((await storage.commit('p', [created(`k${round}`)])).outcomes[0]?.status).toBe('applied');
    }
  });

  test('of another layout or encoding is refused', async () => {
    const db = await rawDatabase();
    await open({}, db).count('p', 'i');
    db.exec("UPDATE rekindle_meta SET value = '99'");
    await expect(open({}, db).count('p', 'i')).rejects.toMatchObject({ code: 'LAYOUT_MISMATCH' });
    const wide = await openPath(':memory:');
    cleanups.push(() => wide.close());
    wide.exec("PRAGMA encoding='UTF-16le'; CREATE TABLE mine (x)");
    await expect(open({}, wide).count('p', 'i')).rejects.toMatchObject({ code: 'INVALID_OPTION' });
  });
});

describe('failures', () => {
  test('a full database refuses the batches, and goes on with smaller ones', async () => {
    const db = await rawDatabase();
    const storage = open({}, db);
    await storage.commit('p', [created('a')]);
    db.exec('PRAGMA max_page_count=40');
    const big = created('big', { set: [{ key: 'big', fields: { x: 'x'.repeat(1_000_000) } }] });
    const { outcomes } = await storage.commit('p', [created('a'), created('c'), big]);
    expect(outcomes).toMatchObject([
      { status: 'duplicate' },
      { status: 'refused', code: 'STORAGE_FULL' },
      { status: 'refused', code: 'STORAGE_FULL' },
    ]);
    expect((await storage.commit('p', [created('c')])).outcomes[0]?.status).toBe('applied');
  });

  test('a database that cannot be written says so', async () => {
    const db = await rawDatabase();
    const storage = open({}, db);
    await storage.commit('p', [created('a')]);
    db.exec('PRAGMA query_only=1');
    await expect(storage.commit('p', [created('b')])).rejects.toMatchObject({
      code: 'STORAGE_READONLY',
      retryable: false,
    });
    expect((await storage.read('p', ['a'])).records[0]?.get('token')).toBe('t1');
  });

  test('a COMMIT that fails leaves no transaction open, and the same batch may be sent again', async () => {
    const db = await rawDatabase();
    let failing = false;
    const storage = open(
      {},
      {
        exec: (sql: string) => {
          if (failing && sql === 'COMMIT')
            throw Object.assign(new Error('disk I/O error'), { rawCode: 1034 });
          return db.exec(sql);
        },
        prepare: (sql: string) => db.prepare(sql),
        close: () => db.close(),
      },
    );
    const batch = created('a', { increment: [{ key: 'counter', field: 'n', by: 1 }] });
    await storage.count('p', 'i');
    failing = true;
    await expect(storage.commit('p', [batch])).rejects.toMatchObject({
      code: 'STORAGE_UNAVAILABLE',
      retryable: true,
      details: { outcome: 'unknown', sqlite: 'SQLITE_IOERR' },
    });
    failing = false;
    db.exec('BEGIN'); // Fails when the storage has left its transaction open.
    db.exec('ROLLBACK');
    expect((await storage.commit('p', [batch])).outcomes[0]?.status).toBe('applied');
    expect((await storage.commit('p', [batch])).outcomes[0]?.status).toBe('duplicate');
    expect(await counter(storage)).toBe('1');
  });

  test('a closed storage stays closed, and gives its file back', async () => {
    const storage = open();
    await storage.commit('p', [created('a')]);
    await storage.close();
    await storage.close();
    await expect(storage.commit('p', [created('b')])).rejects.toMatchObject({
      code: 'STORAGE_UNAVAILABLE',
      retryable: false,
    });
    await expect(storage.inspect?.()).rejects.toMatchObject({ code: 'STORAGE_UNAVAILABLE' });
    const again = open();
    expect((await again.read('p', ['a'])).records[0]?.get('token')).toBe('t1');
  });
});
