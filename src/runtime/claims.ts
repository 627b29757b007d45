/** From a task that is free to take to a running attempt: snapshot, plan, claim, run. Not claimed means not run. */
import type { Dispatcher } from '../domain/dispatch.js';
import type { CrashEvidence, OrphanCause, Plan, TaskSnapshot } from '../domain/task.js';
import { isSuspect, isTraced, recentCrashes } from '../recovery/strategies.js';
import { decodeControl } from '../state/control.js';
import type { Control } from '../state/control.js';
import type { Head } from '../state/head.js';
import { keys } from '../state/keys.js';
import { onceMore } from '../state/failures.js';
import { claimBatch, firstCause, retriedDocument } from '../state/transitions.js';
import type { Batch } from '../storage/storage.js';
import { Attempt } from './attempt.js';
import { crashesOf } from './charges.js';
import { applied, endUnowned } from './commits.js';
import type { Engine, Handler } from './engine.js';
import { assertOpen, notAfter } from './engine.js';
import { execute } from './execution.js';
import type { DiscoverHook } from './pieces.js';
import type { Freed } from './orphans.js';
import { handOver } from './submitter.js';
import type { HandOver } from './submitter.js';
import { argumentsOf, examine, inputTextOf, planFor, resumeOf } from './snapshot.js';
import type { Found } from './snapshot.js';
import { cancelledError } from './task-errors.js';
import { tellTakeover } from './watching.js';

/** What a claim came to. */
export type ClaimResult =
  | { readonly kind: 'lost' }
  | { readonly kind: 'skipped' | 'dead_letter' | 'cancelled'; readonly plan: Plan }
  | HandOver
  | {
      readonly kind: 'started';
      readonly plan: Plan;
      readonly attempt: Attempt;
      readonly result: Promise<unknown>;
      readonly inputText: string;
    };

/** What is known of a task besides its head. */
export interface Taking {
  /** How many suspects its owner had on trial. */
  readonly ownerSuspects?: number;
  /** Its control record, when that was read just now. */
  readonly control?: Control | null;
  /** Gives back the turn that the caller has for it, as a suspect. */
  readonly leave?: (() => void) | null;
  /** The queue that it goes to instead of being run here. */
  readonly queue?: Dispatcher | null;
}

/** A claim that is decided. */
interface Decided {
  readonly found: Found;
  readonly plan: Plan;
  readonly args: readonly unknown[];
  readonly userText: string | null;
  readonly suspect: boolean;
}

/** Decides, claims and starts. The caller has reserved the task's id in `flights`. */
export async function claim(
  engine: Engine,
  handler: Handler,
  head: Head,
  cause: OrphanCause,
  { ownerSuspects = 0, leave = null, queue = null, control = null }: Taking = {},
): Promise<ClaimResult> {
  // It is being removed.
  if (head.purged !== null) return LOST;
  const release = { leave, queue };
  try {
    return await decide(engine, handler, head, { cause, ownerSuspects, control }, release);
  } finally {
    // Whoever has a turn and starts nothing gives it back.
    release.leave?.();
  }
}

async function decide(
  engine: Engine,
  handler: Handler,
  head: Head,
  { cause, ownerSuspects, control }: Freed & { readonly control: Control | null },
  turn: { leave: (() => void) | null; readonly queue: Dispatcher | null },
): Promise<ClaimResult> {
  const { taskId } = head.task;
  const inputText = await inputTextOf(engine, head);
  const args = argumentsOf(head, inputText);
  const { payloads } = engine.store;
  const userText = head.userContext === null ? null : payloads.open(head.userContext, taskId, 'user context');
  const charged = crashesOf(engine, head, cause, ownerSuspects);
  const found = await examine(engine, handler, head, cause, charged, control);
  // One that had ended and is called again is not what was meant.
  if (found.control.cancel !== null && cause !== 'retried') {
    const { message: reason } = cancelledError(taskId, found.control.cancel);
    const plan: Plan = { action: 'fail', reason, evidence: {}, strategy: 'none' };
    const ended = await endUnowned(engine, head, 'cancelled', found.snapshot.crashes, reason);
    return ended ? { kind: 'cancelled', plan } : LOST;
  }
  const plan = planFor(engine, handler, found.snapshot);
  if (plan.action === 'skip') return { kind: 'skipped', plan };
  if (plan.action === 'dead_letter') {
    if (!(await endUnowned(engine, head, 'dead_letter', found.snapshot.crashes, plan.reason))) return LOST;
    tellOdds(engine, found, plan);
    return { kind: 'dead_letter', plan };
  }
  if (turn.queue !== null) return (await handOver(engine, turn.queue, head, cause, plan)) ?? LOST;
  const { crashes } = found.snapshot;
  const suspect = isSuspect(recentOf(found.snapshot));
  if (suspect) {
    if (turn.leave === null) {
      turn.leave = await engine.suspects.turn(taskId, crashes);
      // That may have taken long.
      if (await isCancelled(engine, head)) {
        return decide(engine, handler, head, { cause, ownerSuspects, control: null }, turn);
      }
    }
  } else if (crashes.length > 0) turn.leave = await engine.suspects.besides();
  const started = await begin(engine, handler, { found, plan, args, userText, suspect }, turn);
  return started === null ? LOST : { ...started, inputText };
}

