/** What workers write about themselves, as others read it. */
import { keys } from '../state/keys.js';
import type { Store } from '../state/store.js';
import type { StoredRecord } from '../storage/storage.js';
import type { ProcessIdentity } from './identity.js';

export function identityOf(record: StoredRecord): ProcessIdentity {
  const text = (field: string): string => record.get(field) ?? '';
  return {
    host: text('host'),
    bootId: text('bootId'),
    pidNamespace: text('pidNamespace'),
    timeNamespace: text('timeNamespace'),
    pid: Number(text('pid')),
    startTime: text('startTime'),
  };
}

/** Reads workers' records. One that something else has written over proves nothing, and doesn't spoil the others. */
export async function readWorkers(
  store: Store,
  ids: readonly string[],
): Promise<readonly (StoredRecord | null)[]> {
  const { records } = await store.readEach(store.home, ids.map(keys.worker));
  return records.map((record) => (record instanceof Error ? null : record));
}

/** How many suspects it has on trial. */
export function suspectsOf(record: StoredRecord | null): number {
  const count = Number(record?.get('suspects') ?? 0);
  return Number.isSafeInteger(count) && count > 0 ? count : 0;
}
