import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Database from 'libsql';
import { describe, test } from 'vitest';
import { sqliteStorage } from '../../src/storage/sqlite.js';
import { storageSuite } from '../../src/testing/index.js';

/** Another connection, which takes the write lock and keeps it. */
function lockOf(file: string): { freeze(): Promise<void>; thaw(): Promise<void>; close(): void } {
  let holder: InstanceType<typeof Database> | null = null;
  return {
    async freeze() {
      holder = new Database(file);
      holder.exec('BEGIN IMMEDIATE');
    },
    async thaw() {
      holder?.exec('ROLLBACK');
      holder?.close();
      holder = null;
    },
    close() {
      holder?.close();
    },
  };
}

storageSuite({
  name: 'sqlite',
  runner: { describe, test },
  open: async ({ maxEvents }) => {
    const folder = mkdtempSync(join(tmpdir(), 'rekindle-suite-'));
    const file = join(folder, 'store.db');
    // Not FULL: what a power cut leaves is not asked here, and waiting for the disk takes most of the time.
    const options = { synchronous: 'OFF', ...(maxEvents === undefined ? {} : { maxEvents }) } as const;
    const storage = sqliteStorage(file, options);
    const second = sqliteStorage(file, options);
    const lock = lockOf(file);
    return {
      storage,
      second,
      faults: { freeze: lock.freeze, thaw: lock.thaw },
      async dispose() {
        lock.close();
        await Promise.all([storage.close(), second.close()]);
        rmSync(folder, { recursive: true, force: true });
      },
    };
  },
  skip: [
    ...[
      'a record of a wrong type in the second batch of three',
      'a guard of a wrong type in the second batch of three',
      'a counter of a wrong type in the second batch of three',
    ].map((title) => ({
      law: 'S1' as const,
      case: title,
      reason: 'Records, indexes and events are tables of their own: a key cannot hold anything else.',
    })),
    {
      law: 'S8',
      case: 'a server that forgets its scripts is taught again',
      reason: 'There are no scripts: statements belong to their connection.',
    },
  ],
});
