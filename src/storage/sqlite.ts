/** The SQLite storage, for workers on one machine: the entry of `rekindle/sqlite`. */
import { RecoveryError } from '../errors.js';
import { checkBatch, checkKnown } from './check.js';
import { commitBatches } from './sqlite/commit.js';
import { isName } from './sqlite/connection.js';
import type { Connection } from './sqlite/connection.js';
import type { SqliteDatabase } from './sqlite/driver.js';
import { inspectSqlite } from './sqlite/inspect.js';
import { Link } from './sqlite/link.js';
import { countEntries, readEvents, readRange, readRecords } from './sqlite/queries.js';
import { MODES } from './sqlite/schema.js';
import { DEFAULT_CALL_DEADLINE_MS, DEFAULT_MAX_EVENTS } from './storage.js';
import type { CallOptions, Storage } from './storage.js';

export type { SqliteDatabase, SqliteParam, SqliteStatement } from './sqlite/driver.js';

/** Options of {@link sqliteStorage}. */
export interface SqliteStorageOptions {
  /**
   * `PRAGMA synchronous` of the connection, also of one that is passed in. Default `FULL`: an acknowledged write
   * survives a power cut. With `NORMAL` it survives the process but perhaps not the machine; with `OFF` a power
   * cut may damage the file.
   */
  readonly synchronous?: 'OFF' | 'NORMAL' | 'FULL' | 'EXTRA';
  /** Over how many partitions a namespace is spread. Default 1: a file has one writer at a time anyway. */
  readonly partitions?: number;
  /** How many events a partition keeps, up to a tenth more between two trims. Default 10,000. */
  readonly maxEvents?: number;
  /** After how many ms of waiting for a lock a call gives up. Default 5,000. */
  readonly callDeadlineMs?: number;
}

function wholeOption(name: keyof SqliteStorageOptions, value: unknown, otherwise: number): number {
  if (value === undefined) return otherwise;
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 1) return value;
  throw new RecoveryError('INVALID_OPTION', `sqliteStorage: ${name} must be a whole number from 1.`);
}

function checkTarget(target: unknown): void {
  if (typeof target === 'string' && target.length > 0) return;
  const isDatabase = typeof target === 'object' && target !== null && 'exec' in target && 'prepare' in target;
  if (!isDatabase) {
    throw new RecoveryError('INVALID_OPTION', 'sqliteStorage: needs a path or an open database object.');
  }
}

/**
 * Keeps everything in one SQLite file, which several processes on one machine may share (not over a network
 * file system). Given a path, it opens the file with `node:sqlite`, `better-sqlite3` or `libsql`, whichever is
 * there first, in WAL mode. Given an open database object of one of these, it works on that one, never closes
 * it, leaves its journal mode alone and sets its `synchronous` mode.
 *
 * Where a process has this file open already, pass that database object, or open the path with the same driver
 * everywhere in the process: two copies of SQLite in one process do not see each other's locks and can damage
 * the file. Other processes may use any driver.
 *
 * Waiting for a lock never blocks the event loop for longer than about 10 ms at a time.
 *
 * Calls throw `STORAGE_UNAVAILABLE` (locked until the deadline, an I/O error, closed), `STORAGE_READONLY`,
 * `STORAGE_FULL`, `STORAGE_REFUSED` (the database object is inside its owner's transaction), `LAYOUT_MISMATCH`
 * (tables of another version), and the first one `DRIVER_MISSING`. `details.outcome` says whether a commit is
 * `not_applied` or `unknown`.
 *
 * @throws RecoveryError `INVALID_OPTION`.
 * @example
 * const recovery = createRecovery({ storage: sqliteStorage('./recovery.db') });
 */
export function sqliteStorage(
  pathOrDatabase: string | SqliteDatabase,
  options: SqliteStorageOptions = {},
): Storage {
  checkTarget(pathOrDatabase);
  checkKnown('sqliteStorage', options, ['synchronous', 'partitions', 'maxEvents', 'callDeadlineMs']);
  const { synchronous = 'FULL' } = options;
  if (!MODES.includes(synchronous)) {
    throw new RecoveryError(
      'INVALID_OPTION',
      `sqliteStorage: synchronous must be one of ${MODES.join(', ')}.`,
    );
  }
  const partitions = wholeOption('partitions', options.partitions, 1);
  const maxEvents = wholeOption('maxEvents', options.maxEvents, DEFAULT_MAX_EVENTS);
  const deadlineMs = wholeOption('callDeadlineMs', options.callDeadlineMs, DEFAULT_CALL_DEADLINE_MS);
  const link = new Link(pathOrDatabase, synchronous);
  const on = async <T>(
    partition: string,
    given: CallOptions | undefined,
    call: (db: Connection) => T,
  ): Promise<T> => {
    if (!isName(partition)) {
      throw new RecoveryError('INVALID_VALUE', 'A partition needs a name without NUL and lone surrogates.');
    }
    return link.run(given?.deadlineMs ?? deadlineMs, call);
  };
  return {
    name: 'sqlite',
    partitions,
    blocking: true,
    read: (partition, keys, fields, given) =>
      on(partition, given, (db) => readRecords(db, partition, keys, fields)),
    commit: (partition, batches, given) => {
      const refusals = batches.map(checkBatch);
      return on(partition, given, (db) => commitBatches(db, partition, batches, refusals, maxEvents));
    },
    range: (partition, index, query, given) =>
      on(partition, given, (db) => readRange(db, partition, index, query)),
    count: (partition, index, bounds = {}, given) =>
      on(partition, given, (db) => countEntries(db, partition, index, bounds)),
    events: (partition, { after, limit }, given) =>
      on(partition, given, (db) => readEvents(db, partition, after, limit)),
    inspect: (given) => inspectSqlite(link, given?.deadlineMs ?? deadlineMs),
    close: () => link.close(),
  };
}
