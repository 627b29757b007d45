/** Health and metrics as `--json` prints them. */
import * as z from 'zod';
import type { HealthReport, RecoveryMetrics } from '../../src/domain/operations.js';
import { TASK_STATUSES } from '../../src/domain/task.js';
import { documentStatusSchema } from '../../src/schemas/index.js';

const count = z.int().min(0);
const time = z.int().min(0);
const text = z.string();
const percent = z.number().min(0).max(100).nullable();
const figure = z.number().min(0).nullable();
export const health: z.ZodType<HealthReport> = z.strictObject({
  overall_health: z.enum(['healthy', 'degraded', 'unhealthy']),
  reasons: z.array(
    z.strictObject({
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
      message: text,
      value: z.number().nullable(),
      threshold: z.number().nullable(),
    }),
  ),
  warnings: z.array(text),
  durability: text.nullable(),
  recovery_queue_depth: figure,
  recent_failure_count: figure,
  orphaned_task_count: figure,
  stuck_task_count: figure,
  processing_task_count: figure,
  oldest_processing_seconds: figure,
  recovery_success_rate_24h: percent,
  last_recovery_run: time.nullable(),
  checks: z.record(
    text,
    z.strictObject({ status: z.enum(['up', 'down']), error: text.nullable(), durationMs: z.number().min(0) }),
  ),
  timestamp: time,
});

export const metrics: z.ZodType<RecoveryMetrics> = z.strictObject({
  task_state_distribution: z.record(z.enum(TASK_STATUSES), count),
  recovery_success_rate_24h: percent,
  total_recovery_attempts_24h: count,
  successful_recoveries_24h: count,
  failed_recoveries_24h: count,
  average_recovery_time_seconds: figure,
  recent_failure_count: count,
  recovery_queue_depth: count,
  stuck_task_count: count,
  recovery_jobs_created: count,
  recovery_jobs_succeeded: count,
  recovery_jobs_failed: count,
  recovery_job_run_seconds: z.number().min(0),
  documents: documentStatusSchema,
  timestamp: time,
});
