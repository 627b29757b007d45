/** Reads tasks as they are stored, many at a time; one that can't be read doesn't spoil the others. */
import type { RecoveryError } from '../errors.js';
import { decodeControl } from '../state/control.js';
import type { Control } from '../state/control.js';
import { decodeHead } from '../state/head.js';
import type { Head } from '../state/head.js';
import { keys } from '../state/keys.js';
import { isCorruption } from '../state/store.js';
import type { Store } from '../state/store.js';
import type { StoredRecord } from '../storage/storage.js';

type ReadHead = Head | RecoveryError | null;

export async function readHeads(
  store: Store,
  partition: string,
  ids: readonly string[],
): Promise<ReadHead[]> {
  const { records } = await store.readEach(partition, ids.map(keys.head));
  return ids.map((id, index) => headOf(id, records[index] ?? null));
}

/** Heads, and what others have to tell their owners; the latter is null where it can't be read. */
export async function readTasks(
  store: Store,
  partition: string,
  ids: readonly string[],
): Promise<{ readonly head: ReadHead; readonly control: Control | null }[]> {
  const { records } = await store.readEach(partition, [...ids.map(keys.head), ...ids.map(keys.control)]);
  return ids.map((id, index) => {
    const control = records[ids.length + index] ?? null;
    return {
      head: headOf(id, records[index] ?? null),
      control: control instanceof Error ? null : decodeControl(control),
    };
  });
}

function headOf(id: string, record: StoredRecord | RecoveryError | null): ReadHead {
  if (record === null || record instanceof Error) return record;
  try {
    return decodeHead(id, record);
  } catch (error) {
    if (isCorruption(error)) return error;
    throw error;
  }
}
