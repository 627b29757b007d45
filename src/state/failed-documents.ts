import { RecoveryError } from '../errors.js';
import { checkOptions, isObject } from '../domain/check-options.js';
import type { FailedDocumentRecord, FailureGroup } from '../domain/failed-document.js';
import { checkId } from '../domain/ids.js';
import { fromJsonText } from '../domain/json.js';
import type { StoredRecord } from '../storage/storage.js';
import {
  boundsOf,
  decodeCursor,
  encodeCursor,
  FILTER_CHECKS,
  fits,
  foreignCursor,
  indexOf,
  LIST_CHECKS,
  sourcesOf,
} from './failure-filter.js';
import type {
  FailureCommands,
  FailureFilter,
  FailureListOptions,
  FailurePage,
  FailureReport,
  Position,
} from './failure-filter.js';
import { countDue } from './eligibility.js';
import type { RetryRule } from './eligibility.js';
import { failureFields, failureIndexes } from './failures.js';
import type { Facet } from './failures.js';
import { decodeHead } from './head.js';
import { keys } from './keys.js';
import type { Store } from './store.js';

/** Failures of a group that are looked at for one that can be read. */
const LOOKED_AT = 10;
const COUNTED_AT_ONCE = 100;

/**
 * Tracks documents whose tasks ended failed: tasks with a `document` option come in by themselves, and leave when they
 * complete. Reads indexes, never all records.
 */
export class FailedDocumentsTracker {
  readonly #store: Store;
  readonly #commands: FailureCommands;
  readonly #rule: RetryRule;

  /** @param rule by which a retry is due */
  constructor(store: Store, commands: FailureCommands, rule: RetryRule) {
    this.#store = store;
    this.#commands = commands;
    this.#rule = rule;
  }

  /**
   * Keeps a failure that no wrapped task ended with: it is listed, counted and retried as the others are, through the
   * task that `name` says. Once more for a document that is known: it has failed again. Resolves with the task's id.
   * @throws `INVALID_OPTION`, `INVALID_ID`, `NOT_JSON` or `PAYLOAD_TOO_LARGE` for arguments or metadata,
   *   `INPUT_MISMATCH` when the id belongs to another task, `WRONG_STATE` while it runs, waits to, or is cancelled,
   *   `CODEC_FAILED`, `CORRUPT_RECORD`, `SHUT_DOWN`, `LAYOUT_MISMATCH`, `STORAGE_UNAVAILABLE`
   * @example await recovery.failures.record({ documentPath: '/in/7.pdf', error, metadata: { page: 3 } });
   */
  readonly record = (report: FailureReport): Promise<string> => this.#commands.report(report);

  /**
   * One failed document, or null.
   * @throws `INVALID_ID`, `CORRUPT_RECORD`, `CODEC_FAILED`, `LAYOUT_MISMATCH`, `STORAGE_UNAVAILABLE`
   */
  readonly get = async (taskId: string): Promise<FailedDocumentRecord | null> => {
    checkId('The task id', taskId);
    await this.#store.look();
    const wanted = [keys.head(taskId), keys.failure(taskId)];
    const { records, nowMs } = await this.#store.read(this.#store.partitionOf(taskId), wanted);
    return this.#decode(taskId, records[0] ?? null, records[1] ?? null, nowMs);
  };

  /**
   * A page of failed documents, those that failed first at the front; a partition after the other. Ones that can't be
   * read are left out.
   * @throws `INVALID_OPTION`, `INVALID_VALUE` for a foreign cursor, `LAYOUT_MISMATCH`, `STORAGE_UNAVAILABLE`
   * @example const { documents } = await recovery.failures.list({ category: 'network' });
   */
  readonly list = async (options: FailureListOptions = {}): Promise<FailurePage> => {
    checkOptions('failures.list', options, LIST_CHECKS, []);
    await this.#store.look();
    const limit = options.limit ?? 100;
    const documents: FailedDocumentRecord[] = [];
    let last: Position | null = null;
    for await (const { record, position } of this.#walk(options, options.after)) {
      if (documents.length === limit && last !== null) return { documents, next: encodeCursor(last) };
      documents.push(record);
      last = position;
    }
    return { documents, next: null };
  };

