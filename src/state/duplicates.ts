/**
 * Looks whether anything is kept twice: items in ledgers, documents among the failures. Reads a page of heads, a ledger
 * record or a page of failures at a time, and writes nothing.
 */
import { createHash } from 'node:crypto';
import { isObject } from '../domain/check-options.js';
import { fromJsonText } from '../domain/json.js';
import { TASK_STATUSES } from '../domain/task.js';
import type { RecoveryError } from '../errors.js';
import type { StoredRecord } from '../storage/storage.js';
import { failureFields, failureIndexes } from './failures.js';
import { decodeHead } from './head.js';
import type { Head } from './head.js';
import { hashOf, indexes, keys } from './keys.js';
import { bucketOf, entryStateOf, ITEM_PREFIX, MAX_BUCKETS } from './ledger.js';
import type { MapMark } from './ledger.js';
import type { Store } from './store.js';

/** An item that stands where it does not belong: a second copy, or one that its map will not find. */
export interface DuplicateItem {
  readonly taskId: string;
  readonly map: string;
  readonly key: string;
}

/** A map that counts more items than its ledger keeps. */
export interface MiscountedMap {
  readonly taskId: string;
  readonly map: string;
  readonly kept: { readonly done: number; readonly failed: number };
  readonly counted: { readonly done: number; readonly failed: number };
}

/** A failed document that several tasks stand for. */
export interface DuplicateDocument {
  readonly documentPath: string;
  /** The first 1,000 of them. */
  readonly taskIds: readonly string[];
  /** How many there are. */
  readonly count: number;
}

/** What a check for duplicates has found. Each list holds 1,000 findings at most. */
export interface DuplicateReport {
  /** Tasks that were looked at. */
  readonly tasks: number;
  /** Items that their ledgers keep. */
  readonly items: number;
  /** Failed documents that were compared. */
  readonly documents: number;
  readonly duplicateItems: readonly DuplicateItem[];
  readonly miscounted: readonly MiscountedMap[];
  readonly duplicateDocuments: readonly DuplicateDocument[];
  /** Findings that the lists have no room for. */
  readonly unlisted: number;
  /** Records, and entries of ledgers, that could not be read: they are not vouched for. */
  readonly unreadable: number;
}

/** Findings a list, and tasks a document. */
const MOST_LISTED = 1_000;
/** Documents that are compared at a time, about: more are walked through several times. */
const COMPARED = 50_000;

/** What a ledger keeps of a map. */
interface Tally {
  done: number;
  failed: number;
  unreadable: number;
  /** Keys in records that they don't belong to; the first of them. */
  readonly misplaced: Set<string>;
  /** And how many more. */
  more: number;
}

type Read = StoredRecord | RecoveryError | null | undefined;

export class DuplicateSearch {
  readonly #store: Store;
  readonly #name: string;
  readonly #compared: number;
  readonly #items: DuplicateItem[] = [];
  readonly #miscounted: MiscountedMap[] = [];
  readonly #documents: DuplicateDocument[] = [];
  readonly #counts = { tasks: 0, items: 0, documents: 0, unlisted: 0, unreadable: 0 };

  constructor(store: Store, name: string, compared: number = COMPARED) {
    this.#store = store;
    this.#name = name;
    this.#compared = compared;
  }

  async run(): Promise<DuplicateReport> {
    for (const partition of this.#store.partitions) await this.#walkTasks(partition);
    const failures = await this.#store.count(failureIndexes.all);
    const passes = Math.max(1, Math.ceil(failures / this.#compared));
    for (let pass = 0; pass < passes; pass += 1) await this.#compareDocuments(pass, passes);
    return {
      ...this.#counts,
      duplicateItems: this.#items,
      miscounted: this.#miscounted,
      duplicateDocuments: this.#documents,
    };
  }

  async #walkTasks(partition: string): Promise<void> {
    for (const status of TASK_STATUSES) {
      for await (const { entries } of this.#store.pages(partition, indexes.inState(status, this.#name))) {
        for (const head of await this.#heads(partition, entries)) {
          this.#counts.tasks += 1;
          for (const [map, mark] of head.pieces.maps) await this.#checkMap(partition, head, map, mark);
        }
      }
    }
    // They stand in no index of a state.
    for await (const { entries } of this.#store.pages(partition, indexes.quarantined(this.#name)))
      await this.#heads(partition, entries);
  }

  /** Those that are there; counts the ones that can't be read. */
  async #heads(partition: string, entries: readonly { readonly id: string }[]): Promise<Head[]> {
    const ids = entries.map(({ id }) => id);
    const { records } = await this.#store.readEach(partition, ids.map(keys.head));
    return ids.flatMap((id, at) => {
      const head = decoded(id, records[at]);
      if (head === 'unreadable') this.#counts.unreadable += 1;
      return head === null || head === 'unreadable' ? [] : [head];
    });
  }

  async #checkMap(partition: string, head: Head, map: string, mark: MapMark): Promise<void> {
    const { taskId } = head.task;
    const tally = await this.#tally(partition, taskId, map, mark);
    this.#counts.items += tally.done + tally.failed;
    this.#counts.unreadable += tally.unreadable;
    if (tally.misplaced.size === 0 && isCovered(mark, tally)) return;
    const again = await this.#headOf(partition, taskId);
    // Taken away meanwhile, or made anew under its id with other ledgers.
    if (again?.pieces.origin !== head.pieces.origin) return;
    for (const key of tally.misplaced) this.#noteItem({ taskId, map, key });
    this.#counts.unlisted += tally.more;
    // Every write to a ledger moves the head's token: with the same one the two belong together, running or not.
    if (again.token === head.token) return this.#noteCount(taskId, map, mark, tally);
    const marked = again.pieces.maps.get(map);
    if (marked === undefined) return;
    const second = await this.#tally(partition, taskId, map, marked);
    const last = await this.#headOf(partition, taskId);
    if (last?.token === again.token) this.#noteCount(taskId, map, marked, second);
  }

  async #tally(partition: string, taskId: string, map: string, { buckets }: MapMark): Promise<Tally> {
    const tally: Tally = { done: 0, failed: 0, unreadable: 0, misplaced: new Set(), more: 0 };
    if (buckets > MAX_BUCKETS) return { ...tally, unreadable: 1 };
    for (let bucket = 0; bucket < buckets; bucket += 1) {
      const { records } = await this.#store.readEach(partition, [keys.ledger(taskId, map, bucket)]);
      const [record] = records;
      if (record instanceof Error) tally.unreadable += 1;
      else if (record) addBucket(tally, record, bucket, buckets);
    }
    return tally;
  }

