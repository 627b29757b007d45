/** What puts acknowledged writes at risk: the settings of the connection, and a disk that is nearly full. */
import { statfs } from 'node:fs/promises';
import { systemClock } from '../../clock.js';
import { isRecoveryError } from '../../errors.js';
import type { StorageReport } from '../storage.js';
import type { Connection } from './connection.js';
import { LockHeld, propertyOf } from './driver.js';
import type { Link } from './link.js';
import { MODES } from './schema.js';
import type { Synchronous } from './schema.js';

/** Too little is left when both are fallen below: a tenth of a large disk is plenty, and so is most of a small one. */
const LEAST_FREE_SHARE = 0.1;
const LEAST_FREE_BYTES: number = 2 ** 30;

/** What the connection tells; undefined where SQLite does not say. */
interface Settings {
  readonly journal: string | undefined;
  readonly mode: Synchronous | undefined;
  /** The file's absolute path; an empty text for a database in memory. */
  readonly file: string | undefined;
  readonly writable: boolean;
}

/** What `read` gives, or undefined when SQLite refuses that; a lock is for the caller to wait for. */
function unless<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof LockHeld) throw error;
    return undefined;
  }
}

function fileOf(db: Connection): string | undefined {
  const [row] = db.all("SELECT file FROM pragma_database_list WHERE name = 'main'", []);
  const file = row?.['file'];
  return file === null ? '' : typeof file === 'string' ? file : undefined;
}

/** Removes nothing, as the only sure way to know: a read-only database lets BEGIN IMMEDIATE pass, and root any file. */
function isWritable(db: Connection): boolean {
  try {
    db.write(() => db.run("DELETE FROM rekindle_meta WHERE name = ''", []));
    return true;
  } catch (error) {
    // Whoever holds the lock is writing.
    if (error instanceof LockHeld) return true;
    if (isRecoveryError(error, 'STORAGE_READONLY')) return false;
    throw error;
  }
}

function settingsOf(db: Connection): Settings {
  const told = db.read(() => {
    const journal = unless(() => db.pragma('journal_mode'));
    return {
      // A pragma that is not allowed may also answer without a row.
      journal: journal === 'NaN' ? undefined : journal,
      mode: unless(() => MODES[Number(db.pragma('synchronous'))]),
      file: unless(() => fileOf(db)),
    };
  });
  return { ...told, writable: isWritable(db) };
}

function isSafe(mode: Synchronous | undefined): boolean {
  return mode === 'FULL' || mode === 'EXTRA';
}

function warningsOf({ journal, mode, file, writable }: Settings): string[] {
  const warnings: string[] = [];
  if (journal === undefined) {
    warnings.push('journal_mode could not be read.');
  } else if (journal === 'memory' || journal === 'off') {
    warnings.push(`journal_mode is "${journal}": a crash while writing loses or damages the database.`);
  } else if (journal !== 'wal') {
    warnings.push(`journal_mode is "${journal}": readers and writers block each other; use WAL.`);
  }
  if (mode === undefined) {
    warnings.push('synchronous could not be read.');
  } else if (!isSafe(mode)) {
    warnings.push(`synchronous is ${mode}: a power cut may lose acknowledged writes; use FULL.`);
  }
  if (!writable) {
    warnings.push('The database is read-only for this process: no task can start, go on or be recovered.');
  }
  if (file === undefined) warnings.push('The place of the database file could not be read.');
  return warnings;
}

function durabilityOf({ journal, mode }: Settings): string {
  const survives =
    journal === undefined || mode === undefined
      ? 'what nobody knows'
      : journal === 'memory' || journal === 'off'
        ? 'nothing that is certain'
        : isSafe(mode)
          ? 'a crash of the process, of the machine, and a power cut'
          : 'a crash of the process';
  const settings = `journal_mode ${journal ?? 'unknown'}, synchronous ${mode ?? 'unknown'}`;
  return `an acknowledged write survives ${survives} (${settings})`;
}

/** What `statfs` tells of a file system, in blocks. */
export interface Space {
  readonly bsize: number;
  readonly blocks: number;
  /** Free for a user without privileges. */
  readonly bavail: number;
}

/** A warning when less than a tenth and less than 1 GiB is free. */
export function spaceWarning({ bsize, blocks, bavail }: Space): string | null {
  const free = bavail * bsize;
  // A file system that does not count has 0 of 0 blocks free, which is no warning either.
  if (free >= LEAST_FREE_BYTES || bavail >= blocks * LEAST_FREE_SHARE) return null;
  const percent = Math.floor((100 * bavail) / blocks);
  const left = `${Math.floor(free / 2 ** 20)} MiB (${percent} %)`;
  return `The disk of the database is nearly full: ${left} are free. Writes will be refused when it is.`;
}

/** No paths: reports are shown to more people than the file system is. */
async function diskWarning(file: string): Promise<string | null> {
  try {
    return spaceWarning(await statfs(file));
  } catch (error) {
    const code = propertyOf(error, 'code');
    if (code === 'ENOENT') {
      return 'The database file is gone from its place: what is written now is lost with the process.';
    }
    return `The free space of the disk could not be read (${typeof code === 'string' ? code : 'unknown'}).`;
  }
}

/** A network disk that is away may keep `statfs` for ever. */
function within(ms: number, work: Promise<string | null>): Promise<string | null> {
  return new Promise((resolve) => {
    const late = 'The free space of the disk could not be read (no answer).';
    const cancel = systemClock.schedule(ms, () => resolve(late), true);
    void work.then((warning) => {
      cancel();
      resolve(warning);
    });
  });
}

/** See `Storage.inspect`. */
export async function inspectSqlite(link: Link, deadlineMs: number): Promise<StorageReport> {
  const endMs = systemClock.monotonicMs() + deadlineMs;
  const settings = await link.run(deadlineMs, settingsOf);
  const { file = '' } = settings;
  const disk =
    file === '' ? null : await within(Math.max(1, endMs - systemClock.monotonicMs()), diskWarning(file));
  const warnings = warningsOf(settings);
  return { durability: durabilityOf(settings), warnings: disk === null ? warnings : [...warnings, disk] };
}
