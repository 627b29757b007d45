/** What `--json` prints. Strict: a field that is not documented here is an error. */
import * as z from 'zod';
import { RECOVERY_EVENT_TYPES } from '../../src/domain/events.js';
import type {
  CleanupReport,
  HealthReport,
  RecoveryMetrics,
  TaskHistory,
} from '../../src/domain/operations.js';
import { TASK_STATUSES } from '../../src/domain/task.js';
import type {
  CancelOutcome,
  Checkpoint,
  DocumentRecoveryReport,
  FailureGroup,
  FailurePage,
  PlannedRecovery,
  RecoveryEvent,
  RecoveryReport,
  TaskPage,
  TaskRecord,
} from '../../src/index.js';
import type { Finding } from '../../src/cli/commands/doctor.js';
import { failedDocumentSchema, failureGroupSchema } from '../../src/schemas/index.js';
import { health, metrics } from './schemas-figures.js';

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
  crashes: z.array(
    z.strictObject({
      atMs: time,
      owner: text.nullable(),
      fence: count,
      attempt: count,
      cause,
      step: text.nullable(),
      progressPercent: z.number(),
      ranMs: z.number(),
      suspects: count.nullable(),
    }),
  ),
  crashedAtMs: z.array(time),
  orphanCause: cause.nullable(),
  items,
  error: z.strictObject({ name: text, message: text, code: text.nullable() }).nullable(),
});

export const event: z.ZodType<RecoveryEvent> = z.strictObject({
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
  released: count,
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

type Recovered =
  | { readonly kind: 'tasks'; readonly report: RecoveryReport }
  | { readonly kind: 'documents'; readonly report: DocumentRecoveryReport };

type CheckpointData = 'recoverableData' | 'databaseState';

interface Documents {
  readonly status: z.ZodType<{ readonly health: HealthReport; readonly metrics: RecoveryMetrics }>;
  readonly tasks: z.ZodType<TaskPage>;
  readonly task: z.ZodType<{
    readonly task: TaskRecord;
    readonly history: TaskHistory;
    readonly checkpoints: readonly Omit<Checkpoint, CheckpointData>[] | null;
    readonly checkpointsError: 'CODEC_FAILED' | 'CORRUPT_RECORD' | null;
  }>;
  readonly taskWithData: z.ZodType<{ readonly checkpoints: readonly Checkpoint[] | null }>;
  readonly plan: z.ZodType<{ readonly tasks: readonly PlannedRecovery[] }>;
  readonly recover: z.ZodType<Recovered>;
  readonly redrive: z.ZodType<
    | Recovered
    | {
        readonly kind: 'requeued';
        readonly fingerprint: string;
        readonly found: number;
        readonly requeued: number;
      }
  >;
  readonly failures: z.ZodType<FailurePage>;
  readonly groups: z.ZodType<{ readonly groups: readonly FailureGroup[] }>;
  readonly requeue: z.ZodType<{ readonly taskId: string; readonly requeued: true }>;
  readonly cancel: z.ZodType<{ readonly taskId: string; readonly outcome: CancelOutcome }>;
  readonly cleanup: z.ZodType<CleanupReport>;
  readonly doctor: z.ZodType<{ readonly healthy: boolean; readonly findings: readonly Finding[] }>;
}

/** One document a command. */
export const documents: Documents = {
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
        dispatched: z.boolean(),
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
    refused: count,
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
};

/** On stderr, when a command fails. */
export const failure: z.ZodType<{ readonly error: { readonly code: string; readonly message: string } }> =
  z.strictObject({ error: z.strictObject({ code: text, message: text }) });
