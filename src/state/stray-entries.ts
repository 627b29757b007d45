/**
 * Looks for index entries whose task is gone or in another state, and for quarantined tasks. It changes nothing. Records
 * and indexes agree at every instant, so either of the former was made by other hands: keys that were deleted or evicted.
 */
import type { RecoveryError } from '../errors.js';
import { TASK_STATUSES } from '../domain/task.js';
import { TOKEN_FIELD } from '../storage/storage.js';
import type { IndexEntry, StoredRecord } from '../storage/storage.js';
import { indexes, keys } from './keys.js';
import type { Store } from './store.js';

/** An index entry that nothing stands behind. */
interface StrayEntry {
  readonly taskId: string;
  /** The index that it is in, as `status:name` or `stuck:name`. */
  readonly index: string;
  /** `missing`: there is no such task; `elsewhere`: it is in another state; `unreadable`: something else is in its place. */
  readonly kind: 'missing' | 'elsewhere' | 'unreadable';
}

/** A task whose records could not be read, and which was taken out of the queues for that. */
interface QuarantinedTask {
  readonly taskId: string;
  readonly name: string;
  readonly reason: string;
}

/** What there is to find, as far as the bounds let it be looked for. */
export interface IndexReport {
  /** Entries that were looked at. */
  readonly looked: number;
  /** False when there were more entries than the limit. */
  readonly complete: boolean;
  /** The first {@link MOST_LISTED}. */
  readonly strays: readonly StrayEntry[];
  readonly strayCount: number;
  /** The first {@link MOST_LISTED}. */
  readonly quarantined: readonly QuarantinedTask[];
  readonly quarantinedCount: number;
}

/** Listed of each kind. */
export const MOST_LISTED = 100;

type Read = StoredRecord | RecoveryError | null;

interface Place {
  readonly partition: string;
  readonly index: string;
  /** Whether a head belongs into it. */
  readonly holds: (head: StoredRecord) => boolean;
}

/**
 * @param limit entries to look at, at most
 * @throws `LAYOUT_MISMATCH`, `STORAGE_UNAVAILABLE`
 */
export async function checkIndexes(store: Store, limit: number): Promise<IndexReport> {
  await store.look();
  const names: string[] = [];
  for await (const { entries } of store.pages(store.home, indexes.names))
    for (const { id } of entries) names.push(id);
  const strays: StrayEntry[] = [];
  let looked = 0;
  let strayCount = 0;
  for (const place of names.flatMap((name) => placesOf(store, name))) {
    for await (const { entries } of store.pages(place.partition, place.index)) {
      const some = entries.slice(0, limit - looked);
      looked += some.length;
      const found = await straysOf(store, place, some);
      strayCount += found.length;
      strays.push(...found.slice(0, MOST_LISTED - strays.length));
      if (some.length < entries.length)
        return { looked, complete: false, strays, strayCount, ...(await quarantinedOf(store, names)) };
    }
  }
  return { looked, complete: true, strays, strayCount, ...(await quarantinedOf(store, names)) };
}

function placesOf(store: Store, name: string): Place[] {
  return store.partitions.flatMap((partition) => [
    ...TASK_STATUSES.map((status) => ({
      partition,
      index: indexes.inState(status, name),
      holds: (head: StoredRecord) => head.get('status') === status && head.get('name') === name,
    })),
    {
      partition,
      index: indexes.stuck(name),
      holds: (head: StoredRecord) => head.get('status') === 'processing' && head.get('name') === name,
    },
  ]);
}

async function straysOf(store: Store, place: Place, entries: readonly IndexEntry[]): Promise<StrayEntry[]> {
  const { records } = await store.readEach(
    place.partition,
    entries.map(({ id }) => keys.head(id)),
  );
  const strays: StrayEntry[] = [];
  for (const [at, entry] of entries.entries()) {
    const record = records[at] ?? null;
    if (belongs(place, record) || !(await stays(store, place, entry))) continue;
    const kind = record === null ? 'missing' : record instanceof Error ? 'unreadable' : 'elsewhere';
    strays.push({ taskId: entry.id, index: place.index, kind });
  }
  return strays;
}

function belongs({ holds }: Place, record: Read): boolean {
  return record !== null && !(record instanceof Error) && holds(record);
}

/**
 * Whether the two still disagree. The task may have moved on between two reads; when its head is the same before and
 * after the index is read, they disagree at the instant of that.
 */
async function stays(store: Store, place: Place, { id, score }: IndexEntry): Promise<boolean> {
  const head = async (): Promise<Read> =>
    (await store.readEach(place.partition, [keys.head(id)])).records[0] ?? null;
  const before = await head();
  if (belongs(place, before)) return false;
  for await (const { entries } of store.pages(place.partition, place.index, { from: score, to: score })) {
    if (entries.some((entry) => entry.id === id)) return tokenOf(await head()) === tokenOf(before);
  }
  return false;
}

function tokenOf(record: Read): string | null {
  if (record === null) return null;
  return record instanceof Error ? record.code : (record.get(TOKEN_FIELD) ?? '');
}

async function quarantinedOf(
  store: Store,
  names: readonly string[],
): Promise<Pick<IndexReport, 'quarantined' | 'quarantinedCount'>> {
  const quarantined: QuarantinedTask[] = [];
  let quarantinedCount = 0;
  // A task whose index entry alone told of it has the name `unknown`.
  for (const name of new Set([...names, 'unknown'])) {
    quarantinedCount += await store.count(indexes.quarantined(name));
    for (const partition of store.partitions) {
      const limit = MOST_LISTED - quarantined.length;
      if (limit <= 0) break;
      const { entries } = await store.range(partition, indexes.quarantined(name), { limit });
      const ids = entries.map(({ id }) => id);
      const { records } = await store.readEach(partition, ids.map(keys.quarantine));
      for (const [at, taskId] of ids.entries()) {
        const record = records[at] ?? null;
        const reason = record instanceof Error ? record.message : (record?.get('reason') ?? '');
        quarantined.push({ taskId, name, reason });
      }
    }
  }
  return { quarantined, quarantinedCount };
}
