/** From a task that is free to take to a running attempt: snapshot, plan, claim, run. Not claimed means not run. */
import { isRecoveryError, messageOf, RecoveryError } from '../errors.js';
import { fromJsonText } from '../domain/json.js';
import type { OrphanCause, Plan, StoredError, TaskSnapshot, ValidationEvidence } from '../domain/task.js';
import type { ReadCheckpoints } from '../state/checkpoint-store.js';
import type { Head } from '../state/head.js';
import { keys } from '../state/keys.js';
import { refusalError } from '../state/record-writer.js';
import { localEvent } from '../state/task-events.js';
import { claimBatch, deadLetterBatch } from '../state/transitions.js';
import { Attempt } from './attempt.js';
import type { DiscoverHook } from './pieces.js';
import type { Engine, Handler } from './engine.js';
import { notAfter } from './engine.js';
import type { Resume } from './journal.js';

/** Causes that mean that the owner died with the task in its hands. */
const CRASHES: ReadonlySet<OrphanCause> = new Set(['lease_over', 'owner_dead', 'slot_taken_over']);

/** A task that is free to take, with all that is needed to decide about it. */
export interface Found {
  readonly head: Head;
  readonly snapshot: TaskSnapshot;
  readonly checkpoints: ReadCheckpoints;
}

/** What a claim came to. */
export type ClaimResult =
  | { readonly kind: 'lost' }
  | { readonly kind: 'skipped' | 'dead_letter'; readonly plan: Plan }
  | {
      readonly kind: 'started';
      readonly plan: Plan;
      readonly result: Promise<unknown>;
      readonly inputText: string;
    };

/** The JSON text of a task's arguments, wherever it is kept. @throws `CORRUPT_RECORD` */
export async function inputTextOf({ store }: Engine, head: Head): Promise<string> {
  if (head.input !== null) return head.input;
  const { taskId } = head.task;
  const { records } = await store.read(store.partitionOf(taskId), [keys.input(taskId)]);
  const text = records[0]?.get('data');
  if (text !== undefined) return text;
  throw new RecoveryError('CORRUPT_RECORD', `The input of task "${taskId}" is gone.`, {
    details: { taskId },
  });
}

/** Looks at everything that the planner may want to know. */
export async function examine(
  engine: Engine,
  handler: Handler,
  head: Head,
  cause: OrphanCause,
): Promise<Found> {
  const nowMs = engine.store.estimatedNowMs(engine.store.partitionOf(head.task.taskId));
  const checkpoints = await engine.checkpoints.newest(head);
  const { crashedAtMs } = head.task;
  const snapshot: TaskSnapshot = {
    task: head.task,
    cause,
    nowMs,
    crashedAtMs: CRASHES.has(cause) ? [...crashedAtMs, nowMs] : crashedAtMs,
    crashBudget: handler.crashBudget,
    checkpoint: checkpoints.explicit,
    automaticCheckpoint: checkpoints.automatic,
    corruptCheckpoints: checkpoints.corrupt,
    hasValidate: handler.validate !== null,
    validation: null,
  };
  return { head, snapshot, checkpoints };
}

export function planFor(engine: Engine, handler: Handler, snapshot: TaskSnapshot): Plan {
  return engine.planner.plan(snapshot, handler.strategies ?? engine.planner.strategies);
}

/** Decides, claims and starts. The caller has reserved the task's id in `flights`. */
export async function claim(
  engine: Engine,
  handler: Handler,
  head: Head,
  cause: OrphanCause,
): Promise<ClaimResult> {
  const inputText = await inputTextOf(engine, head);
  const args = argumentsOf(head, inputText);
  const found = await examine(engine, handler, head, cause);
  const plan = planFor(engine, handler, found.snapshot);
  if (plan.action === 'skip') return { kind: 'skipped', plan };
  if (plan.action === 'dead_letter') {
    return (await giveUp(engine, found, plan)) ? { kind: 'dead_letter', plan } : { kind: 'lost' };
  }
  const attempt = await take(engine, handler, found, plan, args);
  if (attempt === null) return { kind: 'lost' };
  if (found.checkpoints.corrupt > 0) {
    const { taskId, name } = head.task;
    engine.emitter.alert('corrupt_checkpoint', {
      task_id: taskId,
      name,
      count: String(found.checkpoints.corrupt),
    });
  }
  return {
    kind: 'started',
    plan,
    result: execute(engine, handler, attempt, { found, plan, args }),
    inputText,
  };
}

function argumentsOf(head: Head, inputText: string): readonly unknown[] {
  const args = fromJsonText(inputText, `the input of task "${head.task.taskId}"`);
  if (Array.isArray(args)) return args;
  throw new RecoveryError(
    'CORRUPT_RECORD',
    `The input of task "${head.task.taskId}" is no list of arguments.`,
  );
}

