/** Recovery of failed documents as users see it: its options with their defaults, its filters, its reports. */
import { RecoveryError } from '../errors.js';
import { checkOptions, isBoolean, isFunction, isText, listOf, number, textUpTo } from './check-options.js';
import type { OptionChecks } from './check-options.js';
import type { StoredError } from './task.js';

/** How far a run is, after each attempt. */
export interface DocumentProgress {
  readonly taskId: string;
  readonly name: string;
  readonly outcome: string;
  /** Documents that were to be tried when the run began, at most: what `names` and a second filter leave out counts too. */
  readonly total: number;
  readonly attempted: number;
  readonly succeeded: number;
  readonly failed: number;
}

/** Options of document recovery. All workers of a namespace should give the same ones. */
export interface DocumentRecoveryConfig {
  /** Retries before a document is given up as a dead letter, 0 to 50. Default 3. */
  readonly maxRetries?: number | undefined;
  /** The shortest wait before a retry, in ms; twice as long for each retry before, plus up to half of it. Default 1 h. */
  readonly minRetryIntervalMs?: number | undefined;
  /** What the doubling stops at, in ms; the addition of up to half comes on top. Default 24 h, or the minimum if longer. */
  readonly maxRetryIntervalMs?: number | undefined;
  /** Documents that are looked up at a time, 1 to 1,000. Default 10. */
  readonly batchSize?: number | undefined;
  /** Documents that are retried at once, apart from recovered tasks. Default 10. */
  readonly concurrency?: number | undefined;
  /** Whether `start` goes on with a run each `recoveryIntervalMs`. Default true. */
  readonly periodic?: boolean | undefined;
  /** From the end of a run to the next one, in ms, give or take a tenth. Default 30 min. */
  readonly recoveryIntervalMs?: number | undefined;
  /** How long an attempt may take, in ms; then its signal aborts, and it has failed (`TASK_TIMED_OUT`). Default 300,000. */
  readonly attemptTimeoutMs?: number | undefined;
  /**
   * Documents that failed first longer ago, in ms, are removed with all that is kept of their tasks; what was put back or
   * reported anew counts from then. Default 7 days.
   */
  readonly retentionMs?: number | undefined;
  /** The same for dead letters, from when they were given up, in ms. Default 30 days. */
  readonly deadLetterRetentionMs?: number | undefined;
  /** Puts a failure into a category of your own; null, or an error thrown here, leaves it to the built-in ones. */
  readonly categorize?: ((error: StoredError) => string | null | undefined) | undefined;
  /** Hears of each attempt's end. What it throws is ignored. */
  readonly onProgress?: ((progress: DocumentProgress) => unknown) | undefined;
}

/** All options, with the defaults filled in. */
export interface DocumentSettings {
  readonly maxRetries: number;
  readonly minRetryIntervalMs: number;
  readonly maxRetryIntervalMs: number;
  readonly batchSize: number;
  readonly concurrency: number;
  readonly periodic: boolean;
  readonly recoveryIntervalMs: number;
  readonly attemptTimeoutMs: number;
  readonly retentionMs: number;
  readonly deadLetterRetentionMs: number;
  readonly categorize: ((error: StoredError) => unknown) | null;
  readonly onProgress: ((progress: DocumentProgress) => unknown) | null;
}

/** Categories and patterns of queries are cut to so many characters. */
export const LONGEST_LABEL = 128;

/** Retries that a document can have at most. */
export const MOST_RETRIES = 50;

const SECOND_MS = 1_000;
const HOUR_MS = 3_600 * SECOND_MS;
const DAY_MS = 24 * HOUR_MS;
const DECADE_MS = 3_660 * DAY_MS;

type NumberOption = {
  [K in keyof DocumentSettings]: DocumentSettings[K] extends number ? K : never;
}[keyof DocumentSettings];

const DURATION: readonly [number, number] = [1, DECADE_MS];
/** The lowest and the highest value of the options that are numbers. All are whole. */
export const DOCUMENT_LIMITS: Readonly<Record<NumberOption, readonly [number, number]>> = {
  maxRetries: [0, MOST_RETRIES],
  minRetryIntervalMs: DURATION,
  maxRetryIntervalMs: DURATION,
  batchSize: [1, 1_000],
  concurrency: [1, 10_000],
  recoveryIntervalMs: [10, DECADE_MS],
  attemptTimeoutMs: DURATION,
  retentionMs: DURATION,
  deadLetterRetentionMs: DURATION,
};
const CHECKS: OptionChecks = {
  ...Object.fromEntries(Object.entries(DOCUMENT_LIMITS).map(([name, limits]) => [name, number(...limits)])),
  periodic: isBoolean,
  categorize: isFunction,
  onProgress: isFunction,
};

