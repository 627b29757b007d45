/** What is asked of the failed documents: filters, pages, and the index that answers best. */
import { RecoveryError } from '../errors.js';
import { isText, number } from '../domain/check-options.js';
import type { OptionChecks } from '../domain/check-options.js';
import type { FailedDocumentRecord } from '../domain/failed-document.js';
import { decodeParts, encodeParts } from './cursor.js';
import { failureIndexes } from './failures.js';

/** What to list or count. */
export interface FailureFilter {
  readonly category?: string | undefined;
  readonly fingerprint?: string | undefined;
  readonly worker?: string | undefined;
  /** The name of the task. */
  readonly name?: string | undefined;
  /** Failed first at least so long ago, in ms. */
  readonly minAgeMs?: number | undefined;
  /** Failed first at most so long ago, in ms. */
  readonly maxAgeMs?: number | undefined;
}

/** A filter, and which page. */
export interface FailureListOptions extends FailureFilter {
  /** `next` of the page before. */
  readonly after?: string | undefined;
  /** Records a page, 1 to 1,000. Default 100. */
  readonly limit?: number | undefined;
}

/** A page of failed documents; `next` is null on the last one. */
export interface FailurePage {
  readonly documents: readonly FailedDocumentRecord[];
  readonly next: string | null;
}

/** What changes single failures; made by the runtime. */
export interface FailureCommands {
  remove(taskId: string): Promise<boolean>;
  requeue(taskId: string): Promise<void>;
}

const YEARS_MS = 10 * 366 * 86_400_000;
export const FILTER_CHECKS: OptionChecks = {
  category: isText,
  fingerprint: isText,
  worker: isText,
  name: isText,
  minAgeMs: number(0, YEARS_MS, false),
  maxAgeMs: number(0, YEARS_MS, false),
};
export const LIST_CHECKS: OptionChecks = { ...FILTER_CHECKS, after: isText, limit: number(1, 1_000) };

/** Where a list goes on. */
export interface Position {
  readonly partition: number;
  readonly score: number;
  readonly id: string;
}

export function decodeCursor(text: string, partitions: number): Position {
  const [partition, score, id] = decodeParts(text);
  const known =
    typeof partition === 'number' && Number.isInteger(partition) && partition >= 0 && partition < partitions;
  if (known && typeof score === 'number' && Number.isFinite(score) && typeof id === 'string')
    return { partition, score, id };
  throw new RecoveryError('INVALID_VALUE', 'This is no cursor of this list of failures. Start without one.');
}

export function encodeCursor({ partition, score, id }: Position): string {
  return encodeParts([partition, score, id]);
}

/** The index with the fewest entries that a filter allows, as far as that is known without looking. */
export function indexOf({ fingerprint, category, worker }: FailureFilter): string {
  if (fingerprint !== undefined) return failureIndexes.by('fingerprint', fingerprint);
  if (worker !== undefined) return failureIndexes.by('worker', worker);
  if (category !== undefined) return failureIndexes.by('category', category);
  return failureIndexes.all;
}

export function boundsOf({ minAgeMs, maxAgeMs }: FailureFilter): {
  from?: { fromNow: number };
  to?: { fromNow: number };
} {
  return {
    ...(maxAgeMs === undefined ? {} : { from: { fromNow: -Math.ceil(maxAgeMs) } }),
    ...(minAgeMs === undefined ? {} : { to: { fromNow: -Math.floor(minAgeMs) } }),
  };
}

export function fits(record: FailedDocumentRecord, filter: FailureFilter): boolean {
  const same = (wanted: string | undefined, found: string): boolean =>
    wanted === undefined || wanted === found;
  return (
    same(filter.category, record.category) &&
    same(filter.fingerprint, record.fingerprint) &&
    same(filter.worker, record.workerId) &&
    same(filter.name, record.name)
  );
}
