/** What `--json` prints. Strict: a field that is not documented here is an error. */
import * as z from 'zod';
import { RECOVERY_EVENT_TYPES } from '../../src/domain/events.js';
import { TASK_STATUSES } from '../../src/domain/task.js';
import { documentStatusSchema, failedDocumentSchema, failureGroupSchema } from '../../src/schemas/index.js';

const count = z.int().min(0);
const time = z.int().min(0);
const text = z.string();
const cause = z.enum([
  'lease_over',
  'owner_dead',
  'slot_taken_over',
  'released',
  'own',
  'retried',
  'retry_due',
  'requeued',
]);
const action = z.enum(['resume', 'restart', 'validate', 'complete', 'fail', 'dead_letter', 'skip']);
const items = z.strictObject({ done: count, total: count }).nullable();

const task = z.strictObject({
  taskId: text,
  name: text,
  status: z.enum(TASK_STATUSES),
  priority: z.int().min(0).max(10),
  version: text,
  attempt: count,
  errorCount: count,
  fence: count,
  owner: text.nullable(),
  dueAtMs: time.nullable(),
  leaseUntilMs: time.nullable(),
  progressPercent: z.number().min(0).max(100),
  step: text.nullable(),
  description: text.nullable(),
  createdAtMs: time,
  progressAtMs: time,
  endedAtMs: time.nullable(),
  stuckSinceMs: time.nullable(),
  crashes: z.array(z.looseObject({ atMs: time, attempt: count, cause })),
  crashedAtMs: z.array(time),
  orphanCause: cause.nullable(),
  items,
  error: z.strictObject({ name: text, message: text, code: text.nullable() }).nullable(),
});

export const event = z.strictObject({
  event: z.enum(RECOVERY_EVENT_TYPES),
  task_id: text.nullable(),
  name: text.nullable(),
  timestamp: time,
  recovery: z.boolean(),
  seq: count.nullable(),
  cursor: text.nullable(),
  details: z.record(text, text),
});

const checkpoint = {
  name: text.nullable(),
  seq: count,
  automatic: z.boolean(),
  progressPercent: z.number().min(0).max(100),
  stepDescription: text.nullable(),
  createdAtMs: time,
  version: text,
};

const history = z.strictObject({
  attempts: z.array(
    z.strictObject({
      attempt: count,
      startedAtMs: time,
      cause: cause.nullable(),
      decision: action.nullable(),
      reason: text.nullable(),
      end: z.enum(RECOVERY_EVENT_TYPES).nullable(),
      endedAtMs: time.nullable(),
    }),
  ),
  events: z.array(event),
  truncated: z.boolean(),
});

const taskReport = z.strictObject({
  taskId: text,
  name: text,
  decision: action,
  reason: text,
  outcome: z.enum([
    'completed',
    'failed',
    'cancelled',
    'dead_letter',
    'deferred',
    'released',
    'lost',
    'skipped',
  ]),
  items,
  error: text.nullable(),
});

const tasksReport = z.strictObject({
  discovered: count,
  recovered: count,
  failed: count,
  skipped: count,
  deferred: count,
  deadLettered: count,
  stuck: count,
  durationMs: count,
  tasks: z.array(taskReport),
});

const documentsReport = z.strictObject({
  found: count,
  attempted: count,
  succeeded: count,
  failed: count,
  skipped: count,
  deadLettered: count,
  expired: count,
  durationMs: count,
  tasks: z.array(taskReport),
});

const recovered = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('tasks'), report: tasksReport }),
  z.strictObject({ kind: z.literal('documents'), report: documentsReport }),
]);

const percent = z.number().min(0).max(100).nullable();
const figure = z.number().min(0).nullable();
const health = z.strictObject({
  overall_health: z.enum(['healthy', 'degraded', 'unhealthy']),
  reasons: z.array(
    z.strictObject({
      code: text,
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

const metrics = z.strictObject({
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

/** One document a command. */
export const documents = {
  status: z.strictObject({ health, metrics }),
  tasks: z.strictObject({ tasks: z.array(task), next: text.nullable() }),
  task: z.strictObject({
    task,
    history,
    checkpoints: z.array(z.strictObject(checkpoint)).nullable(),
    checkpointsError: z.enum(['CODEC_FAILED', 'CORRUPT_RECORD']).nullable(),
  }),
  taskWithData: z.looseObject({
    checkpoints: z
      .array(z.strictObject({ ...checkpoint, recoverableData: z.json(), databaseState: z.json() }))
      .nullable(),
  }),
  plan: z.strictObject({
    tasks: z.array(
      z.strictObject({
        taskId: text,
        name: text,
        decision: action,
        reason: text,
        evidence: z.record(text, z.json()),
        strategy: text,
      }),
    ),
  }),
  recover: recovered,
  redrive: z.union([
    recovered,
    z.strictObject({ kind: z.literal('requeued'), fingerprint: text, found: count, requeued: count }),
  ]),
  failures: z.strictObject({ documents: z.array(failedDocumentSchema), next: text.nullable() }),
  groups: z.strictObject({ groups: z.array(failureGroupSchema) }),
  requeue: z.strictObject({ taskId: text, requeued: z.literal(true) }),
  cancel: z.strictObject({ taskId: text, outcome: z.enum(['cancelled', 'requested', 'ended']) }),
  cleanup: z.strictObject({
    completed: count,
    cancelled: count,
    failed: count,
    dead_letter: count,
    counters: count,
    more: z.boolean(),
    durationMs: z.number().min(0),
  }),
  doctor: z.strictObject({
    healthy: z.boolean(),
    findings: z.array(
      z.strictObject({
        check: z.enum([
          'connection',
          'health',
          'settings',
          'clock',
          'indexes',
          'stuck',
          'quarantined',
          'unclaimed',
        ]),
        status: z.enum(['ok', 'warning', 'serious', 'skipped']),
        message: text,
        advice: text.nullable(),
      }),
    ),
  }),
} as const;

/** On stderr, when a command fails. */
export const failure = z.strictObject({ error: z.strictObject({ code: text, message: text }) });
