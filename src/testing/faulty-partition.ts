/** A partition in memory whose records can be made unreadable, and whose contents can be kept and put back. */
import { checkBatch } from '../storage/check.js';
import { MemoryPartition } from '../storage/memory.js';
import type { Batch, Outcome, Refusal, StoredEvent } from '../storage/storage.js';

/** All that a partition holds. */
export interface Contents {
  readonly records: ReadonlyMap<string, ReadonlyMap<string, string>>;
  readonly indexes: ReadonlyMap<string, readonly { readonly id: string; readonly score: number }[]>;
  readonly log: readonly StoredEvent[];
  readonly corrupt: ReadonlySet<string>;
}

export const EMPTY: Contents = { records: new Map(), indexes: new Map(), log: [], corrupt: new Set() };

export class FaultyPartition extends MemoryPartition {
  /** Keys under which something stands that is no record. */
  readonly #corrupt = new Set<string>();

  isCorrupt(key: string): boolean {
    return this.#corrupt.has(key);
  }

  corrupt(key: string): void {
    this.records.delete(key);
    this.#corrupt.add(key);
  }

  override check(batch: Batch, nowMs: number): Outcome | null {
    if (this.#corrupt.size === 0) return super.check(batch, nowMs);
    // Without a readable guard there is no token to compare; all else that is broken is met later.
    const { guard, observe = [], unset = [], set = [], increment = [] } = batch;
    if (this.isCorrupt(guard.key)) return checkBatch(batch) ?? wrongType(guard.key);
    const outcome = super.check(batch, nowMs);
    const touched = [...observe, ...[...unset, ...set, ...increment].map(({ key }) => key)];
    const removed = new Set(batch.remove);
    const broken = touched.find((key) => this.isCorrupt(key) && !removed.has(key));
    if (broken === undefined || (outcome !== null && outcome.status !== 'duplicate')) return outcome;
    return wrongType(broken);
  }

  override write(batch: Batch, nowMs: number): Outcome {
    for (const key of batch.remove ?? []) this.#corrupt.delete(key);
    return super.write(batch, nowMs);
  }

  contents(): Contents {
    return {
      records: new Map([...this.records].map(([key, record]) => [key, new Map(record)])),
      indexes: new Map([...this.indexes].map(([name, index]) => [name, [...index.entries()]])),
      log: [...this.log],
      corrupt: new Set(this.#corrupt),
    };
  }

  /** Puts contents back. Cursors of new events go on from where they were: none stands for two events. */
  restore({ records, indexes, log, corrupt }: Contents): void {
    this.records.clear();
    for (const [key, record] of records) this.records.set(key, new Map(record));
    this.indexes.clear();
    for (const [name, entries] of indexes) {
      for (const { id, score } of entries) this.index(name).put(id, score);
    }
    this.log.splice(0, this.log.length, ...log);
    this.#corrupt.clear();
    for (const key of corrupt) this.#corrupt.add(key);
  }
}

function wrongType(key: string): Refusal {
  return {
    status: 'refused',
    code: 'WRONG_TYPE',
    message: `Under "${key}" there is something else than a record.`,
  };
}
