/** Reads the recovery queue in its order: highest priority first, then the longest waiting; over names and partitions. */
import { indexes } from '../state/keys.js';
import type { Store } from '../state/store.js';
import type { IndexEntry } from '../storage/storage.js';

/** A task that waits in the queue. */
export interface Queued {
  readonly partition: string;
  readonly taskId: string;
  readonly name: string;
  readonly score: number;
}

const PAGE = 50;

/** One partition's queue of one name, a page ahead. */
class Stream {
  readonly #store: Store;
  readonly #partition: string;
  readonly #name: string;
  #page: IndexEntry[] = [];
  #after: IndexEntry | undefined;
  #ended = false;

  constructor(store: Store, partition: string, name: string) {
    this.#store = store;
    this.#partition = partition;
    this.#name = name;
  }

  async head(): Promise<Queued | null> {
    if (this.#page.length === 0 && !this.#ended) {
      const after = this.#after === undefined ? {} : { after: this.#after };
      const query = { ...after, limit: PAGE };
      const { entries } = await this.#store.range(
        this.#partition,
        indexes.inState('orphaned', this.#name),
        query,
      );
      this.#page = [...entries];
      this.#after = entries.at(-1) ?? this.#after;
      this.#ended = entries.length < PAGE;
    }
    const first = this.#page[0];
    if (first === undefined) return null;
    return { partition: this.#partition, taskId: first.id, name: this.#name, score: first.score };
  }

  shift(): void {
    this.#page.shift();
  }
}

/** One pass through the queue. An entry that stays in it is met once. */
export async function* queueOrder(store: Store, names: ReadonlySet<string>): AsyncGenerator<Queued> {
  const streams = store.partitions.flatMap((partition) =>
    [...names].map((name) => new Stream(store, partition, name)),
  );
  for (;;) {
    const heads = await Promise.all(streams.map((stream) => stream.head()));
    let best = -1;
    for (const [index, head] of heads.entries()) {
      if (head !== null && (best < 0 || head.score < (heads[best]?.score ?? Infinity))) best = index;
    }
    const next = heads[best];
    if (next === undefined || next === null) return;
    streams[best]?.shift();
    yield next;
  }
}
