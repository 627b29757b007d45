/** Schemas of what operators see of a namespace. */
import * as z from 'zod';
import type { CheckResult, HealthReason, HealthReport, RecoveryMetrics } from '../domain/operations.js';
import type { TaskStatus } from '../domain/task.js';
import { documentStatusSchema } from './documents.js';
import { count, listOf, percent, schemaOf } from './fits.js';

const reason: z.ZodType<HealthReason, HealthReason> = schemaOf<HealthReason>()(
  z.object({
    code: z.enum([
      'stalled',
      'processing',
      'queue',
      'oldest_processing',
      'success_rate',
      'no_worker',
      'storage_unavailable',
      'check_failed',
      'worker_stopped',
    ]),
    severity: z.enum(['degraded', 'unhealthy']),
    message: z.string(),
    value: z.number().nullable(),
    threshold: z.number().nullable(),
  }),
  true,
);

const check: z.ZodType<CheckResult, CheckResult> = schemaOf<CheckResult>()(
  z.object({
    status: z.enum(['up', 'down']),
    error: z.string().nullable(),
    durationMs: z.number().min(0),
    counts: z.object({ waiting: count, active: count, failed: count }).readonly().optional(),
  }),
  true,
);

/** What `recovery.health` gives, and `GET /health/recovery` answers. */
export const healthReportSchema: z.ZodType<HealthReport, HealthReport> = schemaOf<HealthReport>()(
  z.object({
    overall_health: z.enum(['healthy', 'degraded', 'unhealthy']),
    reasons: listOf(reason),
    warnings: listOf(z.string()),
    durability: z.string().nullable(),
    recovery_queue_depth: count.nullable(),
    recent_failure_count: count.nullable(),
    orphaned_task_count: count.nullable(),
    stuck_task_count: count.nullable(),
    processing_task_count: count.nullable(),
    oldest_processing_seconds: z.number().min(0).nullable(),
    recovery_success_rate_24h: percent.nullable(),
    last_recovery_run: count.nullable(),
    checks: z.record(z.string(), check),
    timestamp: z.number(),
  }),
  true,
);

const taskCounts: z.ZodType<
  Readonly<Record<TaskStatus, number>>,
  Readonly<Record<TaskStatus, number>>
> = schemaOf<Readonly<Record<TaskStatus, number>>>()(
  z.object({
    pending: count,
    processing: count,
    orphaned: count,
    completed: count,
    failed: count,
    cancelled: count,
    dead_letter: count,
  }),
  true,
);

/** What `recovery.metrics` gives, and `GET /health/recovery/metrics` answers. */
export const recoveryMetricsSchema: z.ZodType<RecoveryMetrics, RecoveryMetrics> = schemaOf<RecoveryMetrics>()(
  z.object({
    task_state_distribution: taskCounts,
    recovery_success_rate_24h: percent.nullable(),
    total_recovery_attempts_24h: count,
    successful_recoveries_24h: count,
    failed_recoveries_24h: count,
    average_recovery_time_seconds: z.number().min(0).nullable(),
    recent_failure_count: count,
    recovery_queue_depth: count,
    stuck_task_count: count,
    recovery_jobs_created: count,
    recovery_jobs_succeeded: count,
    recovery_jobs_failed: count,
    recovery_job_run_seconds: z.number().min(0),
    documents: documentStatusSchema,
    timestamp: z.number(),
  }),
  true,
);
