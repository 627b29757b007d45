/** Schemas of the answers: what the OpenAPI document is made from, and what tests hold the answers against. */
import * as z from 'zod';
import { TASK_STATUSES } from '../../domain/task.js';
import { count, listOf, schemaOf } from '../../schemas/fits.js';
import type { Shape } from '../../schemas/fits.js';
import { checkpointShape, recoveryEventSchema, taskAttemptSchema, taskShape } from '../../schemas/tasks.js';
import type {
  CancelAnswer,
  DetailedHealth,
  FailuresAnswer,
  GroupsAnswer,
  LiveAnswer,
  PlanAnswer,
  ProblemBody,
  ReadyAnswer,
  RedriveAnswer,
  RequeueAnswer,
  StatusAnswer,
  TaskAnswer,
  TasksAnswer,
  TriggerAnswer,
} from './answer-types.js';
import type { ShownCheckpoint, ShownError, ShownFailure, ShownGroup, ShownPlan, ShownTask } from './shown.js';

type Schema<T> = z.ZodType<T, T>;

export const problemSchema: Schema<ProblemBody> = schemaOf<ProblemBody>()(
  z.object({ error: z.object({ code: z.string(), message: z.string() }) }),
  true,
);

export const liveSchema: Schema<LiveAnswer> = schemaOf<LiveAnswer>()(
  z.object({ status: z.literal('live') }),
  true,
);

export const readySchema: Schema<ReadyAnswer> = schemaOf<ReadyAnswer>()(
  z.object({ status: z.enum(['ready', 'unavailable']) }),
  true,
);

const namedCheck: Schema<DetailedHealth['checks'][string]> = z.object({
  status: z.enum(['up', 'down']),
  counts: z.record(z.string(), z.number()).optional(),
});

export const detailedHealthSchema: Schema<DetailedHealth> = schemaOf<DetailedHealth>()(
  z.object({
    status: z.enum(['healthy', 'degraded', 'unhealthy']),
    checks: z.record(z.string(), namedCheck),
    timestamp: z.number(),
  }),
  true,
);

export const statusSchema: Schema<StatusAnswer> = schemaOf<StatusAnswer>()(
  z.object({ stalled: count, queued: count, processing: count, last_recovery_run: count.nullable() }),
  true,
);

const shownError: Schema<ShownError> = schemaOf<ShownError>()(
  z.object({ name: z.string(), code: z.string().nullable(), message: z.string().optional() }),
  true,
);

export const taskSchema: Schema<ShownTask> = schemaOf<ShownTask>()(
  z.object({ ...taskShape, error: shownError.nullable() }),
  true,
);

export const tasksSchema: Schema<TasksAnswer> = schemaOf<TasksAnswer>()(
  z.object({ tasks: listOf(taskSchema), next: z.string().nullable() }),
  true,
);

const checkpoint: Schema<ShownCheckpoint> = schemaOf<ShownCheckpoint>()(
  z.object({
    ...checkpointShape,
    recoverableData: z.unknown().optional(),
    databaseState: z.unknown().optional(),
  }),
  true,
);

const failureShape: Shape<Omit<ShownFailure, 'errorMessage' | 'frame' | 'query' | 'metadata'>> = {
  taskId: z.string().min(1),
  name: z.string().min(1),
  documentPath: z.string(),
  status: z.enum(TASK_STATUSES),
  errorName: z.string(),
  errorCode: z.string().nullable(),
  category: z.string(),
  fingerprint: z.string(),
  failedAtMs: count,
  lastAttemptAtMs: count,
  ageMs: count,
  retryCount: count,
  recoveryAttempts: count,
  workerId: z.string(),
  version: z.string(),
};

export const failureSchema: Schema<ShownFailure> = schemaOf<ShownFailure>()(
  z.object({
    ...failureShape,
    errorMessage: z.string().optional(),
    frame: z.string().nullable().optional(),
    query: z.unknown().optional(),
    metadata: z.unknown().optional(),
  }),
  true,
);

export const taskAnswerSchema: Schema<TaskAnswer> = schemaOf<TaskAnswer>()(
  z.object({
    task: taskSchema,
    failure: failureSchema.nullable(),
    checkpoints: listOf(checkpoint).nullable(),
    attempts: listOf(taskAttemptSchema),
    events: listOf(recoveryEventSchema),
    truncated: z.boolean(),
  }),
  true,
);

const plan: Schema<ShownPlan> = schemaOf<ShownPlan>()(
  z.object({
    taskId: z.string(),
    name: z.string(),
    decision: z.enum(['resume', 'restart', 'validate', 'complete', 'fail', 'dead_letter', 'skip']),
    reason: z.string(),
    strategy: z.string(),
    dispatched: z.boolean(),
    evidence: z.unknown().optional(),
  }),
  true,
);

export const planSchema: Schema<PlanAnswer> = schemaOf<PlanAnswer>()(
  z.object({ planned: listOf(plan), total: count }),
  true,
);

export const failuresSchema: Schema<FailuresAnswer> = schemaOf<FailuresAnswer>()(
  z.object({ documents: listOf(failureSchema), next: z.string().nullable() }),
  true,
);

const group: Schema<ShownGroup> = schemaOf<ShownGroup>()(
  z.object({
    fingerprint: z.string(),
    count,
    category: z.string(),
    errorName: z.string(),
    newestTaskId: z.string(),
    errorMessage: z.string().optional(),
    frame: z.string().nullable().optional(),
  }),
  true,
);

export const groupsSchema: Schema<GroupsAnswer> = schemaOf<GroupsAnswer>()(
  z.object({ groups: listOf(group), total: count }),
  true,
);

const outcome: Shape<TriggerAnswer> = {
  success: z.boolean(),
  finished: z.boolean(),
  recovered: count,
  failed: count,
  skipped: count.nullable(),
  deferred: count.nullable(),
  dead_lettered: count.nullable(),
};

export const triggerSchema: Schema<TriggerAnswer> = schemaOf<TriggerAnswer>()(z.object(outcome), true);

export const redriveSchema: Schema<RedriveAnswer> = schemaOf<RedriveAnswer>()(
  z.object({ ...outcome, found: count.nullable() }),
  true,
);

export const requeueSchema: Schema<RequeueAnswer> = schemaOf<RequeueAnswer>()(
  z.object({ success: z.literal(true), taskId: z.string() }),
  true,
);

export const cancelSchema: Schema<CancelAnswer> = schemaOf<CancelAnswer>()(
  z.object({
    success: z.boolean(),
    taskId: z.string(),
    outcome: z.enum(['cancelled', 'requested', 'ended']),
  }),
  true,
);