  /** Null when it is not there, or unreadable by now. */
  async #headOf(partition: string, taskId: string): Promise<Head | null> {
    const { records } = await this.#store.readEach(partition, [keys.head(taskId)]);
    const head = decoded(taskId, records[0]);
    return head === 'unreadable' ? null : head;
  }

  #noteItem(found: DuplicateItem): void {
    const { taskId, map, key } = found;
    // A task that changes its state meanwhile is met twice.
    if (this.#items.some((each) => each.taskId === taskId && each.map === map && each.key === key)) return;
    this.#note(this.#items, found);
  }

  #noteCount(taskId: string, map: string, mark: MapMark, tally: Tally): void {
    if (isCovered(mark, tally)) return;
    if (this.#miscounted.some((each) => each.taskId === taskId && each.map === map)) return;
    const kept = { done: tally.done, failed: tally.failed };
    const counted = { done: mark.done, failed: mark.failed };
    this.#note(this.#miscounted, { taskId, map, kept, counted });
  }

  #note<T>(list: T[], found: T): void {
    if (list.length < MOST_LISTED) list.push(found);
    else this.#counts.unlisted += 1;
  }

  /** Compares the paths that fall to this pass: others are for other passes, so that memory is bounded. */
  async #compareDocuments(pass: number, passes: number): Promise<void> {
    const known = new Map<string, string[]>();
    const several = new Map<string, { readonly documentPath: string; count: number }>();
    for await (const { taskId, documentPath } of this.#paths(pass === 0)) {
      if (hashOf(documentPath) % passes !== pass) continue;
      // Paths can be long.
      const digest = createHash('sha256').update(documentPath).digest('base64');
      const taskIds = known.get(digest);
      if (taskIds === undefined) known.set(digest, [taskId]);
      else if (!taskIds.includes(taskId)) {
        const found = several.get(digest);
        if (found === undefined) several.set(digest, { documentPath, count: 2 });
        else found.count += 1;
        if (taskIds.length < MOST_LISTED) taskIds.push(taskId);
      }
    }
    for (const [digest, { documentPath, count }] of several)
      this.#note(this.#documents, { documentPath, taskIds: known.get(digest) ?? [], count });
  }

  /** The failed documents of the name. */
  async *#paths(first: boolean): AsyncGenerator<{ taskId: string; documentPath: string }> {
    for (const partition of this.#store.partitions) {
      for await (const { entries } of this.#store.pages(partition, failureIndexes.all)) {
        const wanted = entries.flatMap(({ id }) => [keys.head(id), keys.failure(id)]);
        const { records } = await this.#store.readEach(partition, wanted);
        for (const [at, { id }] of entries.entries()) {
          const head = decoded(id, records[2 * at]);
          // Whose head is unreadable has no name here: the walk over the tasks has counted it.
          if (head === null || head === 'unreadable' || head.task.name !== this.#name || head.failed === null)
            continue;
          const documentPath = this.#pathOf(id, records[2 * at + 1]);
          if (first) this.#counts[documentPath === null ? 'unreadable' : 'documents'] += 1;
          if (documentPath !== null) yield { taskId: id, documentPath };
        }
      }
    }
  }

  /** What the tracker calls the document; null when that can't be read. */
  #pathOf(taskId: string, details: Read): string | null {
    if (!details || details instanceof Error) return null;
    try {
      const text = details.get(failureFields.document) ?? '';
      const document =
        text === '' ? null : fromJsonText(this.#store.payloads.open(text, taskId, 'document'), 'a document');
      const path = isObject(document) ? document['path'] : null;
      return typeof path === 'string' ? path : taskId;
    } catch {
      return null;
    }
  }
}

function decoded(taskId: string, record: Read): Head | 'unreadable' | null {
  if (record === null || record === undefined) return null;
  if (record instanceof Error) return 'unreadable';
  try {
    const head = decodeHead(taskId, record);
    // One that is being removed is gone, whatever it still counts.
    return head.purged === null ? head : null;
  } catch {
    return 'unreadable';
  }
}

/**
 * Whether a ledger has all that its mark counts. It may have more: items that a later attempt's list no longer has, and
 * failed ones that the present attempt has not come to.
 */
function isCovered(mark: MapMark, { done, failed }: Tally): boolean {
  return done >= mark.done && failed >= mark.failed;
}

function addBucket(tally: Tally, record: StoredRecord, bucket: number, buckets: number): void {
  for (const [field, text] of record) {
    const key = field.slice(ITEM_PREFIX.length);
    const state = field.startsWith(ITEM_PREFIX) ? entryStateOf(text) : null;
    if (state === null) tally.unreadable += 1;
    else if (bucketOf(key, buckets) === bucket) tally[state] += 1;
    else if (tally.misplaced.size < MOST_LISTED) tally.misplaced.add(key);
    else if (!tally.misplaced.has(key)) tally.more += 1;
  }
}
