/**
 * `ctx.map`: a piece of work an item, each kept as it is done, so that a later attempt runs only the rest.
 *
 * The ledger is read a page of keys at a time and written a field an item, so neither memory nor writes grow with the
 * size of the map beyond its own results. A lane takes its next item when the last one is durable: at most
 * `concurrency` items run twice.
 */
import { checkOptions, isBoolean, isFunction, number } from '../domain/check-options.js';
import type { StoredError } from '../domain/task.js';
import { RecoveryError } from '../errors.js';
import { bucketOf, bucketsFor, decodeEntry, entries, ITEM_PREFIX } from '../state/ledger.js';
import type { MapMark } from '../state/ledger.js';
import { keys } from '../state/keys.js';
import { itemsFailed, keysOf } from './item-keys.js';
import type { FailedItem } from './item-keys.js';
import { keepableText } from './steps.js';
import type { PieceWorld } from './steps.js';
import { isNotItsFault } from './task-errors.js';

/** What an item's function is told besides the item. */
export interface ItemContext {
  readonly key: string;
  readonly index: number;
  readonly signal: AbortSignal;
  /** The same in every attempt, and for no other item or task. */
  readonly idempotencyKey: string;
}

/** Options of `ctx.map`. */
export interface MapOptions<T> {
  /** The item's stable name in its map: 1 to 256 characters, no two alike. */
  readonly key: (item: T, index: number) => string;
  /** Items at once. Default 1. */
  readonly concurrency?: number | undefined;
  /** Succeeds with this part of its items, 0 to 1, and tells which failed. Default: all must succeed. */
  readonly minSuccessRatio?: number | undefined;
  /** `false`: only that items are done is kept, not their results. Default true. */
  readonly keepResults?: boolean | undefined;
}

/** With `minSuccessRatio`: results in input order, `undefined` where an item failed. */
export interface MapOutcome<R> {
  readonly results: (R | undefined)[];
  readonly failed: readonly FailedItem[];
}

/** With `keepResults: false`. */
export interface MapCount {
  readonly done: number;
  readonly failed: readonly FailedItem[];
}

/** What a map needs besides what steps need. */
export interface MapHooks {
  /** What the user's `discover` hook knows, when there is a hook and the ledger has nothing. */
  readonly discover: (name: string, keys: readonly string[]) => Promise<ReadonlyMap<string, unknown> | null>;
  /** Resolves once the entry is durable, and the event of an item that is done with it, where such are wanted. */
  readonly keep: (
    map: string,
    mark: MapMark,
    key: string,
    entry: string,
    done: DoneItem | null,
  ) => Promise<void>;
}

/** For the event of an item. */
export interface DoneItem {
  readonly key: string;
  readonly index: number;
  readonly runMs: number;
}

const CHECKS = {
  key: isFunction,
  concurrency: number(1, 100_000),
  minSuccessRatio: number(0, 1, false),
  keepResults: isBoolean,
};
/** Keys looked up at a time. */
const PAGE = 500;

type Slot<R> =
  | { readonly state: 'done'; readonly value: R | undefined }
  | { readonly state: 'failed'; readonly error: StoredError };

/** Most functions ask for neither of the two. */
class LazyItemContext implements ItemContext {
  readonly key: string;
  readonly index: number;
  readonly #world: PieceWorld;
  readonly #map: string;

  constructor(world: PieceWorld, map: string, key: string, index: number) {
    this.key = key;
    this.index = index;
    this.#world = world;
    this.#map = map;
  }

  get signal(): AbortSignal {
    return this.#world.signal();
  }

  get idempotencyKey(): string {
    return this.#world.idempotencyKey(`${this.#map}\0${this.key}`);
  }
}

export class MapRun<T, R> {
  readonly #world: PieceWorld;
  readonly #hooks: MapHooks;
  readonly #name: string;
  readonly #items: readonly T[];
  readonly #fn: (item: T, context: ItemContext) => R | Promise<R>;
  readonly #options: MapOptions<T>;
  readonly #keys: string[];
  readonly #slots: (Slot<R> | undefined)[];
  readonly #buckets: number;
  /** The first thing that went wrong with more than an item: no lane takes another one then. */
  #stop: { readonly reason: unknown } | null = null;
  #done = 0;
  #failed = 0;

  constructor(
    world: PieceWorld,
    hooks: MapHooks,
    name: string,
    items: readonly T[],
    fn: (item: T, context: ItemContext) => R | Promise<R>,
    options: MapOptions<T>,
  ) {
    checkOptions(`map "${name}"`, options, CHECKS, ['key']);
    this.#world = world;
    this.#hooks = hooks;
    this.#name = name;
    this.#items = items;
    this.#fn = fn;
    this.#options = options;
    this.#keys = keysOf(name, items, options.key);
    this.#slots = Array.from({ length: this.#keys.length });
    this.#buckets = world.kept.maps.get(name)?.buckets ?? bucketsFor(this.#keys.length);
  }

