/** One connection: transactions that never stay open, cached statements, few crossings into native code. */
import { kindOf, RecoveryError } from '../../errors.js';
import { log } from '../../log.js';
import { faultOf, propertyOf } from './driver.js';
import type { CallOutcome, SqliteDatabase, SqliteParam, SqliteStatement } from './driver.js';

/** How long SQLite itself waits for a lock, in ms: it blocks the event loop, so the rest is waited outside. */
export const BUSY_TIMEOUT_MS = 10;
/** Rows a statement. Few sizes, so that few statements are prepared. */
const ROW_COUNTS = [64, 16, 4, 1] as const;
/** Members of an IN list; lists are filled up with their last member. */
const LIST_LENGTHS = [1, 4, 16, 64, 256] as const;
const LONGEST_LIST = 256;

/** A row as drivers return it; libsql adds `_metadata`. */
export type Row = Readonly<Record<string, unknown>>;

/**
 * The form in which a text is bound. libsql cuts a TEXT at its first NUL character, so such a text is kept as a
 * BLOB of its UTF-8 bytes: in every driver, because they may share the file.
 */
export function encodeText(text: string): string | Uint8Array {
  return text.includes('\0') ? Buffer.from(text) : text;
}

/** The text that {@link encodeText} was given. */
export function decodeText(value: unknown): string {
  if (typeof value === 'string') return value;
  if (value instanceof Uint8Array) {
    return Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString();
  }
  if (value instanceof ArrayBuffer) return Buffer.from(value).toString();
  throw new RecoveryError(
    'CORRUPT_RECORD',
    'A row of the rekindle tables holds something other than a text.',
  );
}

/** Whether a text can be the name of anything; other texts would be cut or changed on their way into SQLite. */
export function isName(text: string): boolean {
  return text.length > 0 && text.isWellFormed() && !text.includes('\0');
}

function withPlainResults(statement: SqliteStatement): SqliteStatement {
  // The owner of a node:sqlite database may have chosen arrays for rows, for all of its statements.
  const setReturnArrays = propertyOf(statement, 'setReturnArrays');
  if (typeof setReturnArrays === 'function') setReturnArrays.call(statement, false);
  return statement;
}

function isRow(value: unknown): value is Row {
  return typeof value === 'object' && value !== null;
}

function rowsOf(values: unknown[]): Row[] {
  return values.every(isRow) ? values : [];
}

/** A database object with its statements. All its methods throw `LockHeld` or typed errors. */
export class Connection {
  readonly borrowed: boolean;
  /** True when a transaction could not be ended; the connection must not be used again. */
  broken = false;
  readonly #db: SqliteDatabase;
  readonly #statements = new Map<string, SqliteStatement>();

  constructor(db: SqliteDatabase, borrowed: boolean) {
    this.#db = db;
    this.borrowed = borrowed;
  }

  /** Runs `body` in one snapshot. `table`: one that exists; touching it takes the snapshot. */
  read<T>(body: () => T, table = 'rekindle_meta'): T {
    // libsql leaves a prepared statement open when it meets a lock, and an open statement keeps later
    // transactions from ending. So the lock is taken by exec, which never does that.
    return this.#transaction(`BEGIN; SELECT 1 FROM ${table} LIMIT 1`, body);
  }

  /** Runs `body` under the write lock and commits what it wrote, whole or not at all. */
  write<T>(body: () => T): T {
    return this.#transaction('BEGIN IMMEDIATE', body);
  }

  /** Runs SQL without results, outside a transaction. */
  exec(sql: string): void {
    try {
      this.#db.exec(sql);
    } catch (error) {
      throw faultOf(error, 'not_applied');
    }
  }

