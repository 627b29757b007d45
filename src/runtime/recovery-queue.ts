/**
 * Reads the recovery queue in its order: highest priority first, then the longest due; over names and partitions. What
 * is not due yet is passed over.
 */
import { indexes, MAX_PRIORITY, PRIORITY_BAND } from '../state/keys.js';
import type { Store } from '../state/store.js';
import type { IndexEntry } from '../storage/storage.js';

/** A task that waits in the queue. */
export interface Queued {
  readonly partition: string;
  readonly taskId: string;
  readonly name: string;
  readonly score: number;
}

/** Told of tasks that are not due yet: how many, and in how many ms the first one will be. */
export type OnDeferred = (count: number, dueInMs: number) => void;

const PAGE = 50;

/** One partition's queue of one name, a page ahead. */
class Stream {
  readonly #store: Store;
  readonly #partition: string;
  readonly #name: string;
  readonly #onDeferred: OnDeferred | null;
  #page: IndexEntry[] = [];
  #nowMs = 0;
  #from = 0;
  #after: IndexEntry | undefined;
  #ended = false;

  constructor(store: Store, partition: string, name: string, onDeferred: OnDeferred | null) {
    this.#store = store;
    this.#partition = partition;
    this.#name = name;
    this.#onDeferred = onDeferred;
  }

  async head(): Promise<Queued | null> {
    for (;;) {
      if (this.#page.length === 0 && !this.#ended) await this.#read();
      const first = this.#page[0];
      if (first === undefined) return null;
      const band = Math.floor(first.score / PRIORITY_BAND);
      const dueInMs = first.score - band * PRIORITY_BAND - this.#nowMs;
      if (this.#onDeferred === null || dueInMs <= 0) {
        return { partition: this.#partition, taskId: first.id, name: this.#name, score: first.score };
      }
      await this.#skip(this.#onDeferred, first.score, band, dueInMs);
    }
  }

  shift(): void {
    this.#page.shift();
  }

  get #index(): string {
    return indexes.inState('orphaned', this.#name);
  }

  async #read(): Promise<void> {
    const after = this.#after === undefined ? {} : { after: this.#after };
    const query = { from: this.#from, ...after, limit: PAGE };
    const { entries, nowMs } = await this.#store.range(this.#partition, this.#index, query);
    this.#nowMs = nowMs;
    this.#page = [...entries];
    this.#after = entries.at(-1) ?? this.#after;
    this.#ended = entries.length < PAGE;
  }

  /** The rest of a priority's band is not due: goes on with the next band. */
  async #skip(tell: OnDeferred, score: number, band: number, dueInMs: number): Promise<void> {
    const next = (band + 1) * PRIORITY_BAND;
    tell(await this.#store.countIn(this.#partition, this.#index, { from: score, to: next - 1 }), dueInMs);
    this.#page = this.#page.filter((entry) => entry.score >= next);
    if (this.#page.length > 0 || this.#ended) return;
    this.#ended = band >= MAX_PRIORITY;
    this.#from = next;
    this.#after = undefined;
  }
}

/** One pass through the queue. An entry that stays in it is met once. Without `onDeferred`, all that waits, due or not. */
export async function* queueOrder(
  store: Store,
  names: ReadonlySet<string>,
  onDeferred: OnDeferred | null = null,
): AsyncGenerator<Queued> {
  const streams = store.partitions.flatMap((partition) =>
    [...names].map((name) => new Stream(store, partition, name, onDeferred)),
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
