import { isRecoveryError, RecoveryError } from '../../errors.js';
import type { TaskAttempt, TaskHistory } from '../../domain/operations.js';
import type { Checkpoint, OrphanCause, Recovery, RecoveryErrorCode, TaskRecord } from '../../index.js';
import type { Command, Context } from '../context.js';
import type { Cell, Output } from '../output.js';
import { durationText, timeText } from '../text.js';
import { eventText } from './events.js';
import { itemsText } from './tasks.js';

export interface TaskOptions {
  readonly taskId: string;
  /** Whether the data of checkpoints is shown. */
  readonly data?: boolean;
}

type ShownCheckpoint = Omit<Checkpoint, 'recoverableData' | 'databaseState'> &
  Partial<Pick<Checkpoint, 'recoverableData' | 'databaseState'>>;

function shown(checkpoint: Checkpoint, withData: boolean): ShownCheckpoint {
  const { recoverableData, databaseState, ...rest } = checkpoint;
  return withData ? { ...rest, recoverableData, databaseState } : rest;
}

/** Causes to take a task back that tell of the death of its owner. */
const CRASHES: ReadonlySet<OrphanCause> = new Set(['lease_over', 'owner_dead', 'slot_taken_over'] as const);

/** Null where they can't be opened here: a codec is the module's. */
async function checkpointsOf(
  { session }: Context,
  { taskId, data = false }: TaskOptions,
): Promise<{ checkpoints: ShownCheckpoint[] | null; error: RecoveryErrorCode | null }> {
  try {
    const checkpoints = await session.recovery.checkpoints.list(taskId);
    return { checkpoints: checkpoints.map((each) => shown(each, data)), error: null };
  } catch (error) {
    if (!isRecoveryError(error, 'CODEC_FAILED') && !isRecoveryError(error, 'CORRUPT_RECORD')) throw error;
    return { checkpoints: null, error: error.code };
  }
}

function showTask(out: Output, task: TaskRecord): void {
  const { error, items } = task;
  const lease = task.leaseUntilMs === null ? [] : [['lease until', timeText(task.leaseUntilMs)] as const];
  const due = task.dueAtMs === null ? [] : [['due', timeText(task.dueAtMs)] as const];
  const stuck = task.stuckSinceMs === null ? [] : [['stuck since', timeText(task.stuckSinceMs)] as const];
  out.pairs([
    ['task', task.taskId],
    ['name', task.name],
    ['status', task.status],
    ['attempt', task.attempt],
    ['progress', `${task.progressPercent}%`],
    ['items', itemsText(items)],
    ['step', task.step],
    ['version', task.version],
    ['priority', task.priority],
    ['owner', task.owner],
    ['created', timeText(task.createdAtMs)],
    ['progress at', timeText(task.progressAtMs)],
    ['ended', timeText(task.endedAtMs)],
    ...lease,
    ...due,
    ...stuck,
    ['error', error === null ? null : `${error.name}: ${error.message}`],
  ]);
}

function showCrashes(out: Output, { crashes }: TaskRecord): void {
  if (crashes.length === 0) return;
  out.heading('Crashes');
  out.table(
    ['at', 'attempt', 'seen by', 'step', 'progress', 'ran', 'owner'],
    crashes.map(({ atMs, attempt, cause, step, progressPercent, ranMs, owner }): Cell[] => [
      timeText(atMs),
      attempt,
      cause,
      step,
      `${progressPercent}%`,
      durationText(ranMs),
      owner,
    ]),
  );
}

/** How an attempt without an end of its own ended, as what came behind it tells; null while it runs. */
function endOf({ end }: TaskAttempt, next: TaskAttempt | undefined, isOver: boolean): string | null {
  if (end !== null) return end;
  if (next === undefined) return isOver ? 'crashed' : null;
  return next.cause === null || CRASHES.has(next.cause) ? 'crashed' : 'lost';
}

/** Whether nobody runs the task: it is in another state, or its lease is over by the storage's clock. */
async function isOver(recovery: Recovery, { status, leaseUntilMs }: TaskRecord): Promise<boolean> {
  if (status !== 'processing' || leaseUntilMs === null) return true;
  return (await recovery.metrics()).timestamp >= leaseUntilMs;
}

function showHistory(out: Output, { attempts, events, truncated }: TaskHistory, over: boolean): void {
  out.heading('Attempts');
  out.table(
    ['attempt', 'started', 'cause', 'decision', 'end', 'ended', 'reason'],
    attempts.map((each, index): Cell[] => [
      each.attempt,
      timeText(each.startedAtMs),
      each.cause,
      each.decision,
      endOf(each, attempts[index + 1], over),
      timeText(each.endedAtMs),
      each.reason,
    ]),
  );
  out.heading('Events');
  if (truncated) out.line('Earlier events are no longer kept.');
  out.table(
    ['at', 'event', 'details'],
    events.map((event): Cell[] => [timeText(event.timestamp), event.event, eventText(event)]),
  );
}

function showCheckpoints(out: Output, checkpoints: readonly ShownCheckpoint[] | null, data: boolean): void {
  out.heading('Checkpoints');
  if (checkpoints === null) {
    out.line('They can not be read here. If a codec encodes them, look through your module: --import.');
    return;
  }
  out.table(
    ['number', 'name', 'progress', 'made', 'version', 'step', ...(data ? ['data', 'state'] : [])],
    checkpoints.map((each): Cell[] => [
      each.seq,
      each.name,
      `${each.progressPercent}%`,
      timeText(each.createdAtMs),
      each.version,
      each.stepDescription,
      ...(data ? [JSON.stringify(each.recoverableData), JSON.stringify(each.databaseState)] : []),
    ]),
  );
}

/** `rekindle task <id>` */
export const showOneTask: Command<TaskOptions> = async (context, options) => {
  const { session } = context;
  const { taskId, data = false } = options;
  const task = await session.recovery.tasks.get(taskId);
  if (task === null) {
    throw new RecoveryError('TASK_NOT_FOUND', `There is no task "${taskId}" in ${session.place}.`, {
      details: { taskId },
    });
  }
  const history = await session.recovery.tasks.history(taskId);
  const { checkpoints, error } = await checkpointsOf(context, options);
  const over = await isOver(session.recovery, task);
  return {
    value: { task, history, checkpoints, checkpointsError: error },
    show: (out) => {
      showTask(out, task);
      showCrashes(out, task);
      showHistory(out, history, over);
      showCheckpoints(out, checkpoints, data);
    },
  };
};
