/** What recovery has come to by the log of events alone, one event after the other. */
import type { RecoveryFigures } from '../../src/state/recovery-counters.js';
import type { MemoryPartition } from '../../src/storage/memory.js';

type Counts = Omit<RecoveryFigures, 'succeededMs'>;

/** @param sinceMs events from then on */
export function recoveriesOf(
  partitions: Iterable<Pick<MemoryPartition, 'log'>>,
  sinceMs: number = -Infinity,
): Counts {
  const counts = { attempts: 0, succeeded: 0, failed: 0, failures: 0, handedOver: 0, received: 0 };
  for (const { log } of partitions) {
    // Tasks that have failed by themselves: those were counted then, and are not when they are given up.
    const failed = new Set<string>();
    for (const { fields } of log) {
      const [event, taskId] = [fields.get('event') ?? '', fields.get('task_id') ?? ''];
      const by = Number(fields.get('timestamp')) >= sinceMs ? 1 : 0;
      if (event === 'recovery_started') counts.attempts += by;
      if (event === 'recovery_started' && fields.get('cause') === 'dispatched') counts.received += by;
      if (event === 'task_dispatched') counts.handedOver += by;
      if (event === 'recovery_completed') counts.succeeded += by;
      if (event === 'recovery_failed') counts.failed += by;
      if (event === 'task_failed') counts.failures += by;
      if (event === 'dead_lettered' && !failed.has(taskId)) {
        counts.failed += by;
        counts.failures += by;
      }
      if (event === 'task_failed') failed.add(taskId);
      else if (event !== 'recovery_failed') failed.delete(taskId);
    }
  }
  return counts;
}