  async run(): Promise<R[] | MapOutcome<R> | MapCount> {
    if (this.#keys.length > 0) await this.#recall();
    const rest = this.#slots.flatMap((slot, index) => (slot === undefined ? [index] : []));
    const lanes = Math.min(this.#options.concurrency ?? 1, rest.length);
    let next = 0;
    const lane = async (): Promise<void> => {
      try {
        for (let index = rest[next]; index !== undefined && this.#stop === null; index = rest[next]) {
          next += 1;
          this.#world.assertUsable();
          await this.#item(index);
        }
      } catch (reason) {
        this.#stop ??= { reason };
      }
    };
    await Promise.all(Array.from({ length: lanes }, lane));
    if (this.#stop !== null) throw this.#stop.reason;
    return this.#outcome();
  }

  async #item(index: number): Promise<void> {
    const key = this.#keys[index] ?? '';
    const startedMs = this.#world.nowMs();
    let value: R;
    try {
      const context = new LazyItemContext(this.#world, this.#name, key, index);
      value = await this.#fn(this.#items[index] as T, context);
    } catch (thrown) {
      // A lease that was lost, a shutdown, a storage that is away: none is the item's failure.
      this.#world.assertUsable();
      if (isNotItsFault(thrown, null)) throw thrown;
      const error = this.#world.errorOf(thrown);
      this.#slots[index] = { state: 'failed', error };
      this.#failed += 1;
      return this.#hooks.keep(
        this.#name,
        this.#mark(),
        key,
        entries.failed(this.#seal(key, JSON.stringify(error))),
        null,
      );
    }
    // Also in a shutdown: it is done, and the lease is still ours.
    const { entry, refused } = this.#take(index, value);
    const done = { key, index, runMs: this.#world.nowMs() - startedMs };
    await this.#hooks.keep(this.#name, this.#mark(), key, entry, done);
    if (refused !== null) throw refused;
  }

  /** Counts an item as done, and says what to write about it. */
  #take(index: number, value: R): ReturnType<typeof keepableText> {
    const { keepResults = true } = this.#options;
    const what = `item "${this.#keys[index]}" of map "${this.#name}"`;
    this.#slots[index] = { state: 'done', value: keepResults ? value : undefined };
    this.#done += 1;
    return keepableText(value, {
      keep: keepResults,
      what,
      option: 'keepResults',
      maxBytes: this.#world.limits.resultBytes,
      seal: (text) => this.#seal(this.#keys[index] ?? '', text),
    });
  }

  /** The place of an item's result, for a codec. */
  #place(key: string): string {
    return `item ${this.#name.length}:${this.#name} ${key}`;
  }

  #seal(key: string, text: string): string {
    return this.#world.seal(text, this.#place(key));
  }

  #mark(): MapMark {
    const { length: total } = this.#keys;
    return { buckets: this.#buckets, total, done: this.#done, failed: this.#failed };
  }

  /** What earlier attempts have done. Failed items are run again. */
  async #recall(): Promise<void> {
    if (!this.#world.kept.maps.has(this.#name)) return this.#discover();
    const buckets = new Map<number, number[]>();
    for (const [index, key] of this.#keys.entries()) {
      const bucket = bucketOf(key, this.#buckets);
      const indexes = buckets.get(bucket);
      if (indexes === undefined) buckets.set(bucket, [index]);
      else indexes.push(index);
    }
    for (const [bucket, indexes] of buckets) {
      const record = keys.ledger(this.#world.taskId, this.#name, bucket);
      for (let from = 0; from < indexes.length; from += PAGE) {
        const page = indexes.slice(from, from + PAGE);
        const found = await this.#world.read(
          record,
          page.map((index) => `${ITEM_PREFIX}${this.#keys[index]}`),
        );
        for (const index of page) this.#recalled(index, found?.get(`${ITEM_PREFIX}${this.#keys[index]}`));
      }
    }
  }

  #recalled(index: number, text: string | undefined): void {
    const key = this.#keys[index] ?? '';
    const open = (sealed: string): string => this.#world.open(sealed, this.#place(key));
    const entry = decodeEntry(text, `item "${key}" of map "${this.#name}"`, open);
    if (entry === null || entry.state === 'failed' || entry.state === 'started') return;
    this.#done += 1;
    // Kept by this very function in an earlier attempt, or out of reach because JSON could not hold it.
    this.#slots[index] = { state: 'done', value: entry.state === 'done' ? (entry.value as R) : undefined };
  }

  /**
   * The store has nothing: the user's hook may know better. What it says is written down before anything runs; until
   * the last of it is, the map counts as never begun, so that the hook is asked again after a crash.
   */
  async #discover(): Promise<void> {
    const known = await this.#hooks.discover(this.#name, this.#keys);
    this.#world.assertUsable();
    if (known === null || known === undefined) return;
    if (!(known instanceof Map)) {
      throw new RecoveryError(
        'INVALID_VALUE',
        `discover, asked about map "${this.#name}", must answer a Map or null.`,
      );
    }
    const found: [key: string, entry: string][] = [];
    for (const [index, key] of this.#keys.entries()) {
      if (known.has(key)) found.push([key, this.#take(index, known.get(key) as R).entry]);
    }
    for (let from = 0; from < found.length; from += PAGE) {
      const page = found.slice(from, from + PAGE);
      const marked = from + PAGE >= found.length;
      await this.#world.write((draft) => {
        for (const [key, entry] of page)
          this.#world.live.item(draft, this.#name, this.#mark(), key, entry, marked);
      });
    }
  }

  #outcome(): R[] | MapOutcome<R> | MapCount {
    const failed: FailedItem[] = [];
    for (const [index, slot] of this.#slots.entries()) {
      if (slot?.state === 'failed') failed.push({ key: this.#keys[index] ?? '', error: slot.error });
    }
    const { minSuccessRatio = 1, keepResults = true } = this.#options;
    const quoted = !this.#world.encoded;
    const total = this.#keys.length;
    const done = total - failed.length;
    if (total > 0 && done / total < minSuccessRatio) throw itemsFailed(this.#name, total, failed, quoted);
    if (!keepResults) return { done, failed };
    const results = this.#slots.map((slot) => (slot?.state === 'done' ? slot.value : undefined));
    return this.#options.minSuccessRatio === undefined ? (results as R[]) : { results, failed };
  }
}
