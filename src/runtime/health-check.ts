/** The first phase of start: is everything there that recovery needs? */
import { messageOf, RecoveryError } from '../errors.js';
import { within } from './deferred.js';
import type { Engine } from './engine.js';

/** How long one of the user's checks may take, in ms. */
const CHECK_MS = 5_000;

/**
 * Opens the namespace and runs the user's checks.
 * @throws `STORAGE_UNAVAILABLE`, `LAYOUT_MISMATCH`, `SLOT_CONFLICT`, `CHECK_FAILED` naming the check
 */
export async function checkHealth(engine: Engine): Promise<void> {
  await engine.worker.open();
  await Promise.all([...engine.settings.checks].map(([name, check]) => runCheck(engine, name, check)));
}

/** Risks in the storage's settings; that they can't be read is one, too. */
export async function warningsOf({ store: { storage, callDeadlineMs } }: Engine): Promise<string[]> {
  try {
    const report = await storage.inspect?.({ deadlineMs: callDeadlineMs });
    return [...(report?.warnings ?? [])];
  } catch (error) {
    return [`The storage's settings could not be read: ${messageOf(error)}`];
  }
}

/** One of the user's checks. @throws `CHECK_FAILED` naming it */
export async function runCheck({ clock }: Engine, name: string, check: () => unknown): Promise<void> {
  const late = (): Error => new RecoveryError('CHECK_FAILED', `no answer within ${CHECK_MS} ms`);
  try {
    await within(clock, CHECK_MS, Promise.resolve().then(check), late);
  } catch (cause) {
    throw new RecoveryError('CHECK_FAILED', `The health check "${name}" failed: ${messageOf(cause)}`, {
      cause,
      retryable: true,
      details: { check: name },
    });
  }
}
