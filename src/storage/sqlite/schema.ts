/** The tables, and the settings of a connection. */
import { RecoveryError } from '../../errors.js';
import { BUSY_TIMEOUT_MS } from './connection.js';
import type { Connection } from './connection.js';

/** What `PRAGMA synchronous` is set to. */
export type Synchronous = 'OFF' | 'NORMAL' | 'FULL' | 'EXTRA';

/** Version of the tables; another one is refused. */
const SCHEMA_VERSION = '1';

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
CREATE TABLE IF NOT EXISTS rekindle_events (
  partition TEXT NOT NULL, seq INTEGER NOT NULL, payload TEXT NOT NULL,
  PRIMARY KEY (partition, seq)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS rekindle_meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
INSERT OR IGNORE INTO rekindle_meta (name, value) VALUES ('schema', '${SCHEMA_VERSION}')`;

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
  const [row] = db.read(() => db.all('SELECT value FROM rekindle_meta WHERE name = ?', ['schema']));
  if (row?.['value'] !== SCHEMA_VERSION) {
    throw new RecoveryError(
      'LAYOUT_MISMATCH',
      `The rekindle tables have version ${String(row?.['value'])}; this release needs ${SCHEMA_VERSION}.`,
    );
  }
}
