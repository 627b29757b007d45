/** What is asked of the failed documents: filters, pages, and the index that answers best. */
import { RecoveryError } from '../errors.js';
import { isBoolean, isText, number, textUpTo } from '../domain/check-options.js';
import type { OptionChecks } from '../domain/check-options.js';
import { LONGEST_LABEL } from '../domain/document-recovery.js';
import type { FailedDocumentRecord } from '../domain/failed-document.js';
import { decodeParts, encodeParts } from './cursor.js';
import { dueSources, retryDelayMs } from './eligibility.js';
import type { RetryRule, Source } from './eligibility.js';
import { failureIndexes, waveOf } from './failures.js';
import type { Store } from './store.js';

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
  /** Whether a retry is due now, by this worker's options. */
  readonly eligible?: boolean | undefined;
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

/** A failure that is reported by hand. */
export interface FailureReport {
  /** The path, URL or name of the document. */
  readonly documentPath: string;
  /** What was thrown. */
  readonly error: unknown;
  /** The id of its task. Default: the path, or a digest of one that can't be an id. */
  readonly taskId?: string | undefined;
  /** The task that is to try it again. Default `document`. */
  readonly name?: string | undefined;
  /** What to call that task with. Default: the path alone. Kept as they are for a task that there is already. */
  readonly args?: readonly unknown[] | undefined;
  readonly query?: string | undefined;
  /** Anything that JSON can hold, kept with the failure. */
  readonly metadata?: unknown;
  /** On which worker it failed. Default: this one's slot, or its host. */
  readonly workerId?: string | undefined;
  /** Under which version of the code. Default: that of the task here. */
  readonly version?: string | undefined;
}

/** What changes single failures; made by the runtime. */
export interface FailureCommands {
  /** Resolves with the id of its task. */
  report(failure: FailureReport): Promise<string>;
  remove(taskId: string): Promise<boolean>;
  requeue(taskId: string): Promise<void>;
}

const YEARS_MS = 10 * 366 * 86_400_000;
export const FILTER_CHECKS: OptionChecks = {
  category: textUpTo(LONGEST_LABEL),
  fingerprint: isText,
  worker: isText,
  name: isText,
  minAgeMs: number(0, YEARS_MS, false),
  maxAgeMs: number(0, YEARS_MS, false),
  eligible: isBoolean,
};
export const LIST_CHECKS: OptionChecks = { ...FILTER_CHECKS, after: isText, limit: number(1, 1_000) };

/** Where a list goes on. */
export interface Position {
  readonly partition: number;
  readonly index: string;
  readonly score: number;
  readonly id: string;
}

export function decodeCursor(text: string, partitions: number): Position {
  const [partition, index, score, id] = decodeParts(text);
  const known =
    typeof partition === 'number' && Number.isInteger(partition) && partition >= 0 && partition < partitions;
  const named = typeof index === 'string' && typeof id === 'string';
  if (known && named && typeof score === 'number' && Number.isFinite(score))
    return { partition, index, score, id };
  throw foreignCursor();
}

export function foreignCursor(): RecoveryError {
  return new RecoveryError('INVALID_VALUE', 'This is no cursor of this list of failures. Start without one.');
}

export function encodeCursor({ partition, index, score, id }: Position): string {
  return encodeParts([partition, index, score, id]);
}

/** Where in a partition all that a filter allows is to be found, and more. */
export async function sourcesOf(
  store: Store,
  partition: string,
  filter: FailureFilter,
  rule: RetryRule,
): Promise<Source[]> {
  if (filter.eligible === true) return dueSources(store, partition, rule);
  return [{ index: indexOf(filter), ...boundsOf(filter) }];
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

function isDue(record: FailedDocumentRecord, rule: RetryRule): boolean {
  const { taskId, status, retryCount, lastAttemptAtMs, failedAtMs, ageMs } = record;
  if (status !== 'failed' || retryCount >= rule.maxRetries) return false;
  const delayMs = retryDelayMs(rule, retryCount, waveOf(taskId, retryCount));
  return lastAttemptAtMs + delayMs <= failedAtMs + ageMs;
}

export function fits(record: FailedDocumentRecord, filter: FailureFilter, rule: RetryRule): boolean {
  const same = (wanted: string | undefined, found: string): boolean =>
    wanted === undefined || wanted === found;
  return (
    same(filter.category, record.category) &&
    same(filter.fingerprint, record.fingerprint) &&
    same(filter.worker, record.workerId) &&
    same(filter.name, record.name) &&
    record.ageMs >= Math.floor(filter.minAgeMs ?? 0) &&
    record.ageMs <= Math.ceil(filter.maxAgeMs ?? Infinity) &&
    (filter.eligible === undefined || isDue(record, rule) === filter.eligible)
  );
}
