/** A SQLite file for one command: one that is there and is rekindle's, since a typo must not make or change another. */
import { statSync } from 'node:fs';
import { resolve } from 'node:path';
import { isRecoveryError, messageOf, RecoveryError } from '../errors.js';
import { openPath } from '../storage/sqlite/driver.js';
import { sqliteStorage } from '../storage/sqlite.js';
import type { Opened } from './redis.js';

function unavailable(path: string, problem: string): RecoveryError {
  return new RecoveryError('STORAGE_UNAVAILABLE', `SQLite at ${path}: ${problem}`);
}

/** @throws `STORAGE_UNAVAILABLE`, `DRIVER_MISSING` */
export async function openSqlite(given: string, cwd: string): Promise<Opened> {
  const path = resolve(cwd, given);
  const found = statSync(path, { throwIfNoEntry: false });
  if (found === undefined) throw unavailable(path, 'there is no such file. The command line makes none.');
  if (!found.isFile()) throw unavailable(path, 'that is no file.');
  if (!(await isOurs(path)))
    throw unavailable(path, 'the file is a database, but not of rekindle. It is left alone.');
  return { storage: sqliteStorage(path), place: path, close: () => {} };
}

/** Whether it holds rekindle's tables; it is only read. */
async function isOurs(path: string): Promise<boolean> {
  const database = await openPath(path);
  try {
    const sql = "SELECT name FROM sqlite_master WHERE type = 'table' AND name = 'rekindle_meta'";
    return database.prepare(sql).all().length > 0;
  } catch (error) {
    if (isRecoveryError(error)) throw error;
    throw unavailable(path, messageOf(error));
  } finally {
    database.close();
  }
}