/** The two that must agree, with their defaults. */
export function retryIntervalsOf(
  given: DocumentRecoveryConfig,
): Pick<DocumentSettings, 'minRetryIntervalMs' | 'maxRetryIntervalMs'> {
  const { minRetryIntervalMs = HOUR_MS } = given;
  const { maxRetryIntervalMs = Math.max(DAY_MS, minRetryIntervalMs) } = given;
  return { minRetryIntervalMs, maxRetryIntervalMs };
}

/** @throws `INVALID_OPTION` naming every option that is unknown, ill-typed or at odds with another */
export function documentSettingsOf(where: string, given: DocumentRecoveryConfig): DocumentSettings {
  checkOptions(where, given, CHECKS, []);
  const { minRetryIntervalMs, maxRetryIntervalMs } = retryIntervalsOf(given);
  if (maxRetryIntervalMs < minRetryIntervalMs) {
    throw new RecoveryError(
      'INVALID_OPTION',
      `${where}: "maxRetryIntervalMs" (${maxRetryIntervalMs}) is under "minRetryIntervalMs" (${minRetryIntervalMs}).`,
    );
  }
  return {
    maxRetries: given.maxRetries ?? 3,
    minRetryIntervalMs,
    maxRetryIntervalMs,
    batchSize: given.batchSize ?? 10,
    concurrency: given.concurrency ?? 10,
    periodic: given.periodic ?? true,
    recoveryIntervalMs: given.recoveryIntervalMs ?? HOUR_MS / 2,
    attemptTimeoutMs: given.attemptTimeoutMs ?? 300 * SECOND_MS,
    retentionMs: given.retentionMs ?? 7 * DAY_MS,
    deadLetterRetentionMs: given.deadLetterRetentionMs ?? 30 * DAY_MS,
    categorize: given.categorize ?? null,
    onProgress: given.onProgress ?? null,
  };
}

/** Which failures to redrive. */
export interface RedriveFilter {
  readonly fingerprint?: string;
  readonly category?: string;
  /**
   * Only documents whose task's code has another version here than the one they failed under, and than this one: a
   * redrive that waits for the deploy.
   */
  readonly afterVersion?: string;
}

/** What a run is to try. Without a redrive filter or ids: what is due. */
export interface DocumentFilter extends RedriveFilter {
  /** Only documents of these tasks. */
  readonly names?: readonly string[];
  /** These documents, due or not, dead letters too. */
  readonly taskIds?: readonly string[];
}

const REDRIVE_CHECKS: OptionChecks = {
  fingerprint: isText,
  category: textUpTo(LONGEST_LABEL),
  afterVersion: isText,
};
export const DOCUMENT_FILTER_CHECKS: OptionChecks = {
  ...REDRIVE_CHECKS,
  names: listOf(isText),
  taskIds: listOf(isText),
};

/** Whether it names documents, rather than what is due. */
export function isRedrive({ fingerprint, category, afterVersion, taskIds }: DocumentFilter): boolean {
  return [fingerprint, category, afterVersion, taskIds].some((value) => value !== undefined);
}

/** Figures about failed documents. */
export interface DocumentStatus {
  readonly total_failed_documents: number;
  /** Due now, by this worker's options. Those that the next run removes as too old count too. */
  readonly documents_eligible_for_retry: number;
  /** Of the total: given up. */
  readonly dead_letters: number;
  /** Retries so far, by all workers and by direct calls. */
  readonly recovery_attempts: number;
  readonly successful_recoveries: number;
  readonly failed_recoveries: number;
  /** Of those that have ended, 0 to 1; null before the first. */
  readonly recovery_success_rate: number | null;
  /** From the beginning of a successful retry to its end, in ms; null before the first. */
  readonly average_recovery_time: number | null;
  /** When the last run ended, anywhere, in ms since 1970 by the storage's clock; null before the first. */
  readonly last_recovery_run: number | null;
  /** Whether a run is under way in this process. */
  readonly running: boolean;
}

/** What the failures are about: how many of each kind. */
export interface FailureAnalysis {
  readonly total: number;
  /** By how long ago they failed first. */
  readonly ages: {
    readonly under_1_hour: number;
    readonly from_1_to_6_hours: number;
    readonly from_6_to_24_hours: number;
    readonly from_1_to_7_days: number;
    readonly over_7_days: number;
  };
  /** The most frequent first, here and below; names that are whole numbers come before all others. */
  readonly categories: Readonly<Record<string, number>>;
  readonly workers: Readonly<Record<string, number>>;
  /** By what is common to queries of a kind. */
  readonly query_patterns: Readonly<Record<string, number>>;
}
