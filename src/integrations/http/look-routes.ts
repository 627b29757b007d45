/** Admin routes that look, and change nothing. */
import type { Checkpoint } from '../../domain/task.js';
import { isRecoveryError } from '../../errors.js';
import type {
  FailuresAnswer,
  GroupsAnswer,
  PlanAnswer,
  StatusAnswer,
  TaskAnswer,
  TasksAnswer,
} from './answer-types.js';
import { jsonAnswer } from './answers.js';
import { Problem, unavailable } from './problems.js';
import { failuresQuery, pageQuery, queryOf, tasksQuery } from './requests.js';
import type { Asked, Route } from './route.js';
import { healthOf } from './shared-reads.js';
import {
  failuresSchema,
  groupsSchema,
  planSchema,
  statusSchema,
  taskAnswerSchema,
  tasksSchema,
} from './schemas.js';
import {
  shownAttempt,
  shownCheckpoint,
  shownEvent,
  shownFailure,
  shownGroup,
  shownPlan,
  shownTask,
} from './shown.js';

async function status({ recovery, settings }: Asked): Promise<Response> {
  const report = await healthOf(recovery, settings);
  const { stuck_task_count, recovery_queue_depth, processing_task_count, last_recovery_run } = report;
  if (stuck_task_count === null || recovery_queue_depth === null || processing_task_count === null)
    throw unavailable('STORAGE_UNAVAILABLE');
  const body: StatusAnswer = {
    stalled: stuck_task_count,
    queued: recovery_queue_depth,
    processing: processing_task_count,
    last_recovery_run,
  };
  return jsonAnswer(body);
}

async function tasks({ recovery, settings, query }: Asked): Promise<Response> {
  const page = await recovery.tasks.list({ limit: settings.pageSize, ...queryOf(query, tasksQuery) });
  const body: TasksAnswer = { tasks: page.tasks.map((each) => shownTask(settings, each)), next: page.next };
  return jsonAnswer(body);
}

/** The explicit ones, and before them the automatic one since; null when they can't be read here. */
async function checkpointsOf({ recovery, taskId }: Asked): Promise<Checkpoint[] | null> {
  try {
    const explicit = await recovery.checkpoints.list(taskId);
    const latest = await recovery.checkpoints.latest(taskId);
    return latest?.automatic === true ? [latest, ...explicit] : explicit;
  } catch (error) {
    if (isUnreadable(error)) return null;
    throw error;
  }
}

function isUnreadable(error: unknown): boolean {
  return isRecoveryError(error, 'CODEC_FAILED') || isRecoveryError(error, 'CORRUPT_RECORD');
}

async function task(asked: Asked): Promise<Response> {
  const { recovery, settings, taskId, query } = asked;
  const { limit = settings.pageSize } = queryOf(query, pageQuery);
  const found = await recovery.tasks.get(taskId);
  if (found === null) throw new Problem(404, 'TASK_NOT_FOUND', 'There is no such task.');
  const [failure, checkpoints, history] = await Promise.all([
    recovery.failures.get(taskId).catch((error: unknown) => {
      if (isUnreadable(error)) return null;
      throw error;
    }),
    checkpointsOf(asked),
    recovery.tasks.history(taskId),
  ]);
  const events = history.events.slice(-limit);
  const body: TaskAnswer = {
    task: shownTask(settings, found),
    failure: failure === null ? null : shownFailure(settings, failure),
    checkpoints: checkpoints?.map((each) => shownCheckpoint(settings, each)) ?? null,
    attempts: history.attempts.slice(-limit).map(shownAttempt),
    events: events.map((each) => shownEvent(settings, each)),
    truncated: history.truncated || events.length < history.events.length,
  };
  return jsonAnswer(body);
}

async function plan({ recovery, settings, query }: Asked): Promise<Response> {
  const { limit = settings.pageSize } = queryOf(query, pageQuery);
  const planned = await recovery.planRecovery();
  const shown = planned.slice(0, limit).map((each) => shownPlan(settings, each));
  const body: PlanAnswer = { planned: shown, total: planned.length };
  return jsonAnswer(body);
}

async function failures({ recovery, settings, query }: Asked): Promise<Response> {
  const filter = { limit: settings.pageSize, ...queryOf(query, failuresQuery) };
  const { documents, next } = await recovery.failures.list(filter);
  const body: FailuresAnswer = { documents: documents.map((each) => shownFailure(settings, each)), next };
  return jsonAnswer(body);
}

async function groups({ recovery, settings, query }: Asked): Promise<Response> {
  const { limit = settings.pageSize } = queryOf(query, pageQuery);
  const found = await recovery.failures.groups();
  const shown = found.slice(0, limit).map((each) => shownGroup(settings, each));
  const body: GroupsAnswer = { groups: shown, total: found.length };
  return jsonAnswer(body);
}

export const LOOK_ROUTES: readonly Route[] = [
  {
    method: 'GET',
    path: '/recovery/status',
    summary: 'How much is stalled, queued and processing.',
    answers: { 200: statusSchema },
    answer: status,
  },
  {
    method: 'GET',
    path: '/recovery/tasks',
    summary: 'A page of tasks.',
    query: tasksQuery,
    answers: { 200: tasksSchema },
    answer: tasks,
  },
  {
    method: 'GET',
    path: '/recovery/tasks/{taskId}',
    summary: 'A task with its failure, checkpoints, attempts and events.',
    query: pageQuery,
    answers: { 200: taskAnswerSchema },
    answer: task,
  },
  {
    method: 'GET',
    path: '/recovery/plan',
    summary: 'What recovery would do, with reasons. Changes nothing.',
    query: pageQuery,
    answers: { 200: planSchema },
    answer: plan,
  },
  {
    method: 'GET',
    path: '/recovery/failures',
    summary: 'A page of failed documents.',
    query: failuresQuery,
    answers: { 200: failuresSchema },
    answer: failures,
  },
  {
    method: 'GET',
    path: '/recovery/failures/groups',
    summary: 'Failed documents by reason, the largest group first.',
    query: pageQuery,
    answers: { 200: groupsSchema },
    answer: groups,
  },
];
