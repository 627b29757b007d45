/** Which task names this worker has made known in the namespace. */
import type { Clock } from '../clock.js';
import { RecoveryError } from '../errors.js';
import { indexes } from '../state/keys.js';
import type { RecordWriter } from '../state/record-writer.js';
import type { Batch } from '../storage/storage.js';
import { within } from './deferred.js';
import type { Handler } from './engine.js';

export class TaskNames {
  readonly #clock: Clock;
  readonly #waitMs: () => number;
  /** Known (null), or on their way there. */
  readonly #names = new Map<string, Promise<number> | null>();

  /** @param waitMs how long the storage may take for a new name */
  constructor(clock: Clock, waitMs: () => number) {
    this.#clock = clock;
    this.#waitMs = waitMs;
  }

  /** Forgets all: the worker has signed on anew, perhaps with a storage that lost them. */
  clear(): void {
    this.#names.clear();
  }

  has(name: string): boolean {
    return this.#names.get(name) === null;
  }

  /**
   * Resolves once the name is known, and how long its tasks are kept.
   * @param retentionMs null: for ever; undefined: as each Recovery says
   */
  async ensure(name: string, writer: RecordWriter, retentionMs?: number | null): Promise<void> {
    const known = this.#names.get(name);
    if (known === null) return;
    // The worker's record is written for as long as it takes, and is waited for no longer than a create.
    await within(this.#clock, this.#waitMs(), known ?? this.#write(name, writer, retentionMs), () =>
      notWritten(name),
    );
  }

  #write(name: string, writer: RecordWriter, retentionMs: number | null | undefined): Promise<number> {
    const written = writer.write((draft) => {
      draft.index(indexes.names, name, 0);
      // What another version of the code says stands until somebody says otherwise.
      if (retentionMs !== undefined) draft.index(indexes.retentions, name, retentionScore(retentionMs));
    });
    this.#names.set(name, written);
    written.then(
      () => this.#settle(name, written, 'known'),
      () => this.#settle(name, written, 'unknown'),
    );
    return written;
  }

  #settle(name: string, written: Promise<number>, now: 'known' | 'unknown'): void {
    // Signed on again meanwhile: that was another record's.
    if (this.#names.get(name) !== written) return;
    if (now === 'known') this.#names.set(name, null);
    else this.#names.delete(name);
  }
}

/** As the index has it: -1 is for ever. */
function retentionScore(retentionMs: number | null): number {
  return retentionMs ?? -1;
}

function notWritten(name: string): RecoveryError {
  const message = `The storage did not take the new task name "${name}" in time. Try again later.`;
  return new RecoveryError('STORAGE_UNAVAILABLE', message, { retryable: true });
}

/** What all names of a worker say, for the batch that it signs on with: also a worker that starts none of them may clean up. */
export function retentionsOf(
  handlers: Iterable<Pick<Handler, 'name' | 'retentionMs'>>,
): NonNullable<Batch['index']> {
  return [...handlers].flatMap(({ name: id, retentionMs }) =>
    retentionMs === undefined ? [] : [{ index: indexes.retentions, id, score: retentionScore(retentionMs) }],
  );
}
