/** The common surface of the three SQLite drivers, how one is found, and what their errors mean. */
import { isRecoveryError, RecoveryError, messageOf } from '../../errors.js';
import type { RecoveryErrorCode } from '../../errors.js';
import { log } from '../../log.js';

/** What is bound to statements: only types that all drivers treat alike. */
export type SqliteParam = string | number | Uint8Array;

/** The part of a prepared statement that the storage uses. */
export interface SqliteStatement {
  run(...params: SqliteParam[]): unknown;
  all(...params: SqliteParam[]): unknown[];
}

/**
 * The part of a database object that the storage uses: a `DatabaseSync` of `node:sqlite`, or a `Database`
 * of `better-sqlite3` or `libsql`.
 */
export interface SqliteDatabase {
  exec(sql: string): unknown;
  prepare(sql: string): SqliteStatement;
  close(): unknown;
}

/** A driver that may be installed. */
interface Driver {
  /** The module to import. */
  readonly module: string;
  /** The export with the database class. */
  readonly exportName: string;
}

const BUILT_IN: Driver = { module: 'node:sqlite', exportName: 'DatabaseSync' };
const INSTALLED: readonly Driver[] = [
  { module: 'better-sqlite3', exportName: 'default' },
  { module: 'libsql', exportName: 'default' },
];
/** Before Node 24 the built-in one is experimental, and says so on the console: what is installed comes first there. */
const SETTLED_SINCE = 24;

/** In the order in which they are tried. */
const DRIVERS: readonly Driver[] =
  Number.parseInt(process.versions.node, 10) >= SETTLED_SINCE
    ? [BUILT_IN, ...INSTALLED]
    : [...INSTALLED, BUILT_IN];

type DatabaseClass = new (path: string) => SqliteDatabase;

/** A property of anything; drivers differ in what their objects and errors have. */
export function propertyOf(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? Reflect.get(value, name) : undefined;
}

function isDatabaseClass(value: unknown): value is DatabaseClass {
  return typeof value === 'function';
}

async function loadDriver({ module, exportName }: Driver): Promise<DatabaseClass> {
  // The name is no literal, so that bundlers leave the drivers, all of them optional, alone.
  const loaded: unknown = await import(module);
  const found = propertyOf(loaded, exportName);
  if (!isDatabaseClass(found)) throw new TypeError(`${module} has no export ${exportName}`);
  return found;
}

/**
 * Opens `path` with the first driver that works here.
 *
 * @throws RecoveryError `DRIVER_MISSING` when none does; `STORAGE_UNAVAILABLE` when the file cannot be opened.
 */
export async function openPath(path: string, drivers: readonly Driver[] = DRIVERS): Promise<SqliteDatabase> {
  const causes: Record<string, string> = {};
  for (const driver of drivers) {
    let Database: DatabaseClass;
    try {
      Database = await loadDriver(driver);
    } catch (error) {
      causes[driver.module] = messageOf(error);
      continue;
    }
    try {
      const db = new Database(path);
      log.storage('sqlite opened with %s', driver.module);
      return db;
    } catch (error) {
      // Installed without its native part: the next driver may do. What SQLite itself says about the file stands.
      if (primaryCode(error) !== null || works(Database)) throw notOpened(path, error);
      causes[driver.module] = messageOf(error);
    }
  }
  throw new RecoveryError(
    'DRIVER_MISSING',
    'No SQLite driver: use Node 24 or newer (node:sqlite), or run `npm install better-sqlite3` or `npm install libsql`.',
    { details: { tried: causes } },
  );
}

function notOpened(path: string, error: unknown): Error {
  const fault = faultOf(error, 'not_applied');
  if (!isRecoveryError(fault, 'STORAGE_UNAVAILABLE')) return fault;
  const { cause, retryable, details } = fault;
  const message = `The SQLite file "${path}" cannot be opened. Its folder must exist, and this process must be allowed to write both. (${messageOf(error)})`;
  return new RecoveryError('STORAGE_UNAVAILABLE', message, { cause, retryable, details });
}

