import { RecoveryError } from '../../src/errors.js';
import { deferred } from '../../src/runtime/deferred.js';
import { Store } from '../../src/state/store.js';
import { memoryStorage } from '../../src/storage/memory.js';
import type { Batch, CommitReply, Storage } from '../../src/storage/storage.js';
import { ManualClock } from '../support/manual-clock.js';

/** A commit that waits for its fate. */
export interface Call {
  readonly partition: string;
  readonly batches: readonly Batch[];
  /** Applies it and answers. */
  apply(): Promise<CommitReply>;
  /** Applies it, and the answer is lost. */
  loseReply(): Promise<void>;
  /** It never arrives. */
  drop(): void;
  /** Answers something else. */
  answer(reply: CommitReply): void;
  fail(error: unknown): void;
}

export function unavailable(): RecoveryError {
  return new RecoveryError('STORAGE_UNAVAILABLE', 'no answer', { retryable: true });
}

/** A memory storage whose commits do nothing until the test decides. */
export function manualStorage({
  partitions = 1,
  blocking = false,
}: { partitions?: number; blocking?: boolean } = {}): {
  clock: ManualClock;
  memory: Storage;
  store: Store;
  calls: Call[];
  /** The next commit that waits. */
  take: () => Call;
} {
  const clock = new ManualClock();
  const memory = memoryStorage({ clock, partitions });
  const calls: Call[] = [];
  const commit: Storage['commit'] = (partition, batches) => {
    const reply = deferred<CommitReply>();
    calls.push({
      partition,
      batches,
      async apply() {
        const answer = await memory.commit(partition, batches);
        reply.resolve(answer);
        return answer;
      },
      async loseReply() {
        await memory.commit(partition, batches);
        reply.reject(unavailable());
      },
      drop: () => reply.reject(unavailable()),
      answer: reply.resolve,
      fail: reply.reject,
    });
    return reply.promise;
  };
  const store = new Store({ ...memory, blocking, commit }, 'test', clock, 1_000);
  const take = (): Call => {
    const call = calls.shift();
    if (call === undefined) throw new Error('no commit waits');
    return call;
  };
  return { clock, memory, store, calls, take };
}

/** A store on a plain memory storage. */
export function plainStore(
  partitions = 1,
  maxEvents = 1_000,
): { clock: ManualClock; store: Store; storage: Storage } {
  const clock = new ManualClock();
  const storage = memoryStorage({ clock, partitions, maxEvents });
  return { clock, storage, store: new Store(storage, 'test', clock, 1_000) };
}
