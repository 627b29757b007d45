/** Schemas of failed documents, of their groups and figures, and of the options of their recovery. */
import * as z from 'zod';
import { DOCUMENT_LIMITS, retryIntervalsOf } from '../domain/document-recovery.js';
import type {
  DocumentProgress,
  DocumentRecoveryConfig,
  DocumentStatus,
  FailureAnalysis,
} from '../domain/document-recovery.js';
import type { FailedDocumentRecord, FailureGroup } from '../domain/failed-document.js';
import { TASK_STATUSES } from '../domain/task.js';
import type { StoredError } from '../domain/task.js';
import { count, schemaOf } from './fits.js';

/** A failed document, as `failures.get` and `failures.list` give it. */
export const failedDocumentSchema: z.ZodType<FailedDocumentRecord, FailedDocumentRecord> =
  schemaOf<FailedDocumentRecord>()(
    z.object({
      taskId: z.string().min(1),
      name: z.string().min(1),
      documentPath: z.string(),
      query: z.string().nullable(),
      status: z.enum(TASK_STATUSES),
      errorName: z.string(),
      errorMessage: z.string(),
      errorCode: z.string().nullable(),
      category: z.string(),
      fingerprint: z.string(),
      frame: z.string().nullable(),
      failedAtMs: count,
      lastAttemptAtMs: count,
      ageMs: count,
      retryCount: count,
      recoveryAttempts: count,
      workerId: z.string(),
      version: z.string(),
      metadata: z.unknown(),
    }),
    true,
  );

/** Failures of one reason, as `failures.groups` gives them. */
export const failureGroupSchema: z.ZodType<FailureGroup, FailureGroup> = schemaOf<FailureGroup>()(
  z.object({
    fingerprint: z.string(),
    count,
    category: z.string(),
    errorName: z.string(),
    errorMessage: z.string(),
    frame: z.string().nullable(),
    newestTaskId: z.string().min(1),
  }),
  true,
);

/** What `documents.getStatus` gives. */
export const documentStatusSchema: z.ZodType<DocumentStatus, DocumentStatus> = schemaOf<DocumentStatus>()(
  z.object({
    total_failed_documents: count,
    documents_eligible_for_retry: count,
    dead_letters: count,
    recovery_attempts: count,
    successful_recoveries: count,
    failed_recoveries: count,
    recovery_success_rate: z.number().min(0).max(1).nullable(),
    average_recovery_time: z.number().min(0).nullable(),
    last_recovery_run: count.nullable(),
    running: z.boolean(),
  }),
  true,
);

const counts = z.record(z.string(), count);

/** What `documents.analyze` gives. */
export const failureAnalysisSchema: z.ZodType<FailureAnalysis, FailureAnalysis> = schemaOf<FailureAnalysis>()(
  z.object({
    total: count,
    ages: z.object({
      under_1_hour: count,
      from_1_to_6_hours: count,
      from_6_to_24_hours: count,
      from_1_to_7_days: count,
      over_7_days: count,
    }),
    categories: counts,
    workers: counts,
    query_patterns: counts,
  }),
  true,
);

function whole(name: keyof typeof DOCUMENT_LIMITS): z.ZodOptional<z.ZodInt> {
  const [lowest, highest] = DOCUMENT_LIMITS[name];
  return z.int().min(lowest).max(highest).optional();
}

function callback<F>(): z.ZodOptional<z.ZodCustom<F, F>> {
  return z.custom<F>((value) => typeof value === 'function', 'must be a function').optional();
}

/**
 * The `documents` option of `createRecovery`, and the `config` of `runDocumentRecovery`: accepts what they accept,
 * unknown options not among it. Absent ones stay absent; the defaults are the library's to fill in.
 */
export const documentRecoveryConfigSchema: z.ZodType<DocumentRecoveryConfig, DocumentRecoveryConfig> =
  schemaOf<DocumentRecoveryConfig>()(
    z
      .strictObject({
        maxRetries: whole('maxRetries'),
        minRetryIntervalMs: whole('minRetryIntervalMs'),
        maxRetryIntervalMs: whole('maxRetryIntervalMs'),
        batchSize: whole('batchSize'),
        concurrency: whole('concurrency'),
        periodic: z.boolean().optional(),
        recoveryIntervalMs: whole('recoveryIntervalMs'),
        attemptTimeoutMs: whole('attemptTimeoutMs'),
        retentionMs: whole('retentionMs'),
        deadLetterRetentionMs: whole('deadLetterRetentionMs'),
        categorize: callback<(error: StoredError) => string | null | undefined>(),
        onProgress: callback<(progress: DocumentProgress) => unknown>(),
      })
      .refine(
        (config) => {
          const { minRetryIntervalMs, maxRetryIntervalMs } = retryIntervalsOf(config);
          return minRetryIntervalMs <= maxRetryIntervalMs;
        },
        { path: ['maxRetryIntervalMs'], message: 'is under "minRetryIntervalMs"' },
      ),
    true,
  );
