/** All that is looked at before it is decided what becomes of a task. */
import { RecoveryError } from '../errors.js';
import { fromJsonText } from '../domain/json.js';
import type { CrashEvidence, OrphanCause, Plan, TaskSnapshot, VersionChange } from '../domain/task.js';
import type { ReadCheckpoints } from '../state/checkpoint-store.js';
import { decodeControl } from '../state/control.js';
import type { Control } from '../state/control.js';
import type { Head } from '../state/head.js';
import { keys } from '../state/keys.js';
import type { Engine, Handler } from './engine.js';
import type { Resume } from './journal.js';

/** A task that is free to take, with all that is needed to decide about it. */
export interface Found {
  readonly head: Head;
  readonly snapshot: TaskSnapshot;
  readonly checkpoints: ReadCheckpoints;
  readonly control: Control;
}

/** The JSON text of a task's arguments, wherever it is kept. @throws `CORRUPT_RECORD`, `CODEC_FAILED` */
export async function inputTextOf({ store }: Engine, head: Head): Promise<string> {
  const { taskId } = head.task;
  if (head.input !== null) return store.payloads.open(head.input, taskId, 'input');
  const { records } = await store.read(store.partitionOf(taskId), [keys.input(taskId)]);
  const text = records[0]?.get('data');
  if (text !== undefined) return store.payloads.open(text, taskId, 'input');
  throw new RecoveryError('CORRUPT_RECORD', `The input of task "${taskId}" is gone.`, {
    details: { taskId },
  });
}

/** @throws `CORRUPT_RECORD` */
export function argumentsOf(head: Head, inputText: string): readonly unknown[] {
  const args = fromJsonText(inputText, `the input of task "${head.task.taskId}"`);
  if (Array.isArray(args)) return args;
  throw new RecoveryError(
    'CORRUPT_RECORD',
    `The input of task "${head.task.taskId}" is no list of arguments.`,
  );
}

/**
 * Looks at everything that the planner may want to know.
 * @param charged the crashes, this one included if it counts
 * @param known what the control record says, when that was read just now
 */
export async function examine(
  engine: Engine,
  handler: Handler,
  head: Head,
  cause: OrphanCause,
  charged: readonly CrashEvidence[] = head.task.crashes,
  known: Control | null = null,
): Promise<Found> {
  const { store } = engine;
  const { taskId } = head.task;
  const partition = store.partitionOf(taskId);
  const nowMs = store.estimatedNowMs(partition);
  const [checkpoints, control] = await Promise.all([
    engine.checkpoints.newest(head),
    known ?? readControl(engine, taskId),
  ]);
  // Their owners have been heard of since, or are this very process: they had not died.
  const { incarnation } = engine.worker;
  const crashes = charged.filter(({ fence, owner }) => !control.lived.has(fence) && owner !== incarnation);
  const snapshot: TaskSnapshot = {
    task: head.task,
    cause,
    nowMs,
    crashes: Object.freeze(crashes),
    crashedAtMs: crashes.map(({ atMs }) => atMs),
    crashBudget: handler.crashBudget,
    checkpoint: checkpoints.explicit,
    automaticCheckpoint: checkpoints.automatic,
    corruptCheckpoints: checkpoints.corrupt,
    versionChange: versionChangeOf(handler, head, checkpoints),
    hasValidate: handler.validate !== null,
    validation: null,
  };
  return { head, snapshot, checkpoints, control };
}

async function readControl({ store }: Engine, taskId: string): Promise<Control> {
  const { records } = await store.read(store.partitionOf(taskId), [keys.control(taskId)]);
  return decodeControl(records[0]);
}

function versionChangeOf(
  { version: to, migrate, onVersionMismatch: policy }: Handler,
  { task }: Head,
  { explicit }: ReadCheckpoints,
): VersionChange | null {
  const from = explicit?.version ?? task.version;
  // Reported by hand: no version of the code has ever run it.
  const isNew = task.attempt === 0;
  return from === to || isNew ? null : { from, to, hasMigrate: migrate !== null, policy };
}

export function planFor(engine: Engine, handler: Handler, snapshot: TaskSnapshot): Plan {
  return engine.planner.plan(snapshot, handler.strategies ?? engine.planner.strategies);
}

/** What an attempt starts from under a plan. */
export function resumeOf({ head, checkpoints }: Found, plan: Plan): Resume {
  if (plan.action === 'restart') return { explicit: null, automatic: null, reached: new Set() };
  const { explicit, automatic } = checkpoints;
  const reached = new Set<string>();
  for (const [name, seq] of head.reached) {
    // What a corrupt checkpoint said is lost, and so is that it was reached.
    if (seq > head.checkpointBase && seq <= (explicit?.seq ?? 0)) reached.add(name);
  }
  if (explicit?.name) reached.add(explicit.name);
  return { explicit, automatic, reached };
}