  /**
   * How many failed documents there are, dead letters included. One of `category`, `fingerprint` and `worker`, with or
   * without ages, is counted by an index; more are looked through.
   * @throws `INVALID_OPTION`, `LAYOUT_MISMATCH`, `STORAGE_UNAVAILABLE`
   */
  readonly count = async (filter: FailureFilter = {}): Promise<number> => {
    checkOptions('failures.count', filter, FILTER_CHECKS, []);
    await this.#store.look();
    const { name, category, fingerprint, worker, eligible, minAgeMs, maxAgeMs } = filter;
    const given = [category, fingerprint, worker, name].filter((value) => value !== undefined);
    if (eligible === undefined && name === undefined && given.length < 2)
      return this.#store.count(indexOf(filter), boundsOf(filter));
    if (eligible === true && given.length === 0 && minAgeMs === undefined && maxAgeMs === undefined)
      return countDue(this.#store, this.#rule);
    let count = 0;
    for await (const _ of this.#walk(filter)) count += 1;
    return count;
  };

  /**
   * Failures by reason, the largest group first.
   * @throws `LAYOUT_MISMATCH`, `STORAGE_UNAVAILABLE`
   * @example for (const { count, errorMessage } of await recovery.failures.groups()) console.log(count, errorMessage);
   */
  readonly groups = async (): Promise<FailureGroup[]> => {
    await this.#store.look();
    const groups: FailureGroup[] = [];
    for (const [fingerprint, count] of await this.countBy('fingerprint')) {
      const newest = await this.#newest(fingerprint);
      if (newest === null) continue;
      const { category, errorName, errorMessage, frame, taskId: newestTaskId } = newest;
      groups.push({ fingerprint, count, category, errorName, errorMessage, frame, newestTaskId });
    }
    return groups.toSorted((a, b) => b.count - a.count);
  };

  /**
   * Forgets a failure; the task itself stays as it is. False when there is none.
   * @throws `INVALID_ID`, `CORRUPT_RECORD`, `LAYOUT_MISMATCH`, `STORAGE_UNAVAILABLE`
   */
  readonly remove = (taskId: string): Promise<boolean> => this.#commands.remove(taskId);

  /** As `tasks.requeue`: into the recovery queue, with all its retries. @throws as `tasks.requeue` does */
  readonly requeue = (taskId: string): Promise<void> => this.#commands.requeue(taskId);

  /** How many failures there are with each value of a facet that has any. */
  async countBy(facet: Facet): Promise<Map<string, number>> {
    const values = new Set<string>();
    for (const partition of this.#store.partitions) {
      for await (const page of this.#store.pages(partition, failureIndexes.values(facet))) {
        for (const { id } of page.entries) values.add(id);
      }
    }
    const counts = new Map<string, number>();
    const all = [...values];
    for (let from = 0; from < all.length; from += COUNTED_AT_ONCE) {
      const some = all.slice(from, from + COUNTED_AT_ONCE);
      const found = await Promise.all(
        some.map((value) => this.#store.count(failureIndexes.by(facet, value))),
      );
      for (const [at, value] of some.entries()) if ((found[at] ?? 0) > 0) counts.set(value, found[at] ?? 0);
    }
    return counts;
  }

  async #newest(fingerprint: string): Promise<FailedDocumentRecord | null> {
    let newest: FailedDocumentRecord | null = null;
    for (const partition of this.#store.partitions) {
      // A few: the newest may be unreadable.
      const query = { limit: LOOKED_AT, reverse: true };
      const { entries } = await this.#store.range(
        partition,
        failureIndexes.by('fingerprint', fingerprint),
        query,
      );
      const ids = entries.map(({ id }) => id);
      const records = await this.#read(partition, ids);
      const record = records.find((each) => each !== null) ?? null;
      if (record !== null && record.failedAtMs > (newest?.failedAtMs ?? -1)) newest = record;
    }
    return newest;
  }

  async *#walk(
    filter: FailureFilter,
    cursor?: string,
  ): AsyncGenerator<{ record: FailedDocumentRecord; position: Position }> {
    const { partitions } = this.#store;
    const start = cursor === undefined ? null : decodeCursor(cursor, partitions.length);
    for (const [partition, name] of partitions.entries()) {
      if (start !== null && partition < start.partition) continue;
      const sources = await sourcesOf(this.#store, name, filter, this.#rule);
      const resumed = start?.partition === partition ? start : null;
      const first = resumed === null ? 0 : sources.findIndex(({ index }) => index === resumed.index);
      if (first < 0) throw foreignCursor();
      for (const { index, ...bounds } of sources.slice(first)) {
        const after = resumed?.index === index ? { after: resumed } : {};
        for await (const { entries } of this.#store.pages(name, index, { ...bounds, ...after })) {
          const ids = entries.map(({ id }) => id);
          const records = await this.#read(name, ids);
          for (const [at, { id, score }] of entries.entries()) {
            const record = records[at] ?? null;
            if (record === null || !fits(record, filter, this.#rule)) continue;
            yield { record, position: { partition, index, score, id } };
          }
        }
      }
    }
  }

  async #read(partition: string, ids: readonly string[]): Promise<(FailedDocumentRecord | null)[]> {
    const wanted = ids.flatMap((id) => [keys.head(id), keys.failure(id)]);
    const { records, nowMs } = await this.#store.readEach(partition, wanted);
    return ids.map((id, at) => {
      const [head = null, details = null] = records.slice(2 * at);
      if (head instanceof Error || details instanceof Error) return null;
      try {
        return this.#decode(id, head, details, nowMs);
      } catch {
        return null;
      }
    });
  }

  #decode(
    taskId: string,
    record: StoredRecord | null,
    details: StoredRecord | null,
    nowMs: number,
  ): FailedDocumentRecord | null {
    if (record === null) return null;
    const { task, failed, purged } = decodeHead(taskId, record);
    // One that is being removed is gone.
    if (failed === null || purged !== null) return null;
    if (details === null) {
      throw new RecoveryError('CORRUPT_RECORD', `What is kept of the failure of "${taskId}" is gone.`);
    }
    const document = this.#part(taskId, details, failureFields.document, 'document');
    const cause = this.#part(taskId, details, failureFields.cause, 'failure');
    const stored = isObject(cause) ? cause['error'] : null;
    const { name, message, code }: Record<string, unknown> = isObject(stored) ? stored : { ...task.error };
    const { path, query }: Record<string, unknown> = isObject(document) ? document : {};
    const { failure, failedAtMs } = failed;
    const words = (part: unknown): string | null => (typeof part === 'string' ? part : null);
    return {
      taskId,
      name: task.name,
      documentPath: words(path) ?? taskId,
      query: words(query),
      status: task.status,
      errorName: words(name) ?? 'Error',
      errorMessage: words(message) ?? '',
      errorCode: words(code),
      category: failure.category,
      fingerprint: failure.fingerprint,
      frame: words(isObject(cause) ? cause['frame'] : null),
      failedAtMs,
      lastAttemptAtMs: Number(details.get(failureFields.at) ?? failedAtMs),
      ageMs: Math.max(0, nowMs - failedAtMs),
      retryCount: failure.retryCount,
      recoveryAttempts: failure.attempts,
      workerId: failure.worker,
      version: failure.version,
      metadata: this.#part(taskId, details, failureFields.metadata, 'metadata'),
    };
  }

  /** Null when it is not there, or could not be kept. @throws `CODEC_FAILED`, `CORRUPT_RECORD` */
  #part(taskId: string, details: StoredRecord, field: string, what: string): unknown {
    const text = details.get(field);
    if (text === undefined || text === '') return null;
    return fromJsonText(this.#store.payloads.open(text, taskId, what), `the ${what} of "${taskId}"`);
  }
}
