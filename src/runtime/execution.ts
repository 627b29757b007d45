/** What a claimed task goes through before its function runs: its hooks, its stored input, and their doubts. */
import { isRecoveryError, messageOf, RecoveryError } from '../errors.js';
import { parseInput } from '../domain/schema.js';
import { toJsonText } from '../domain/json.js';
import type { Checkpoint, Plan, TaskSnapshot, ValidationEvidence } from '../domain/task.js';
import type { Attempt } from './attempt.js';
import type { Engine, Handler } from './engine.js';
import { planFor } from './snapshot.js';
import type { Found } from './snapshot.js';
import { watched } from './watching.js';
import { alertedError } from './task-errors.js';

interface Execution {
  readonly found: Found;
  readonly plan: Plan;
  readonly args: readonly unknown[];
}

/** Runs a claimed task to its end. */
export async function execute(
  engine: Engine,
  handler: Handler,
  attempt: Attempt,
  execution: Execution,
): Promise<unknown> {
  const { found, args } = execution;
  let { plan } = execution;
  // Durable before any user code runs, so that a crash before it is not charged to the task.
  const problem = await attempt.begin();
  if (problem !== null) return refuse(attempt, problem);
  let result: unknown;
  if (plan.action === 'validate') {
    const asked = await Promise.race([ask(handler, found.snapshot), stopOf(attempt)]);
    if (asked === null) return unanswered(attempt);
    if ('error' in asked.evidence) {
      const { taskId, name } = found.head.task;
      engine.emitter.alert('validate_failed', {
        task_id: taskId,
        name,
        ...alertedError(engine, asked.thrown),
      });
    }
    result = asked.result;
    plan = planFor(engine, handler, { ...found.snapshot, validation: asked.evidence });
    if (plan.action === 'restart') attempt.forget(found.head.checkpointSeq);
  }
  if (plan.action === 'complete') return attempt.complete(result);
  if (plan.action === 'fail' || plan.action === 'dead_letter') {
    const { taskId } = attempt;
    return attempt.fail(new RecoveryError('UNRECOVERABLE', plan.reason, { details: { taskId } }));
  }
  if (plan.action !== 'restart' && handler.migrate !== null) {
    const migrated = await Promise.race([migrate(engine, handler, attempt, found), stopOf(attempt)]);
    if (migrated === null) return unanswered(attempt);
    if (migrated.error !== null) return refuse(attempt, migrated.error);
  }
  const invoke = async (): Promise<unknown> => handler.invoke(attempt.context, await parsed(handler, args));
  return attempt.run(watched(engine, attempt, { found, plan }, invoke));
}

/** A hook has not answered, and the task is to be given back, ended or lost: `run` sees to that without the function. */
function unanswered(attempt: Attempt): Promise<unknown> {
  return attempt.run(() => undefined);
}

function refuse(attempt: Attempt, error: unknown): Promise<unknown> {
  return attempt.run(() => {
    throw error;
  });
}

/** The arguments as the function gets them. @throws `INPUT_INVALID` */
export async function parsed(
  { input, name }: Handler,
  args: readonly unknown[],
): Promise<readonly unknown[]> {
  return input === null ? args : [await parseInput(input, name, args[0])];
}

/** Resolves once the attempt is to stop. */
function stopOf(attempt: Attempt): Promise<null> {
  const signal = attempt.gate.signal();
  return new Promise((resolve) => {
    if (signal.aborted) resolve(null);
    else signal.addEventListener('abort', () => resolve(null), { once: true });
  });
}

async function ask(
  handler: Handler,
  snapshot: TaskSnapshot,
): Promise<{ evidence: ValidationEvidence; result: unknown; thrown?: unknown }> {
  try {
    const answer = await handler.validate?.(snapshot);
    if (typeof answer === 'object' && answer !== null && 'complete' in answer) {
      return { evidence: { answer: 'complete' }, result: answer.complete };
    }
    if (answer === 'complete' || answer === 'resume' || answer === 'restart' || answer === 'unrecoverable') {
      return { evidence: { answer }, result: undefined };
    }
    throw new TypeError('validate gave none of its four answers');
  } catch (thrown) {
    return { evidence: { error: messageOf(thrown) }, result: undefined, thrown };
  }
}

/** Makes what another version left fit for this one, where there is something and a function for it. */
async function migrate(
  engine: Engine,
  handler: Handler,
  attempt: Attempt,
  { head, snapshot, checkpoints: { explicit } }: Found,
): Promise<{ readonly error: unknown }> {
  if (handler.migrate === null || snapshot.versionChange === null || explicit === null)
    return { error: null };
  const { from, to } = snapshot.versionChange;
  try {
    const answer = await handler.migrate(explicit, from);
    attempt.journal.migrated(migratedOf(engine, explicit, answer, to));
    return { error: null };
  } catch (cause) {
    if (isRecoveryError(cause, 'UNRECOVERABLE')) return { error: cause };
    const error = new RecoveryError(
      'MIGRATION_FAILED',
      `Migrating the checkpoint of task "${head.task.taskId}" from version "${from}" to "${to}" failed: ${messageOf(cause)} The checkpoint is unchanged.`,
      { cause, details: { taskId: head.task.taskId, from, to } },
    );
    return { error };
  }
}

function migratedOf({ settings }: Engine, old: Checkpoint, answer: unknown, version: string): Checkpoint {
  if (typeof answer !== 'object' || answer === null)
    throw new TypeError('migrate must answer { recoverableData, databaseState }.');
  const recoverableData: unknown = Reflect.get(answer, 'recoverableData') ?? null;
  const databaseState: unknown = Reflect.get(answer, 'databaseState') ?? null;
  const limit = { what: 'what migrate answered', maxBytes: settings.limits.checkpointBytes };
  toJsonText([recoverableData, databaseState], limit);
  return { ...old, recoverableData, databaseState, version };
}
