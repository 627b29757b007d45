/** A record's writer on a storage whose calls a test answers one by one. */
import { RecoveryError } from '../../src/errors.js';
import { CommitQueue } from '../../src/state/commit-queue.js';
import { RecordWriter } from '../../src/state/record-writer.js';
import type { WriterOwner } from '../../src/state/record-writer.js';
import { makeToken } from '../../src/state/token.js';
import type { Batch } from '../../src/storage/storage.js';
import { manualStorage } from './manual-storage.js';

export const HOME = 'test:0';

interface Setup extends ReturnType<typeof manualStorage> {
  readonly writer: RecordWriter;
  readonly seen: { readonly renewals: number[]; readonly lost: (string | null)[] };
  readonly begin: () => Promise<void>;
  readonly field: (name: string) => Promise<string | undefined>;
  readonly write: (name: string, value: string) => Promise<number>;
}

export function setUp(): Setup {
  const storage = manualStorage();
  const { clock, memory } = storage;
  const seen = { renewals: [] as number[], lost: [] as (string | null)[] };
  const owner: WriterOwner = {
    renew: (draft) => {
      draft.set('k', { lease: { fromNow: 900 } });
      return ['control'];
    },
    renewed: (sentMs) => void seen.renewals.push(sentMs),
    lost: (current) => {
      seen.lost.push(current);
      return new RecoveryError('LEASE_LOST', 'gone');
    },
  };
  const start = { partition: HOME, key: 'k', fence: 1, nonce: 'n', renewedMs: 0, renewAfterMs: 300 };
  const writer = new RecordWriter(start, new CommitQueue(storage.store), owner, clock);
  const create: Batch = {
    guard: { key: 'k', expect: null, next: makeToken(1, 'n', 0) },
    notAfter: Number.MAX_SAFE_INTEGER,
  };
  const begin = async (): Promise<void> => void (await memory.commit(HOME, [create]));
  const field = async (name: string): Promise<string | undefined> =>
    (await memory.read(HOME, ['k'])).records[0]?.get(name);
  const write = (name: string, value: string): Promise<number> =>
    writer.write((draft) => draft.set('k', { [name]: value }));
  return { ...storage, writer, seen, begin, field, write };
}
