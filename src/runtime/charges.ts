/**
 * Which takeovers count as a crash of the task. Not those of tasks that were given back or taken back by their own
 * process; nor a claim for which no user code was let run; nor a lease that ran out while this process could not reach
 * the storage either; nor the death of a process that was trying suspects out, for those that have never crashed.
 */
import type { CrashEvidence, OrphanCause } from '../domain/task.js';
import { isSpent, recentCrashes } from '../recovery/strategies.js';
import type { Head } from '../state/head.js';
import type { Orphaning } from '../state/transitions.js';
import type { Engine, Handler } from './engine.js';

/** Causes that mean that the owner died with the task in its hands. */
export const DEATHS: ReadonlySet<OrphanCause> = new Set(['lease_over', 'owner_dead', 'slot_taken_over']);

/** The wait after the second crash, and how long it can become by doubling, in ms. */
const FIRST_BACKOFF_MS = 1_000;
const LONGEST_BACKOFF_MS = 5 * 60_000;

/** Twice as long each time, from the first one on, up to a bound, plus up to half of it at random. */
export function backoffMs({ random }: Pick<Engine, 'random'>, times: number): number {
  const delayMs = Math.min(LONGEST_BACKOFF_MS, FIRST_BACKOFF_MS * 2 ** Math.min(times - 1, 30));
  return Math.round(delayMs * (1 + random.fraction() / 2));
}

/** Whether this process failed to reach the storage while the task's last lease ran, or since. */
function sawOutage({ store, settings }: Engine, { task }: Head): boolean {
  if (store.failedMs === null || task.leaseUntilMs === null) return false;
  const failedAtMs = store.estimatedNowMs(store.partitionOf(task.taskId), store.failedMs);
  return failedAtMs >= task.leaseUntilMs - settings.leaseMs;
}

/** Until when its owner may have lived: it renews each third of a lease. What comes after is downtime. */
function lastSeenMs({ settings: { leaseMs } }: Engine, { leaseEndMs }: Head): number {
  return leaseEndMs === null ? Infinity : leaseEndMs - (2 * leaseMs) / 3;
}

/**
 * The crashes of a task, with the one that it is being taken back from if that counts.
 * @param ownerSuspects how many suspects its owner had on trial, as that one's record says
 */
export function crashesOf(
  engine: Engine,
  head: Head,
  cause: OrphanCause,
  ownerSuspects: number,
): readonly CrashEvidence[] {
  const { task, began, suspect, claimedAtMs } = head;
  const before = task.crashes;
  // In the recovery queue it has been charged already.
  if (task.status !== 'processing' || !DEATHS.has(cause)) return before;
  if (task.attempt > 1 && began !== task.attempt) return before;
  if (cause === 'lease_over' && sawOutage(engine, head)) return before;
  if (ownerSuspects > 0 && !suspect && before.length === 0) return before;
  const atMs = engine.store.estimatedNowMs(engine.store.partitionOf(task.taskId));
  const { owner, fence, attempt, progressPercent } = task;
  const step = task.step ?? task.description;
  const ranMs = Math.max(0, Math.min(atMs, lastSeenMs(engine, head)) - claimedAtMs);
  const suspects = ownerSuspects > 0 ? ownerSuspects : null;
  return [...before, { atMs, owner, fence, attempt, cause, step, progressPercent, ranMs, suspects }];
}

/** How an orphan goes into the recovery queue: at once after its first crash, later and later after more. */
export function orphaningOf(
  engine: Engine,
  handler: Handler | undefined,
  head: Head,
  cause: OrphanCause,
  ownerSuspects: number,
): Orphaning {
  const crashes = crashesOf(engine, head, cause, ownerSuspects);
  const charged = crashes.length > head.task.crashes.length;
  const budget = handler?.crashBudget ?? engine.settings.crashBudget;
  const recent = recentCrashes(crashes, budget, crashes.at(-1)?.atMs ?? 0);
  // One that is to be given up has nothing to wait for.
  const waits = charged && recent.length > 1 && !isSpent(recent, budget);
  return { cause, crashes, delayMs: waits ? backoffMs(engine, recent.length - 1) : 0 };
}
