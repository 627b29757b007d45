/** Tasks on their way through a queue of the user's own: submitted, handed over, begun at the other end. */
import { kindOf, RecoveryError } from '../errors.js';
import type { Dispatcher, TaskEnvelope } from '../domain/dispatch.js';
import { log } from '../log.js';
import type { OrphanCause, Plan } from '../domain/task.js';
import { beginBatch, handOverBatch, holdBackBatch, submitBatch } from '../state/hand-over.js';
import type { Head } from '../state/head.js';
import { priorityBase } from '../state/keys.js';
import type { NewTask } from '../state/transitions.js';
import { applied, stampFor } from './commits.js';
import { within } from './deferred.js';
import type { Engine, Handler } from './engine.js';
import { admissionMs, notAfter } from './engine.js';
import { parsed } from './execution.js';
import { firstAttempt } from './first-attempt.js';
import type { FirstStart } from './retries.js';
import { argumentsOf, inputTextOf } from './snapshot.js';
import { watched } from './watching.js';

/** How long the queue may take to say what it does with a job, in ms. */
const ASK_MS = 5_000;

/** Makes a task that waits for somebody to begin it. False: there is one of that id already. */
export async function submit(engine: Engine, handler: Handler, task: NewTask): Promise<boolean> {
  const { store, settings, fences } = engine;
  const { taskId, name } = task;
  const dispatcher = handler.dispatch;
  if (dispatcher === null) {
    throw new RecoveryError(
      'INVALID_OPTION',
      `submit of "${name}" needs a queue: give createRecovery, or the task, a \`dispatch\`.`,
    );
  }
  const partition = store.partitionOf(taskId);
  const fence = Math.max(store.estimatedNowMs(partition), fences.highest(taskId) + 1);
  const batch = submitBatch(task, fence, settings.handOverMs, stampFor(engine, taskId));
  if (!(await applied(engine, partition, batch))) return false;
  await hand(engine, dispatcher, { rekindle: 1, taskId, name, fence, kind: 'new' }, null);
  return true;
}

/** Gives an orphan to the queue; or leaves it for later, when its job is still to come. Null: somebody was faster. */
export async function handOver(
  engine: Engine,
  dispatcher: Dispatcher,
  head: Head,
  cause: OrphanCause,
  plan: Plan,
): Promise<'dispatched' | 'deferred' | null> {
  const { store, settings, fences } = engine;
  const { taskId, name, priority } = head.task;
  const partition = store.partitionOf(taskId);
  const stamp = stampFor(engine, taskId);
  if (await holdsBack(engine, dispatcher, head, cause)) {
    const batch = holdBackBatch(head, settings.handOverMs, priorityBase(priority), stamp);
    return (await applied(engine, partition, batch)) ? 'deferred' : null;
  }
  const fence = Math.max(head.task.fence, fences.highest(taskId)) + 1;
  const { handOverMs } = settings;
  const batch = handOverBatch(head, { plan, cause }, { fence, handOverMs }, stamp);
  if (!(await applied(engine, partition, batch))) return null;
  await hand(engine, dispatcher, { rekindle: 1, taskId, name, fence, kind: 'recovery' }, plan);
  return 'dispatched';
}

/** Owners of which it is certain that they are gone: a job that the queue calls active is theirs, or nobody's. */
const CERTAIN: ReadonlySet<OrphanCause> = new Set(['owner_dead', 'slot_taken_over', 'released', 'requeued']);

async function holdsBack(
  engine: Engine,
  dispatcher: Dispatcher,
  head: Head,
  cause: OrphanCause,
): Promise<boolean> {
  const { taskId, name } = head.task;
  if (dispatcher.isActive === undefined) return false;
  try {
    const late = (): Error => new RecoveryError('CHECK_FAILED', `no answer within ${ASK_MS} ms`);
    const asked = Promise.resolve(dispatcher.isActive({ taskId, name, fence: head.handOverFence }));
    const state = await within(engine.clock, ASK_MS, asked, late);
    return state === 'waiting' || (state === 'active' && !CERTAIN.has(cause));
  } catch (error) {
    // A queue that can't be asked holds nothing back: the fence lets one run win.
    log.recovery('isActive of %s failed: %s', taskId, kindOf(error));
    return false;
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
    const late = (): Error => new RecoveryError('CHECK_FAILED', 'the queue did not take it in time');
    const given = Promise.resolve(dispatcher.dispatch(envelope, plan));
    await within(engine.clock, admissionMs(engine), given, late);
  } catch (error) {
    engine.emitter.alert('dispatch_failed', { task_id: taskId, name, error: kindOf(error) });
  }
}

/** Begins a task that was submitted and never run. */
export async function beginSubmitted(
  engine: Engine,
  handler: Handler,
  head: Head,
): Promise<FirstStart | null> {
  const { store, random, settings, worker, clock, fences } = engine;
  const { taskId } = head.task;
  const { payloads } = store;
  const stored = argumentsOf(head, await inputTextOf(engine, head));
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
  const begun = { taskId, partition, fence, nonce, sentMs, origin, eventSeq, userText, args: stored };
  const attempt = firstAttempt(engine, handler, begun);
  const invoke = async (): Promise<unknown> => handler.invoke(attempt.context, await parsed(handler, stored));
  return { attempt, result: attempt.run(watched(engine, attempt, null, invoke)) };
}
