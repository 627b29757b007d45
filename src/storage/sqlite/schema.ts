/** The tables, and the settings of a connection. */
import { RecoveryError } from '../../errors.js';
import { BUSY_TIMEOUT_MS } from './connection.js';
import type { Connection } from './connection.js';

/** What `PRAGMA synchronous` is set to. */
export type Synchronous = 'OFF' | 'NORMAL' | 'FULL' | 'EXTRA';

/** All modes, in the order of SQLite's numbers for them. */
export const MODES: readonly Synchronous[] = ['OFF', 'NORMAL', 'FULL', 'EXTRA'];

/** Version of the tables; another one is refused, but for {@link BEFORE_COUNTS}. */
const SCHEMA_VERSION = '2';
/** The version without `rekindle_counts`: brought up to date where it is met. */
const BEFORE_COUNTS = '1';

/**
 * How many entries each index has. Triggers, so that nothing that writes entries can forget it: a connection that
 * an older release has open, or a hand in the sqlite shell. An upsert that only moves a score fires neither of them.
 * An index without entries has no row: indexes come and go with workers.
 */
const COUNTS = `
CREATE TABLE IF NOT EXISTS rekindle_counts (
  partition TEXT NOT NULL, idx TEXT NOT NULL, n INTEGER NOT NULL,
  PRIMARY KEY (partition, idx)
) WITHOUT ROWID;
CREATE TRIGGER IF NOT EXISTS rekindle_count_in AFTER INSERT ON rekindle_index BEGIN
  INSERT INTO rekindle_counts (partition, idx, n) VALUES (new.partition, new.idx, 1)
    ON CONFLICT DO UPDATE SET n = n + 1;
END;
CREATE TRIGGER IF NOT EXISTS rekindle_count_out AFTER DELETE ON rekindle_index BEGIN
  DELETE FROM rekindle_counts WHERE partition = old.partition AND idx = old.idx AND n = 1;
  UPDATE rekindle_counts SET n = n - 1 WHERE partition = old.partition AND idx = old.idx;
END;`;

// Names compare as bytes (BINARY), so that ids of equal score come in the order of their UTF-8.
const TABLES = `
CREATE TABLE IF NOT EXISTS rekindle_records (
  partition TEXT NOT NULL, key TEXT NOT NULL, field TEXT NOT NULL, value NOT NULL,
  PRIMARY KEY (partition, key, field)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS rekindle_index (
  partition TEXT NOT NULL, idx TEXT NOT NULL, id TEXT NOT NULL, score REAL NOT NULL,
  PRIMARY KEY (partition, idx, id)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS rekindle_index_by_score ON rekindle_index (partition, idx, score, id);
${COUNTS}
CREATE TABLE IF NOT EXISTS rekindle_events (
  partition TEXT NOT NULL, seq INTEGER NOT NULL, payload TEXT NOT NULL,
  PRIMARY KEY (partition, seq)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS rekindle_meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
INSERT OR IGNORE INTO rekindle_meta (name, value) VALUES ('schema', '${SCHEMA_VERSION}')`;

/** Counts what is there, once. All of it under the write lock, so that no entry slips in between. */
const ADD_COUNTS = `${COUNTS}
DELETE FROM rekindle_counts;
INSERT INTO rekindle_counts (partition, idx, n)
  SELECT partition, idx, count(*) FROM rekindle_index GROUP BY partition, idx;
UPDATE rekindle_meta SET value = '${SCHEMA_VERSION}' WHERE name = 'schema'`;

function versionOf(db: Connection): string {
  const [row] = db.all('SELECT value FROM rekindle_meta WHERE name = ?', ['schema']);
  return String(row?.['value']);
}

function addCounts(db: Connection): void {
  db.write(() => {
    // Another process may have been faster.
    if (versionOf(db) === BEFORE_COUNTS) db.exec(ADD_COUNTS);
  });
}

/**
 * Makes a connection ready. The journal mode belongs to the file and is changed only where the storage opened
 * it; `synchronous` belongs to the connection and is what the promise of durability rests on, so it is always set.
 *
 * @throws RecoveryError `LAYOUT_MISMATCH` for tables of another version, `INVALID_OPTION` for a UTF-16 database.
 */
export function setUp(db: Connection, synchronous: Synchronous): void {
  if (!db.borrowed) {
    db.exec(`PRAGMA busy_timeout=${BUSY_TIMEOUT_MS}`);
    if (db.pragma('journal_mode') !== 'wal') db.exec('PRAGMA journal_mode=WAL');
  }
  const found = db.read(() => {
    const [meta] = db.all('SELECT name FROM sqlite_master WHERE name = ?', ['rekindle_meta']);
    return meta !== undefined;
  }, 'sqlite_master');
  // After the first transaction: inside one of the owner's, these would be ignored or fail in other words.
  db.exec(`PRAGMA synchronous=${synchronous}`);
  if (!db.borrowed && synchronous !== 'OFF' && synchronous !== 'NORMAL') {
    // Only macOS needs it: its fsync leaves the data in the drive's cache.
    db.exec('PRAGMA fullfsync=1');
  }
  if (db.pragma('encoding') !== 'UTF-8') {
    throw new RecoveryError(
      'INVALID_OPTION',
      'The SQLite database is encoded as UTF-16; rekindle needs UTF-8.',
    );
  }
  if (!found) {
    db.write(() => db.exec(TABLES));
  }
  if (db.read(() => versionOf(db)) === BEFORE_COUNTS) addCounts(db);
  const version = db.read(() => versionOf(db));
  if (version !== SCHEMA_VERSION) {
    throw new RecoveryError(
      'LAYOUT_MISMATCH',
      `The rekindle tables have version ${version}; this release needs ${SCHEMA_VERSION}.`,
    );
  }
}
