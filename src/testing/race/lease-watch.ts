/** Watches the heads of tasks at the very moment they are written: at most one attempt at a time may hold a lease. */
import { TOKEN_FIELD } from '../../storage/storage.js';
import type { Batch, Outcome, StoredRecord } from '../../storage/storage.js';
import { MemoryPartition } from '../../storage/memory.js';
import { fenceOf } from '../../state/token.js';
import { taskIdOf } from '../explore/points.js';

interface Holding {
  readonly owner: string;
  readonly fence: number;
  readonly leaseUntilMs: number;
}

/** Who has a task; null when nobody has. */
function holdingOf(head: StoredRecord | undefined): Holding | null {
  if (head?.get('status') !== 'processing') return null;
  return {
    owner: head.get('owner') ?? '',
    fence: fenceOf(head.get(TOKEN_FIELD) ?? '') ?? 0,
    leaseUntilMs: Number(head.get('leaseUntil')),
  };
}

export class LeaseWatch {
  /** What was not as it must be, in words. */
  readonly faults: string[] = [];
  readonly #highest = new Map<string, number>();

  changed(taskId: string, before: Holding | null, after: Holding | null, nowMs: number): void {
    if (after === null || (before?.owner === after.owner && before.fence === after.fence)) return;
    if (before !== null && before.owner !== after.owner && before.leaseUntilMs >= nowMs)
      this.faults.push(
        `two attempts held the lease of "${taskId}" at once: ${words(before)}, ${words(after)}`,
      );
    const highest = this.#highest.get(taskId) ?? 0;
    if (after.fence <= highest)
      this.faults.push(`the fence of "${taskId}" did not rise: ${highest}, then ${after.fence}`);
    this.#highest.set(taskId, Math.max(highest, after.fence));
  }
}

function words({ owner, fence }: Holding): string {
  return `${owner} with fence ${fence}`;
}

export class WatchedPartition extends MemoryPartition {
  readonly #watch: LeaseWatch;

  constructor(maxEvents: number, watch: LeaseWatch) {
    super(maxEvents);
    this.#watch = watch;
  }

  override write(batch: Batch, nowMs: number): Outcome {
    const taskId = taskIdOf(batch);
    const { key } = batch.guard;
    const before = holdingOf(this.records.get(key));
    const outcome = super.write(batch, nowMs);
    if (taskId !== null) this.#watch.changed(taskId, before, holdingOf(this.records.get(key)), nowMs);
    return outcome;
  }
}