function works(Database: DatabaseClass): boolean {
  try {
    new Database(':memory:').close();
    return true;
  } catch {
    return false;
  }
}

/** Whether the call's writes are in the database: surely not, or nobody can say. */
export type CallOutcome = 'not_applied' | 'unknown';

/** Thrown inside the adapter: another connection holds a lock; nothing was written, the call may be tried again. */
export class LockHeld extends Error {
  constructor(cause: unknown) {
    super('another connection holds the lock', { cause });
    this.name = 'LockHeld';
  }
}

const CODES: Readonly<Record<number, string>> = {
  1: 'SQLITE_ERROR',
  5: 'SQLITE_BUSY',
  6: 'SQLITE_LOCKED',
  7: 'SQLITE_NOMEM',
  8: 'SQLITE_READONLY',
  9: 'SQLITE_INTERRUPT',
  10: 'SQLITE_IOERR',
  11: 'SQLITE_CORRUPT',
  13: 'SQLITE_FULL',
  14: 'SQLITE_CANTOPEN',
  15: 'SQLITE_PROTOCOL',
  17: 'SQLITE_SCHEMA',
  26: 'SQLITE_NOTADB',
};
/** PROTOCOL is a lost race for the WAL's locks. */
const LOCKS: ReadonlySet<string> = new Set(['SQLITE_BUSY', 'SQLITE_LOCKED', 'SQLITE_PROTOCOL']);
const PASSING: ReadonlySet<string> = new Set([
  'SQLITE_IOERR',
  'SQLITE_NOMEM',
  'SQLITE_INTERRUPT',
  'SQLITE_SCHEMA',
]);

/** SQLite's primary result code, or null when the error is not SQLite's. */
function primaryCode(error: unknown): string | null {
  const numeric = propertyOf(error, 'errcode') ?? propertyOf(error, 'rawCode'); // node:sqlite, libsql
  if (typeof numeric === 'number') return CODES[numeric & 0xff] ?? `SQLITE_${numeric & 0xff}`;
  // better-sqlite3 has texts, also extended ones: SQLITE_BUSY_SNAPSHOT.
  const code = propertyOf(error, 'code');
  return typeof code === 'string' ? (/^SQLITE_[A-Z]+/.exec(code)?.[0] ?? null) : null;
}

function isLock(error: unknown): boolean {
  const code = primaryCode(error);
  // better-sqlite3 refuses all else, with a TypeError, while the owner of the database iterates over rows.
  return code === null ? /busy executing a query/.test(messageOf(error)) : LOCKS.has(code);
}

/** What a driver's error means to the caller: a {@link LockHeld} to retry, or a typed error. */
export function faultOf(error: unknown, outcome: CallOutcome): RecoveryError | LockHeld {
  if (error instanceof RecoveryError || error instanceof LockHeld) return error;
  if (isLock(error)) return new LockHeld(error);
  const sqlite = primaryCode(error);
  const fault = (code: RecoveryErrorCode, message: string, retryable: boolean): RecoveryError =>
    new RecoveryError(code, message, { retryable, cause: error, details: { outcome, sqlite } });
  if (/within a transaction/.test(messageOf(error))) {
    return fault(
      'STORAGE_REFUSED',
      'The database object is inside a transaction of its owner. Give rekindle a connection of its own, or end the transaction before awaiting.',
      true,
    );
  }
  if (sqlite === 'SQLITE_FULL') {
    return fault('STORAGE_FULL', 'SQLite: the disk, or the database up to max_page_count, is full.', true);
  }
  if (sqlite === 'SQLITE_READONLY') {
    return fault('STORAGE_READONLY', 'SQLite: the database cannot be written by this process.', false);
  }
  const retryable = outcome === 'unknown' || (sqlite !== null && PASSING.has(sqlite));
  return fault('STORAGE_UNAVAILABLE', `SQLite: ${messageOf(error)}`, retryable);
}
