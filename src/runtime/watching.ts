/** What watchers are told of an attempt, a step or a takeover. */
import type { Plan } from '../domain/task.js';
import type { Attempt } from './attempt.js';
import { DEATHS } from './charges.js';
import type { Engine } from './engine.js';
import type { Found } from './snapshot.js';

/** An attempt's function as its watchers let it run; as it is, where nobody watches. */
export function watched(
  { hooks }: Engine,
  attempt: Attempt,
  past: { readonly found: Found; readonly plan: Plan } | null,
  invoke: () => unknown,
): () => unknown {
  if (!hooks.active) return invoke;
  const { taskId, name, attempt: number, fence } = attempt.context;
  const about = {
    taskId,
    name,
    attempt: number,
    fence,
    recovered: past !== null,
    cause: past?.found.snapshot.cause ?? null,
    decision: past?.plan.action ?? null,
    kept: past?.found.head.trace ?? null,
    keep: (text: string) => attempt.journal.keep(text),
  };
  return () => hooks.attempt(about, invoke);
}

/** Tells them of a task that was just claimed. */
export function tellTakeover(
  { hooks, store, settings }: Engine,
  { head, snapshot: { cause } }: Found,
  { action: decision }: Plan,
): void {
  if (!hooks.active) return;
  const { taskId, name, attempt } = head.task;
  const nowMs = store.estimatedNowMs(store.partitionOf(taskId));
  const died = DEATHS.has(cause) && head.leaseEndMs !== null;
  // Renewed for the last time a lease before it ended.
  const silentMs = died ? Math.max(0, nowMs - (head.leaseEndMs - settings.leaseMs)) : null;
  hooks.takeover({ taskId, name, attempt: attempt + 1, cause, decision, silentMs });
}
