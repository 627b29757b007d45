/** The counts of whole indexes, which triggers keep: they equal the entries, whatever was written, by whom and when. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { SqliteDatabase } from '../../src/storage/sqlite.js';
import { sqliteStorage } from '../../src/storage/sqlite.js';
import { openPath } from '../../src/storage/sqlite/driver.js';
import type { Batch, Storage } from '../../src/storage/storage.js';

const FAR = 4_102_444_800_000;
const PARTITIONS = ['p', 'q'] as const;
const INDEXES = ['a', 'b', 'c'] as const;

let folder = '';
let file = '';
let cleanups: (() => unknown)[] = [];
let written = 0;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'rekindle-counts-'));
  file = join(folder, 'a.db');
});
afterEach(async () => {
  for (const cleanup of cleanups.toReversed()) await cleanup();
  cleanups = [];
  rmSync(folder, { recursive: true, force: true });
});

function open(target: string | SqliteDatabase = file): Storage {
  const storage = sqliteStorage(target, { synchronous: 'OFF' });
  cleanups.push(() => storage.close());
  return storage;
}

async function rawDatabase(): Promise<SqliteDatabase> {
  const db = await openPath(file);
  cleanups.push(() => db.close());
  return db;
}

function batchOf(index: NonNullable<Batch['index']>, key: string = `k${(written += 1)}`): Batch {
  return { guard: { key, expect: null, next: `t${written}` }, notAfter: FAR, index };
}

/** The count of each index of each partition, and of one that nobody writes, beside the number of its entries. */
async function expectExact(storage: Storage): Promise<void> {
  for (const partition of PARTITIONS) {
    for (const index of [...INDEXES, 'none']) {
      const { entries } = await storage.range(partition, index, { limit: 1_000 });
      const counted = {
        whole: await storage.count(partition, index),
        infinite: await storage.count(partition, index, { from: -Infinity, to: Infinity }),
        bounded: await storage.count(partition, index, { from: -1e9 }),
      };
      const n = entries.length;
      expect({ partition, index, ...counted }).toEqual({
        partition,
        index,
        whole: n,
        infinite: n,
        bounded: n,
      });
    }
  }
}

const anEntry = fc.record({
  index: fc.constantFrom(...INDEXES),
  id: fc.constantFrom('1', '2', '3', '4'),
  score: fc.oneof(fc.constant(null), fc.integer({ min: 0, max: 3 })),
});
/** Several batches a call, with the same entry several times in one and in neighbours. */
const aCall = fc.record({
  partition: fc.constantFrom(...PARTITIONS),
  batches: fc.array(fc.record({ entries: fc.array(anEntry, { maxLength: 6 }), refused: fc.boolean() }), {
    minLength: 1,
    maxLength: 4,
  }),
  rolledBack: fc.boolean(),
  reopened: fc.boolean(),
});

/** A database object whose COMMIT can be made to fail, so that the whole transaction is rolled back. */
function failing(db: SqliteDatabase): SqliteDatabase & { fail: boolean } {
  return {
    fail: false,
    exec(sql: string) {
      if (this.fail && sql === 'COMMIT') throw new Error('disk I/O error');
      return db.exec(sql);
    },
    prepare: (sql: string) => db.prepare(sql),
    close: () => db.close(),
  };
}

describe('the count of a whole index', () => {
  test('equals its entries after any calls, also rolled back ones, and in a file that is opened again', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(aCall, { minLength: 1, maxLength: 8 }), async (calls) => {
        const path = join(folder, `${(written += 1)}.db`);
        let raw = await openPath(path);
        let db = failing(raw);
        let storage = sqliteStorage(db, { synchronous: 'OFF' });
        try {
          for (const { partition, batches, rolledBack, reopened } of calls) {
            const sent = batches.map(({ entries, refused }) =>
              refused ? { ...batchOf(entries), notAfter: 1 } : batchOf(entries),
            );
            db.fail = rolledBack;
            await storage.commit(partition, sent).catch(() => {});
            db.fail = false;
            await expectExact(storage);
            if (!reopened) continue;
            raw.close();
            raw = await openPath(path);
            db = failing(raw);
            storage = sqliteStorage(db, { synchronous: 'OFF' });
            await expectExact(storage);
          }
        } finally {
          raw.close();
        }
      }),
      { numRuns: 40 },
    );
  });

  test('is not a walk over the entries', async () => {
    const storage = open();
    await storage.commit('p', [batchOf([{ index: 'a', id: '1', score: 1 }])]);
    const db = await rawDatabase();
    // What nobody else does: if the count were taken from the entries, it would not follow.
    db.exec("UPDATE rekindle_counts SET n = 42 WHERE partition = 'p' AND idx = 'a'");
    expect(await storage.count('p', 'a')).toBe(42);
    expect(await storage.count('p', 'a', { from: 0 })).toBe(1);
  });

  test('leaves no row behind when the last entry goes', async () => {
    const storage = open();
    await storage.commit('p', [batchOf([{ index: 'held:w1', id: '1', score: 1 }])]);
    await storage.commit('p', [batchOf([{ index: 'held:w1', id: '1', score: null }])]);
    const db = await rawDatabase();
    expect(db.prepare('SELECT * FROM rekindle_counts').all()).toEqual([]);
  });
});

