/** Tasks on their way through a queue of the user's own: submitted, handed over, begun at the other end. */
import { kindOf, RecoveryError } from '../errors.js';
import type { Dispatcher, TaskEnvelope } from '../domain/dispatch.js';
import { log } from '../log.js';
import type { OrphanCause, Plan } from '../domain/task.js';
import { decodeControl } from '../state/control.js';
import { beginBatch, handOverBatch, holdBackBatch, submitBatch } from '../state/hand-over.js';
import type { Head } from '../state/head.js';
import { keys, priorityBase } from '../state/keys.js';
import type { NewTask } from '../state/transitions.js';
import { applied, endUnowned, stampFor } from './commits.js';
import { within } from './deferred.js';
import type { Engine, Handler } from './engine.js';
import { admissionMs, assertOpen, notAfter } from './engine.js';
import { parsed } from './execution.js';
import { firstAttempt } from './first-attempt.js';
import type { FirstStart } from './retries.js';
import { argumentsOf, inputTextOf } from './snapshot.js';
import { cancelledError } from './task-errors.js';
import { watched } from './watching.js';

/** How long the queue may take to say what it does with a job, in ms. */
const ASK_MS = 5_000;

/** @throws `INVALID_OPTION` */
export function queueOf({ name, dispatch }: Handler): Dispatcher {
  if (dispatch !== null) return dispatch;
  throw new RecoveryError(
    'INVALID_OPTION',
    `submit of "${name}" needs a queue: give createRecovery, or the task, a \`dispatch\`.`,
  );
}

/** Makes a task that waits for somebody to begin it. False: there is one of that id already. */
export function submit(engine: Engine, dispatcher: Dispatcher, task: NewTask): Promise<boolean> {
  return engine.handOvers.add(make(engine, dispatcher, task));
}

async function make(engine: Engine, dispatcher: Dispatcher, task: NewTask): Promise<boolean> {
  const { store, settings, fences } = engine;
  const { taskId, name } = task;
  const partition = store.partitionOf(taskId);
  const fence = Math.max(store.estimatedNowMs(partition), fences.highest(taskId) + 1);
  const batch = submitBatch(task, fence, settings.handOverMs, stampFor(engine, taskId));
  if (!(await applied(engine, partition, batch))) return false;
  // Made anew within the same ms, its job must not pass for this one.
  fences.remember(taskId, fence);
  await hand(engine, dispatcher, { rekindle: 1, taskId, name, fence, kind: 'new' }, null);
  return true;
}

/** Gives a submitted task that nobody has begun to the queue once more, under the fence of its hand-over: the same job. */
export async function sendAgain(engine: Engine, dispatcher: Dispatcher, head: Head): Promise<void> {
  const { taskId, name, fence } = head.task;
  const envelope: TaskEnvelope = {
    rekindle: 1,
    taskId,
    name,
    fence: head.handOverFence ?? fence,
    kind: 'new',
  };
  await engine.handOvers.add(hand(engine, dispatcher, envelope, null));
}

/** What became of an orphan that is to go through the queue. */
export type HandOver =
  | {
      readonly kind: 'dispatched';
      readonly plan: Plan;
      /** Gives it to the queue, once the caller has let go of its id: an in-process queue may begin it at once. */
      readonly hand: () => Promise<void>;
    }
  | { readonly kind: 'deferred'; readonly plan: Plan };

/** Makes an orphan ready for the queue; or leaves it for later, when its job is still to come. Null: somebody was faster. */
export async function handOver(
  engine: Engine,
  dispatcher: Dispatcher,
  head: Head,
  cause: OrphanCause,
  plan: Plan,
): Promise<HandOver | null> {
  const { store, settings, fences } = engine;
  const { taskId, name, priority } = head.task;
  const partition = store.partitionOf(taskId);
  const held = await heldBack(engine, dispatcher, head, cause);
  assertOpen(engine);
  const stamp = stampFor(engine, taskId);
  if (held !== null) {
    const batch = holdBackBatch(head, held.delayMs, priorityBase(priority), stamp);
    if (!(await applied(engine, partition, batch))) return null;
    return { kind: 'deferred', plan: { ...plan, action: 'skip', reason: held.reason } };
  }
  const fence = Math.max(head.task.fence, fences.highest(taskId)) + 1;
  const { handOverMs } = settings;
  const batch = handOverBatch(head, { plan, cause }, { fence, handOverMs }, stamp);
  if (!(await applied(engine, partition, batch))) return null;
  fences.remember(taskId, fence);
  const envelope: TaskEnvelope = { rekindle: 1, taskId, name, fence, kind: 'recovery' };
  return {
    kind: 'dispatched',
    plan,
    hand: () => engine.handOvers.add(hand(engine, dispatcher, envelope, plan)),
  };
}

/** Owners of which it is certain that they are gone: a job that the queue calls active is theirs, or nobody's. */
const CERTAIN: ReadonlySet<OrphanCause> = new Set(['owner_dead', 'slot_taken_over', 'released', 'requeued']);