/** Claims it and runs it; null: somebody else was faster. */
async function begin(
  engine: Engine,
  handler: Handler,
  decided: Decided,
  turn: { leave: (() => void) | null },
): Promise<Omit<Extract<ClaimResult, { kind: 'started' }>, 'inputText'> | null> {
  const { found, plan, args, suspect } = decided;
  const attempt = await take(engine, handler, decided);
  if (attempt === null) return null;
  tellOdds(engine, found, plan);
  tellTakeover(engine, found, plan);
  const result = execute(engine, handler, attempt, { found, plan, args });
  const { leave } = turn;
  turn.leave = null;
  const lastRanMs = found.snapshot.crashes.at(-1)?.ranMs ?? 0;
  if (leave !== null && suspect) engine.suspects.watch(attempt, result, lastRanMs, leave);
  else if (leave !== null) result.then(leave, leave);
  return { kind: 'started', plan, attempt, result };
}

const LOST: ClaimResult = { kind: 'lost' };

async function isCancelled({ store }: Engine, { task: { taskId } }: Head): Promise<boolean> {
  const { records } = await store.read(store.partitionOf(taskId), [keys.control(taskId)]);
  return decodeControl(records[0]).cancel !== null;
}

/** What is odd about what was found, but keeps nobody from going on. */
function tellOdds({ emitter }: Engine, { head, checkpoints, snapshot }: Found, plan: Plan): void {
  const { taskId, name } = head.task;
  const about = { task_id: taskId, name };
  if (checkpoints.corrupt > 0) {
    emitter.alert('corrupt_checkpoint', { ...about, count: String(checkpoints.corrupt) });
  }
  const change = snapshot.versionChange;
  if (change === null || change.hasMigrate) return;
  emitter.alert('version_mismatch', { ...about, from: change.from, to: change.to, decision: plan.action });
}

async function take(engine: Engine, handler: Handler, decided: Decided): Promise<Attempt | null> {
  // Whoever waited for a turn may have waited into a shutdown.
  assertOpen(engine);
  const { found, plan, args, userText, suspect } = decided;
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
      crashes: snapshot.crashes,
      suspect,
      version: handler.version,
      atMs: engine.store.estimatedNowMs(partition),
      resumeSeq: resume.explicit?.seq ?? null,
      resumeName: resume.explicit?.name ?? null,
      resumePercent: resume.automatic?.progressPercent ?? resume.explicit?.progressPercent ?? 0,
    },
    { owner, leaseMs, fence, nonce, notAfter: notAfter(engine, partition) },
  );
  const sentMs = clock.monotonicMs();
  if (!(await won(engine, partition, batch))) return null;
  const live = {
    taskId,
    name,
    priority,
    attempt: attempt + 1,
    recovered: true,
    owner,
    leaseMs,
    startedMs: sentMs,
    eventSeq: head.eventSeq + batch.append.length,
    checkpointSeq: head.checkpointSeq,
    hasAutomatic: head.automatic !== null && plan.action !== 'restart',
    failed: failedOf(head, snapshot.cause),
    traced: isTraced(recentOf(snapshot), snapshot.crashBudget),
  };
  const past = { ...pastOf(found), userText, args: handler.document === null ? null : args };
  const pieces = { kept: head.pieces, discover: discoverWith(handler, args) };
  return new Attempt(engine, handler, { live, partition, fence, nonce, sentMs, resume, ...past, ...pieces });
}

function recentOf({ crashes, crashBudget, nowMs }: TaskSnapshot): CrashEvidence[] {
  return recentCrashes(crashes, crashBudget, nowMs);
}

/** What it is known for as a failed document, with this attempt if it is a retry of that. */
function failedOf(head: Head, cause: OrphanCause): Head['failed'] {
  const again = retriedDocument({ head, cause });
  if (again === null) return head.failed;
  return { ...again, failure: onceMore(again.failure, firstCause({ head, cause })) };
}

/** What counts of earlier attempts: nothing, when it had failed and is called again. */
function pastOf({ head, snapshot }: Found): { readonly errorCount: number; readonly ranMs: number } {
  if (snapshot.cause === 'retried') return { errorCount: 0, ranMs: 0 };
  return { errorCount: head.task.errorCount, ranMs: head.ranMs };
}

/** Whether the claim won. */
async function won(engine: Engine, partition: string, batch: Batch): Promise<boolean> {
  try {
    return await applied(engine, partition, batch);
  } catch (error) {
    // It may have been applied all the same; a later sweep takes it back then.
    engine.worker.mayHoldLost = true;
    throw error;
  }
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