/** The tables as the releases before the counts made them. */
const VERSION_1 = `
CREATE TABLE rekindle_records (
  partition TEXT NOT NULL, key TEXT NOT NULL, field TEXT NOT NULL, value NOT NULL, PRIMARY KEY (partition, key, field)
) WITHOUT ROWID;
CREATE TABLE rekindle_index (
  partition TEXT NOT NULL, idx TEXT NOT NULL, id TEXT NOT NULL, score REAL NOT NULL, PRIMARY KEY (partition, idx, id)
) WITHOUT ROWID;
CREATE INDEX rekindle_index_by_score ON rekindle_index (partition, idx, score, id);
CREATE TABLE rekindle_events (
  partition TEXT NOT NULL, seq INTEGER NOT NULL, payload TEXT NOT NULL, PRIMARY KEY (partition, seq)
) WITHOUT ROWID;
CREATE TABLE rekindle_meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO rekindle_meta (name, value) VALUES ('schema', '1');
INSERT INTO rekindle_index (partition, idx, id, score) VALUES
  ('p', 'a', '1', 1), ('p', 'a', '2', 1), ('p', 'b', '1', 1), ('q', 'a', '1', 1);
INSERT INTO rekindle_records (partition, key, field, value) VALUES ('p', 'kept', 'token', 't1');`;

/** How they write entries. */
const OLD_PUT = `INSERT INTO rekindle_index (partition, idx, id, score) VALUES (?,?,?,?)
  ON CONFLICT DO UPDATE SET score = excluded.score`;
const OLD_REMOVE = 'DELETE FROM rekindle_index WHERE partition = ? AND idx = ? AND id IN (?,?)';

describe('a file of version 1', () => {
  test('is brought up to date where it is opened, by several at once too, with what is in it', async () => {
    const old = await rawDatabase();
    old.exec(`PRAGMA journal_mode=WAL; ${VERSION_1}`);
    const storages = [open(), open(), open()];
    const counts = await Promise.all(storages.map((storage) => storage.count('p', 'a')));
    expect(counts).toEqual([2, 2, 2]);
    const [storage] = storages;
    await expectExact(storage!);
    expect((await storage!.read('p', ['kept'])).records[0]?.get('token')).toBe('t1');
    // What the older release looks at when it opens the file: it refuses.
    expect(old.prepare("SELECT value FROM rekindle_meta WHERE name = 'schema'").all()).toMatchObject([
      { value: '2' },
    ]);
  });

  test('an older release that has it open already goes on, and its entries are counted', async () => {
    const old = await rawDatabase();
    old.exec(`PRAGMA journal_mode=WAL; ${VERSION_1}`);
    const put = old.prepare(OLD_PUT);
    const remove = old.prepare(OLD_REMOVE);
    put.run('p', 'c', '1', 1);
    const storage = open();
    await expectExact(storage);
    put.run('p', 'c', '1', 2); // moves only
    put.run('p', 'c', '2', 2);
    put.run('q', 'b', '2', 2);
    remove.run('p', 'a', '1', '1');
    remove.run('p', 'a', 'absent', 'absent');
    await expectExact(storage);
    expect(await storage.count('p', 'c')).toBe(2);
  });

  test('stays as it was when that fails half-way', async () => {
    const old = await rawDatabase();
    old.exec(`PRAGMA journal_mode=WAL; ${VERSION_1}`);
    const db = failing(old);
    db.fail = true;
    await expect(open(db).count('p', 'a')).rejects.toMatchObject({ code: 'STORAGE_UNAVAILABLE' });
    expect(old.prepare("SELECT name FROM sqlite_master WHERE name LIKE 'rekindle_count%'").all()).toEqual([]);
    db.fail = false;
    const storage = open(db);
    expect(await storage.count('p', 'a')).toBe(2);
    await expectExact(storage);
  });

  test('says so when it cannot be written', async () => {
    const old = await rawDatabase();
    old.exec(VERSION_1);
    old.exec('PRAGMA query_only=1');
    await expect(open(old).count('p', 'a')).rejects.toMatchObject({ code: 'STORAGE_READONLY' });
  });
});