/** Why an orphan is not handed over yet, and when it is looked at again. */
interface HeldBack {
  readonly reason: string;
  readonly delayMs: number;
}

/** Whether the queue takes care of an orphan by itself; null: it is handed over. */
export async function heldBack(
  engine: Engine,
  dispatcher: Dispatcher,
  head: Head,
  cause: OrphanCause,
): Promise<HeldBack | null> {
  const { taskId, name } = head.task;
  const { handOverMs, leaseMs } = engine.settings;
  if (dispatcher.isActive === undefined) return null;
  try {
    const late = (): Error => new RecoveryError('QUEUE_UNAVAILABLE', `no answer within ${ASK_MS} ms`);
    const asked = Promise.resolve(dispatcher.isActive({ taskId, name, fence: head.handOverFence }));
    const state = await within(engine.clock, ASK_MS, asked, late);
    if (state === 'waiting')
      return { reason: 'WAITING: the queue has a job for it that is still to come.', delayMs: handOverMs };
    if (state !== 'active' || CERTAIN.has(cause)) return null;
    // Whoever has the job is about to go on, or to lose it: that shows sooner than whether a waiting one is taken.
    return {
      reason: 'ACTIVE: the queue has a job for it under way, and whoever works on that may still live.',
      delayMs: Math.min(leaseMs, handOverMs),
    };
  } catch (error) {
    // A queue that can't be asked holds nothing back: the fence lets one run win.
    log.recovery('isActive of %s failed: %s', taskId, kindOf(error));
    return null;
  }
}

/** What the queue throws leaves the task where it is: it comes back when its hand-over is over. */
async function hand(
  engine: Engine,
  dispatcher: Dispatcher,
  envelope: TaskEnvelope,
  plan: Plan | null,
): Promise<void> {
  const { taskId, name } = envelope;
  try {
    const late = (): Error => new RecoveryError('QUEUE_UNAVAILABLE', 'the queue did not take it in time');
    const given = Promise.resolve(dispatcher.dispatch(envelope, plan));
    await within(engine.clock, admissionMs(engine), given, late);
  } catch (error) {
    engine.emitter.alert('dispatch_failed', { task_id: taskId, name, code: kindOf(error) });
  }
}

/** Somebody wanted it cancelled, and did not get to its end. Whoever looks at it next does. */
async function cancelledBefore(engine: Engine, head: Head): Promise<boolean> {
  const { store } = engine;
  const { taskId, crashes } = head.task;
  const { records } = await store.read(store.partitionOf(taskId), [keys.control(taskId)]);
  const { cancel } = decodeControl(records[0]);
  if (cancel === null) return false;
  await endUnowned(engine, head, 'cancelled', crashes, cancelledError(taskId, cancel).message);
  return true;
}

/**
 * Whether it was submitted and has been on its way ever since, however long that took: a queue with much to do is no crash.
 * What was handed over once more is recovered instead.
 */
export function isSubmitted({ task, handOverFence, pieces }: Head): boolean {
  const { status, attempt, orphanCause } = task;
  const onItsWay = orphanCause === null || orphanCause === 'not_started';
  return (
    (status === 'pending' || status === 'orphaned') &&
    attempt === 0 &&
    onItsWay &&
    handOverFence === pieces.origin
  );
}

/** Begins a task that was submitted and never run. Null: look again. */
export async function beginSubmitted(
  engine: Engine,
  handler: Handler,
  head: Head,
): Promise<FirstStart | null> {
  const { store, random, settings, worker, clock, fences } = engine;
  const { taskId } = head.task;
  const { payloads } = store;
  if (await cancelledBefore(engine, head)) return null;
  const inputText = await inputTextOf(engine, head);
  const stored = argumentsOf(head, inputText);
  const userText = head.userContext === null ? null : payloads.open(head.userContext, taskId, 'user context');
  const partition = store.partitionOf(taskId);
  const fence = Math.max(head.task.fence, fences.highest(taskId)) + 1;
  const nonce = random.nonce();
  const { leaseMs } = settings;
  const holder = { owner: worker.incarnation, leaseMs, fence, nonce, notAfter: notAfter(engine, partition) };
  const sentMs = clock.monotonicMs();
  const batch = beginBatch(head, holder, handler.version);
  const won = await applied(engine, partition, batch).catch((error: unknown) => {
    // It may have been applied all the same; a later sweep takes it back then.
    worker.mayHoldLost = true;
    throw error;
  });
  if (!won) return null;
  const { origin } = head.pieces;
  const eventSeq = head.eventSeq + 1;
  const { priority } = head.task;
  const begun = {
    taskId,
    priority,
    partition,
    fence,
    nonce,
    sentMs,
    origin,
    eventSeq,
    userText,
    args: stored,
  };
  const attempt = firstAttempt(engine, handler, begun);
  const invoke = async (): Promise<unknown> => handler.invoke(attempt.context, await parsed(handler, stored));
  return { attempt, inputText, result: attempt.run(watched(engine, attempt, null, invoke)) };
}
