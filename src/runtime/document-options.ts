/** How failed documents are retried: options, their checks and their defaults. */
import { checkOptions, isFunction, number } from '../domain/check-options.js';
import type { Check } from '../domain/check-options.js';
import type { Categorizer } from '../domain/error-category.js';
import { messageOf } from '../errors.js';
import { MOST_RETRIES } from '../state/failures.js';

/** What a run tells while it goes on. */
export interface DocumentProgress {
  /** Attempts that have ended in this run. */
  readonly attempted: number;
  readonly succeeded: number;
  readonly failed: number;
  /** The document whose attempt has just ended. */
  readonly taskId: string;
}

/** Options of `createRecovery({ documents })` and of `runDocumentRecovery`. */
export interface DocumentRecoveryConfig {
  /** Retries before a document becomes a dead letter, 0 to 50. Default 3. */
  readonly maxRetries?: number;
  /** The least wait before a retry, in ms; it doubles with each, plus up to half of it as jitter. Default 1 h. */
  readonly minRetryIntervalMs?: number;
  /** The longest wait before a retry, jitter aside, in ms. Default 24 h. */
  readonly maxRetryIntervalMs?: number;
  /** Documents looked up at a time. Default 10. */
  readonly batchSize?: number;
  /** Attempts at once. Default 5. */
  readonly concurrency?: number;
  /** Whether runs are repeated by themselves after `runStartupRecovery`. Default true. */
  readonly periodic?: boolean;
  /** The time between periodic runs, in ms. Default 30 min. */
  readonly recoveryIntervalMs?: number;
  /** How long one attempt may take, in ms: then its signal aborts, and it has failed. Default 300,000. */
  readonly attemptTimeoutMs?: number;
  /** How long a failure is kept, counted from when the document failed first, in ms. Default 7 days. */
  readonly retentionMs?: number;
  /** As `retentionMs`, for dead letters. Default 30 days. */
  readonly deadLetterRetentionMs?: number;
  /** Your own categories; null leaves an error to the built-in ones. */
  readonly categorize?: Categorizer;
  /** Told after each attempt. What it throws is ignored. */
  readonly onProgress?: (progress: DocumentProgress) => unknown;
}

/** All of them, with the defaults filled in. */
export type DocumentSettings = Required<Omit<DocumentRecoveryConfig, 'categorize' | 'onProgress'>> &
  Pick<DocumentRecoveryConfig, 'onProgress'>;

const MINUTE_MS = 60_000;
const DAY_MS = 24 * 60 * MINUTE_MS;
const YEARS_MS = 3_650 * DAY_MS;
const isBoolean: Check = (value) => (typeof value === 'boolean' ? null : 'must be true or false');

const CHECKS = {
  maxRetries: number(0, MOST_RETRIES),
  minRetryIntervalMs: number(1, YEARS_MS),
  maxRetryIntervalMs: number(1, YEARS_MS),
  batchSize: number(1, 1_000),
  concurrency: number(1, 10_000),
  periodic: isBoolean,
  recoveryIntervalMs: number(10, YEARS_MS),
  attemptTimeoutMs: number(1, YEARS_MS),
  retentionMs: number(1, YEARS_MS),
  deadLetterRetentionMs: number(1, YEARS_MS),
  categorize: isFunction,
  onProgress: isFunction,
};

/** @throws `INVALID_OPTION` naming every option that is unknown or ill-typed */
export function checkDocumentConfig(config: unknown): void {
  checkOptions('documents', config, CHECKS, []);
}

export const isDocumentConfig: Check = (value) => {
  try {
    checkDocumentConfig(value);
    return null;
  } catch (error) {
    return `is wrong: ${messageOf(error)}`;
  }
};

export function documentSettings(config: DocumentRecoveryConfig = {}): DocumentSettings {
  const { onProgress } = config;
  const minRetryIntervalMs = config.minRetryIntervalMs ?? 60 * MINUTE_MS;
  return {
    maxRetries: config.maxRetries ?? 3,
    minRetryIntervalMs,
    maxRetryIntervalMs: Math.max(minRetryIntervalMs, config.maxRetryIntervalMs ?? DAY_MS),
    batchSize: config.batchSize ?? 10,
    concurrency: config.concurrency ?? 5,
    periodic: config.periodic ?? true,
    recoveryIntervalMs: config.recoveryIntervalMs ?? 30 * MINUTE_MS,
    attemptTimeoutMs: config.attemptTimeoutMs ?? 5 * MINUTE_MS,
    retentionMs: config.retentionMs ?? 7 * DAY_MS,
    deadLetterRetentionMs: config.deadLetterRetentionMs ?? 30 * DAY_MS,
    ...(onProgress === undefined ? {} : { onProgress }),
  };
}
