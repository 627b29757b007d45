/** What the SQLite storage tells about its own settings and its disk. */
import { mkdtempSync, rmSync } from 'node:fs';
import { statfs } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { SqliteDatabase, SqliteStorageOptions } from '../../src/storage/sqlite.js';
import { sqliteStorage } from '../../src/storage/sqlite.js';
import { openPath } from '../../src/storage/sqlite/driver.js';
import { spaceWarning } from '../../src/storage/sqlite/inspect.js';
import type { Storage, StorageReport } from '../../src/storage/storage.js';

// A disk that is nearly full, or away, can't be had in a test.
vi.mock('node:fs/promises', { spy: true });

const GIB = 2 ** 30;
const AMPLE = { bsize: 4096, blocks: (100 * GIB) / 4096, bavail: (50 * GIB) / 4096 };
type StatFs = Awaited<ReturnType<typeof statfs>>;

let folder = '';
let file = '';
let cleanups: (() => unknown)[] = [];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'rekindle-inspect-'));
  file = join(folder, 'a.db');
  diskIs(AMPLE);
});
afterEach(async () => {
  vi.mocked(statfs).mockReset();
  for (const cleanup of cleanups.toReversed()) await cleanup();
  cleanups = [];
  rmSync(folder, { recursive: true, force: true });
});

function diskIs(space: typeof AMPLE): void {
  vi.mocked(statfs).mockResolvedValue({ type: 0, bfree: 0, files: 0, ffree: 0, ...space } satisfies StatFs);
}

function open(target: string | SqliteDatabase = file, options: SqliteStorageOptions = {}): Storage {
  const storage = sqliteStorage(target, options);
  cleanups.push(() => storage.close());
  return storage;
}

async function rawDatabase(path: string = file): Promise<SqliteDatabase> {
  const db = await openPath(path);
  cleanups.push(() => db.close());
  return db;
}

async function inspect(storage: Storage, deadlineMs?: number): Promise<StorageReport> {
  const report = await storage.inspect?.(deadlineMs === undefined ? undefined : { deadlineMs });
  if (report === undefined) throw new Error('The storage does not inspect.');
  return report;
}

describe('the disk', () => {
  test('is asked about where the file is, and ample space is not worth a word', async () => {
    vi.mocked(statfs).mockRestore();
    const storage = open();
    const { blocks } = await statfs(folder);
    expect(blocks).toBeGreaterThan(0);
    await inspect(storage);
    expect(vi.mocked(statfs).mock.lastCall).toEqual([file]);
    diskIs(AMPLE);
    expect((await inspect(storage)).warnings).toEqual([]);
  });

  test('nearly full: less than a tenth and less than 1 GiB', async () => {
    const space = (total: number, free: number) => ({
      bsize: 1024,
      blocks: total / 1024,
      bavail: free / 1024,
    });
    expect(spaceWarning(space(20 * GIB, GIB))).toBeNull();
    expect(spaceWarning(space(20 * GIB, GIB - 1024))).toContain('1023 MiB (4 %)');
    expect(spaceWarning(space(GIB, GIB / 8))).toBeNull();
    expect(spaceWarning(space(GIB, GIB / 16))).toContain('64 MiB (6 %)');
    expect(spaceWarning(space(GIB, 0))).toContain('0 MiB (0 %)');
    expect(spaceWarning(space(0, 0))).toBeNull();
    diskIs(space(20 * GIB, GIB / 2));
    expect((await inspect(open())).warnings).toEqual([expect.stringContaining('512 MiB (2 %)')]);
  });

  test('that does not tell, or not in time, or no longer has the file', async () => {
    const storage = open();
    const failWith = (code: string) => Object.assign(new Error(`${code}: ${file}`), { code });
    vi.mocked(statfs).mockRejectedValueOnce(failWith('ERR_ACCESS_DENIED'));
    const [denied = ''] = (await inspect(storage)).warnings;
    expect(denied).toContain('could not be read (ERR_ACCESS_DENIED)');
    vi.mocked(statfs).mockRejectedValueOnce(failWith('ENOENT'));
    const [gone = ''] = (await inspect(storage)).warnings;
    expect(gone).toContain('gone from its place');
    expect(denied + gone).not.toContain(folder);
    vi.mocked(statfs).mockReturnValueOnce(new Promise(() => {}));
    expect((await inspect(storage, 50)).warnings).toEqual([expect.stringContaining('no answer')]);
  });

  test('a database in memory has none', async () => {
    const { warnings } = await inspect(open(':memory:'));
    expect(warnings).toEqual([expect.stringContaining('journal_mode is "memory"')]);
    expect(statfs).not.toHaveBeenCalled();
  });

  test('a file that was removed under a running worker', async () => {
    vi.mocked(statfs).mockRestore();
    const storage = open();
    await storage.count('p', 'i');
    rmSync(file);
    const { warnings } = await inspect(storage);
    expect(warnings.join('\n')).toContain('gone from its place');
  });
});

describe('a database that cannot be written', () => {
  test.each(['mode=ro', 'query_only'])('%s', async (how) => {
    await open().count('p', 'i');
    const db = await rawDatabase(how === 'mode=ro' ? `file:${file}?mode=ro` : file);
    if (how === 'query_only') db.exec('PRAGMA query_only=1');
    const storage = open(db);
    expect((await inspect(storage)).warnings).toEqual([expect.stringContaining('read-only')]);
    expect(await storage.count('p', 'i')).toBe(0);
  });

  test('is not one whose lock another connection holds, and looking leaves nothing behind', async () => {
    const storage = open();
    await storage.count('p', 'i');
    const other = await rawDatabase();
    const rows = () => other.prepare('SELECT * FROM rekindle_meta').all();
    const version = () => other.prepare('PRAGMA data_version').all();
    const before = [rows(), version()];
    expect((await inspect(storage)).warnings).toEqual([]);
    expect([rows(), version()]).toEqual(before);
    other.exec('BEGIN IMMEDIATE');
    expect((await inspect(storage)).warnings).toEqual([]);
    other.exec('ROLLBACK');
  });
});

describe('pragmas that are refused', () => {
  /** A connection whose owner lets only some pragmas pass. */
  async function guarded(how: 'throws' | 'no row'): Promise<SqliteDatabase> {
    const db = await rawDatabase();
    const empty = { run: () => {}, all: () => [] };
    return {
      exec: (sql) => db.exec(sql),
      prepare: (sql) => {
        if (!/journal_mode|synchronous|database_list/.test(sql)) return db.prepare(sql);
        if (how === 'throws') throw new Error('not authorized: canary');
        return empty;
      },
      close: () => db.close(),
    };
  }

  test.each(['throws', 'no row'] as const)('are named: %s', async (how) => {
    const { durability, warnings } = await inspect(open(await guarded(how)));
    expect(warnings).toEqual([
      'journal_mode could not be read.',
      'synchronous could not be read.',
      'The place of the database file could not be read.',
    ]);
    expect(durability).toContain('journal_mode unknown, synchronous unknown');
    expect(durability).not.toContain('power cut');
  });
});