  /** The value of a pragma, as text. Never cached: drivers evaluate some pragmas when they are prepared. */
  pragma(name: string): string {
    try {
      const [row] = rowsOf(withPlainResults(this.#db.prepare(`PRAGMA ${name}`)).all());
      const value = row === undefined ? undefined : row[name === 'busy_timeout' ? 'timeout' : name];
      return typeof value === 'string' ? value : String(Number(value));
    } catch (error) {
      throw faultOf(error, 'not_applied');
    }
  }

  all(sql: string, params: readonly SqliteParam[]): Row[] {
    return rowsOf(this.#statement(sql).all(...params));
  }

  run(sql: string, params: readonly SqliteParam[]): void {
    this.#statement(sql).run(...params);
  }

  /** `sql` with each `IN @` closed over a list: all combinations of the lists' slices, one after the other. */
  allIn(sql: string, fixed: readonly SqliteParam[], lists: readonly (readonly string[])[]): Row[] {
    const rows: Row[] = [];
    forSlices(sql, fixed, lists, (ready, params) => rows.push(...this.all(ready, params)));
    return rows;
  }

  /** As {@link allIn}, for statements that write. */
  runIn(sql: string, fixed: readonly SqliteParam[], lists: readonly (readonly string[])[]): void {
    forSlices(sql, fixed, lists, (ready, params) => this.run(ready, params));
  }

  /** Inserts rows, many a statement. `sql` ends in `VALUES @`, or goes on behind the `@`. */
  insert(sql: string, rows: readonly (readonly SqliteParam[])[]): void {
    let at = 0;
    for (const count of ROW_COUNTS) {
      while (rows.length - at >= count) {
        const slice = rows.slice(at, at + count);
        const row = `(${marks(slice[0]?.length ?? 0)})`;
        this.run(sql.replace('@', Array<string>(count).fill(row).join(',')), slice.flat());
        at += count;
      }
    }
  }

  /** Closes the database. Errors are of no use to anyone any more. */
  close(): void {
    this.#statements.clear();
    try {
      this.#db.close();
    } catch (error) {
      log.storage('closing sqlite failed: %s', kindOf(error));
    }
  }

  #statement(sql: string): SqliteStatement {
    let statement = this.#statements.get(sql);
    if (statement === undefined) {
      this.#statements.set(sql, (statement = withPlainResults(this.#db.prepare(sql))));
    }
    return statement;
  }

  #transaction<T>(begin: string, body: () => T): T {
    const timeout = this.#shortenTimeout();
    let outcome: CallOutcome = 'not_applied';
    try {
      this.#db.exec(begin);
      const result = body();
      outcome = 'unknown';
      this.#db.exec('COMMIT');
      return result;
    } catch (error) {
      const fault = faultOf(error, outcome);
      // A refusal because of the owner's transaction: that one is not ours to roll back.
      if (!(fault instanceof RecoveryError && fault.code === 'STORAGE_REFUSED')) this.#rollback();
      throw fault;
    } finally {
      if (timeout !== null) this.#db.exec(`PRAGMA busy_timeout=${timeout}`);
    }
  }

  /** A borrowed database keeps its owner's timeout, except while the storage runs on it. */
  #shortenTimeout(): string | null {
    if (!this.borrowed) return null;
    const timeout = this.pragma('busy_timeout');
    this.exec(`PRAGMA busy_timeout=${BUSY_TIMEOUT_MS}`);
    return timeout;
  }

  #rollback(): void {
    try {
      this.#db.exec('ROLLBACK');
    } catch {
      // The usual case: BEGIN failed, or SQLite has rolled back by itself. These drivers can tell the other one.
      this.broken =
        propertyOf(this.#db, 'inTransaction') === true || propertyOf(this.#db, 'isTransaction') === true;
    }
  }
}

function marks(count: number): string {
  return Array<string>(count).fill('?').join(',');
}

function forSlices(
  sql: string,
  fixed: readonly SqliteParam[],
  lists: readonly (readonly string[])[],
  use: (sql: string, params: readonly SqliteParam[]) => void,
): void {
  const [list, ...rest] = lists;
  if (list === undefined) {
    use(sql, fixed);
    return;
  }
  for (let at = 0; at < list.length; at += LONGEST_LIST) {
    const slice = list.slice(at, at + LONGEST_LIST);
    const length = LIST_LENGTHS.find((candidate) => candidate >= slice.length) ?? LONGEST_LIST;
    const last = slice.at(-1) ?? '';
    while (slice.length < length) slice.push(last);
    forSlices(sql.replace('@', `(${marks(length)})`), [...fixed, ...slice], rest, use);
  }
}