function resumeOf({ head, checkpoints }: Found, plan: Plan): Resume {
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

async function take(
  engine: Engine,
  handler: Handler,
  found: Found,
  plan: Plan,
  args: readonly unknown[],
): Promise<Attempt | null> {
  const { head, snapshot } = found;
  const { taskId, name, priority, attempt } = head.task;
  const { settings, worker, clock, random } = engine;
  const partition = engine.store.partitionOf(taskId);
  const fence = nextFence(engine, head);
  const nonce = random.nonce();
  const resume = resumeOf(found, plan);
  const { leaseMs } = settings;
  const owner = worker.incarnation;
  const batch = claimBatch(
    {
      head,
      cause: snapshot.cause,
      plan,
      crashedAtMs: snapshot.crashedAtMs,
      resumeSeq: resume.explicit?.seq ?? null,
      resumeName: resume.explicit?.name ?? null,
      resumePercent: resume.automatic?.progressPercent ?? resume.explicit?.progressPercent ?? 0,
    },
    { owner, leaseMs, fence, nonce, notAfter: notAfter(engine, partition) },
  );
  const sentMs = clock.monotonicMs();
  if (!(await commitClaim(engine, partition, batch))) return null;
  const live = {
    taskId,
    name,
    priority,
    attempt: attempt + 1,
    recovered: true,
    owner,
    leaseMs,
    eventSeq: head.eventSeq + batch.append.length,
    checkpointSeq: head.checkpointSeq,
    hasAutomatic: head.automatic !== null && plan.action !== 'restart',
  };
  const pieces = { kept: head.pieces, discover: discoverWith(handler, args) };
  return new Attempt(engine, handler, { live, partition, fence, nonce, sentMs, resume, ...pieces });
}

/** Whether the claim won. */
async function commitClaim(
  { queue, worker, emitter }: Engine,
  partition: string,
  batch: ReturnType<typeof claimBatch>,
): Promise<boolean> {
  const { outcome, nowMs } = await queue.commit(partition, batch).catch((error: unknown) => {
    // It may have been applied all the same; a later sweep takes it back then.
    worker.mayHoldLost = true;
    throw error;
  });
  if (outcome.status === 'conflict' || outcome.status === 'expired') return false;
  if (outcome.status === 'refused') throw refusalError(outcome);
  for (const event of batch.append) emitter.emit(localEvent(event, nowMs));
  return true;
}

function discoverWith({ discover }: Handler, args: readonly unknown[]): DiscoverHook | null {
  return discover === null ? null : async (map, keys) => discover(map, keys, args);
}

/** One above the last; above what this process has held, too, if the storage went back in time. */
function nextFence({ fences, emitter }: Engine, { task: { taskId, name, fence } }: Head): number {
  const held = fences.highest(taskId);
  if (fence < held) emitter.alert('storage_rolled_back', { task_id: taskId, name });
  return Math.max(fence, held) + 1;
}

async function giveUp(engine: Engine, { head, snapshot }: Found, plan: Plan): Promise<boolean> {
  const { taskId } = head.task;
  const partition = engine.store.partitionOf(taskId);
  const error: StoredError = { name: 'RecoveryError', message: plan.reason, code: 'TASK_DEAD_LETTER' };
  const batch = deadLetterBatch(head, {
    plan,
    crashedAtMs: snapshot.crashedAtMs,
    error,
    nonce: engine.random.nonce(),
    notAfter: notAfter(engine, partition),
  });
  const { outcome, nowMs } = await engine.queue.commit(partition, batch);
  if (outcome.status === 'conflict' || outcome.status === 'expired') return false;
  if (outcome.status === 'refused') throw refusalError(outcome);
  for (const event of batch.append) engine.emitter.emit(localEvent(event, nowMs));
  return true;
}

interface Execution {
  readonly found: Found;
  readonly plan: Plan;
  readonly args: readonly unknown[];
}

async function execute(
  engine: Engine,
  handler: Handler,
  attempt: Attempt,
  execution: Execution,
): Promise<unknown> {
  const { found, args } = execution;
  let { plan } = execution;
  let result: unknown;
  if (plan.action === 'validate') {
    const asked = await Promise.race([ask(handler, found.snapshot), stopOf(attempt)]);
    // It never answered, and the task is to be given back, or lost: `run` sees to that without the function.
    if (asked === null) return attempt.run(() => undefined);
    if ('error' in asked.evidence) {
      const { taskId, name } = found.head.task;
      engine.emitter.alert('validate_failed', { task_id: taskId, name, reason: asked.evidence.error });
    }
    result = asked.result;
    plan = planFor(engine, handler, { ...found.snapshot, validation: asked.evidence });
    if (plan.action === 'restart') attempt.forget(found.head.checkpointSeq);
  }
  switch (plan.action) {
    case 'complete':
      return attempt.settle(() => attempt.complete(result));
    case 'fail':
    case 'dead_letter':
      return attempt.settle(async () => {
        const error = new RecoveryError('UNRECOVERABLE', plan.reason, {
          details: { taskId: attempt.taskId },
        });
        await attempt.fail({ name: error.name, message: error.message, code: error.code });
        throw error;
      });
    default:
      return attempt.run(() => handler.invoke(attempt.context, args));
  }
}

/** Resolves once the attempt is to stop. */
function stopOf({ context: { signal } }: Attempt): Promise<null> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve(null);
    else signal.addEventListener('abort', () => resolve(null), { once: true });
  });
}

async function ask(
  handler: Handler,
  snapshot: TaskSnapshot,
): Promise<{ evidence: ValidationEvidence; result: unknown }> {
  try {
    const answer = await handler.validate?.(snapshot);
    if (typeof answer === 'object' && answer !== null && 'complete' in answer) {
      return { evidence: { answer: 'complete' }, result: answer.complete };
    }
    if (answer === 'complete' || answer === 'resume' || answer === 'restart' || answer === 'unrecoverable') {
      return { evidence: { answer }, result: undefined };
    }
    return { evidence: { error: 'validate gave none of its four answers' }, result: undefined };
  } catch (thrown) {
    return { evidence: { error: messageOf(thrown) }, result: undefined };
  }
}

/** Whether an error says that records are not what they should be, rather than that the storage is away. */
export function isCorruption(error: unknown): error is RecoveryError {
  return isRecoveryError(error, 'CORRUPT_RECORD') || isRecoveryError(error, 'STORAGE_REFUSED');
}
