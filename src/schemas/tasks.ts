/** Schemas of tasks, of what is kept of them, and of what happened to them. */
import * as z from 'zod';
import { RECOVERY_EVENT_TYPES } from '../domain/events.js';
import type { RecoveryEvent } from '../domain/events.js';
import type { TaskAttempt, TaskHistory } from '../domain/operations.js';
import { ORPHAN_CAUSES, TASK_STATUSES } from '../domain/task.js';
import type { Checkpoint, CrashEvidence, OrphanCause, StoredError, TaskRecord } from '../domain/task.js';
import { count, listOf, percent, schemaOf } from './fits.js';
import type { Shape } from './fits.js';

const cause: z.ZodType<OrphanCause, OrphanCause> = schemaOf<OrphanCause>()(z.enum(ORPHAN_CAUSES), true);

const crash: z.ZodType<CrashEvidence, CrashEvidence> = schemaOf<CrashEvidence>()(
  z.object({
    atMs: count,
    owner: z.string().nullable(),
    fence: count,
    attempt: count,
    cause,
    step: z.string().nullable(),
    progressPercent: percent,
    ranMs: z.number(),
    suspects: count.nullable(),
  }),
  true,
);

const storedError: z.ZodType<StoredError, StoredError> = schemaOf<StoredError>()(
  z.object({ name: z.string(), message: z.string(), code: z.string().nullable() }),
  true,
);

/** A task but for its error, whose message is not for everybody. */
export const taskShape: Shape<Omit<TaskRecord, 'error'>> = {
  taskId: z.string().min(1),
  name: z.string().min(1),
  status: z.enum(TASK_STATUSES),
  priority: z.number(),
  version: z.string(),
  attempt: count,
  errorCount: count,
  fence: count,
  owner: z.string().nullable(),
  leaseUntilMs: z.number().nullable(),
  dueAtMs: z.number().nullable(),
  progressPercent: percent,
  step: z.string().nullable(),
  description: z.string().nullable(),
  createdAtMs: count,
  progressAtMs: count,
  endedAtMs: count.nullable(),
  stuckSinceMs: count.nullable(),
  crashes: listOf(crash),
  crashedAtMs: listOf(count),
  orphanCause: cause.nullable(),
  items: z.object({ done: count, total: count }).nullable(),
};

/** A task, as `tasks.get` and `tasks.list` give it. */
export const taskRecordSchema: z.ZodType<TaskRecord, TaskRecord> = schemaOf<TaskRecord>()(
  z.object({ ...taskShape, error: storedError.nullable() }),
  true,
);

/** A checkpoint but for what its author put into it. */
export const checkpointShape: Shape<Omit<Checkpoint, 'recoverableData' | 'databaseState'>> = {
  name: z.string().nullable(),
  seq: count,
  automatic: z.boolean(),
  progressPercent: percent,
  stepDescription: z.string().nullable(),
  createdAtMs: count,
  version: z.string(),
};

/** A checkpoint, as `checkpoints.latest` and `checkpoints.list` give it. */
export const checkpointSchema: z.ZodType<Checkpoint, Checkpoint> = schemaOf<Checkpoint>()(
  z.object({ ...checkpointShape, recoverableData: z.unknown(), databaseState: z.unknown() }),
  true,
);

/** An event, as `events` and `on` give it. */
export const recoveryEventSchema: z.ZodType<RecoveryEvent, RecoveryEvent> = schemaOf<RecoveryEvent>()(
  z.object({
    event: z.enum(RECOVERY_EVENT_TYPES),
    task_id: z.string().nullable(),
    name: z.string().nullable(),
    timestamp: z.number(),
    recovery: z.boolean(),
    seq: count.nullable(),
    cursor: z.string().nullable(),
    details: z.record(z.string(), z.string()),
  }),
  true,
);

/** An attempt of a task, as its events tell. */
export const taskAttemptSchema: z.ZodType<TaskAttempt, TaskAttempt> = schemaOf<TaskAttempt>()(
  z.object({
    attempt: count,
    startedAtMs: count,
    cause: cause.nullable(),
    decision: z.enum(['resume', 'restart', 'validate', 'complete', 'fail', 'dead_letter', 'skip']).nullable(),
    reason: z.string().nullable(),
    end: z.enum(RECOVERY_EVENT_TYPES).nullable(),
    endedAtMs: count.nullable(),
  }),
  true,
);

/** What `tasks.history` gives. */
export const taskHistorySchema: z.ZodType<TaskHistory, TaskHistory> = schemaOf<TaskHistory>()(
  z.object({
    attempts: listOf(taskAttemptSchema),
    events: listOf(recoveryEventSchema),
    truncated: z.boolean(),
  }),
  true,
);
