/**
 * `ctx.map`: a piece of work an item, each kept as it is done, so that a later attempt runs only the rest.
 *
 * The ledger is read a page of keys at a time and written a field an item, so neither memory nor writes grow with the
 * size of the map beyond its own results. A lane takes its next item when the last one is durable: at most
 * `concurrency` items run twice.
 */
import { checkId } from '../domain/ids.js';
import { checkOptions, isFunction, number } from '../domain/check-options.js';
import type { StoredError } from '../domain/task.js';
import { RecoveryError } from '../errors.js';
import type { Draft } from '../state/draft.js';
import { bucketOf, bucketsFor, decodeEntry, entries, ITEM_PREFIX } from '../state/ledger.js';
import { keys } from '../state/keys.js';
import { keepableText } from './steps.js';
import type { PieceWorld } from './steps.js';
import { storedErrorOf } from './task-errors.js';

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
  readonly concurrency?: number;
  /** Succeeds with this part of its items, 0 to 1, and tells which failed. Default: all must succeed. */
  readonly minSuccessRatio?: number;
  /** `false`: only that items are done is kept, not their results. Default true. */
  readonly keepResults?: boolean;
}

/** An item that failed. */
export interface FailedItem {
  readonly key: string;
  readonly error: StoredError;
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
  /** Adds the event of an item that is done, where events of items are wanted. */
  readonly itemEvent: (draft: Draft, map: string, item: DoneItem) => void;
}

/** For the event of an item. */
export interface DoneItem {
  readonly key: string;
  readonly index: number;
  readonly runMs: number;
}

const isBoolean = (value: unknown): string | null =>
  typeof value === 'boolean' ? null : 'must be true or false';
const CHECKS = {
  key: isFunction,
  concurrency: number(1, 100_000),
  minSuccessRatio: number(0, 1, false),
  keepResults: isBoolean,
};
/** Keys looked up at a time. */
const PAGE = 500;
/** Failed items named in an error's details. */
const LISTED = 100;

type Slot<R> =
  | { readonly state: 'done'; readonly value: R | undefined }
  | { readonly state: 'failed'; readonly error: StoredError };

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
    this.#slots = Array.from({ length: items.length });
    this.#buckets = world.kept.maps.get(name)?.buckets ?? bucketsFor(items.length);
  }

  async run(): Promise<R[] | MapOutcome<R> | MapCount> {
    await this.#recall();
    const rest = this.#slots.flatMap((slot, index) => (slot === undefined ? [index] : []));
    const lanes = Math.min(this.#options.concurrency ?? 1, rest.length);
    let next = 0;
    const lane = async (): Promise<void> => {
      while (next < rest.length) {
        const index = rest[next] ?? 0;
        next += 1;
        this.#world.assertUsable();
        await this.#item(index);
      }
    };
    const ended = await Promise.allSettled(Array.from({ length: lanes }, lane));
    for (const each of ended) if (each.status === 'rejected') throw each.reason;
    return this.#outcome();
  }

  async #item(index: number): Promise<void> {
    const item = this.#items[index];
    const key = this.#keys[index] ?? '';
    const idempotencyKey = this.#world.idempotencyKey(`${this.#name}\0${key}`);
    const startedMs = performance.now();
    let value: R;
    try {
      value = await this.#fn(item as T, { key, index, signal: this.#world.signal(), idempotencyKey });
    } catch (thrown) {
      // A lease that was lost, or a shutdown, is not the item's failure.
      this.#world.assertUsable();
      const error = storedErrorOf(thrown, this.#world.limits.errorBytes);
      this.#slots[index] = { state: 'failed', error };
      this.#failed += 1;
      return this.#write(key, entries.failed(error), null);
    }
    this.#world.assertUsable();
    const { keepResults = true } = this.#options;
    const what = `item "${key}" of map "${this.#name}"`;
    const { entry, refused } = keepableText(value, keepResults, what, this.#world.limits.resultBytes);
    this.#slots[index] = { state: 'done', value: keepResults ? value : undefined };
    this.#done += 1;
    await this.#write(key, entry, { key, index, runMs: performance.now() - startedMs });
    if (refused !== null) throw refused;
  }

  #write(key: string, entry: string, done: DoneItem | null): Promise<void> {
    const mark = {
      buckets: this.#buckets,
      total: this.#items.length,
      done: this.#done,
      failed: this.#failed,
    };
    return this.#world.write((draft) => {
      this.#world.live.item(draft, this.#name, mark, key, entry);
      if (done !== null) this.#hooks.itemEvent(draft, this.#name, done);
    });
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
    const entry = decodeEntry(text, `item "${this.#keys[index]}" of map "${this.#name}"`);
    if (entry === null || entry.state === 'failed' || entry.state === 'started') return;
    this.#done += 1;
    // Kept by this very function in an earlier attempt, or out of reach because JSON could not hold it.
    this.#slots[index] = { state: 'done', value: entry.state === 'done' ? (entry.value as R) : undefined };
  }

  /** The store has nothing: the user's hook may know better. What it says is written down before anything runs. */
  async #discover(): Promise<void> {
    const known = await this.#hooks.discover(this.#name, this.#keys);
    if (known === null) return;
    for (const [index, key] of this.#keys.entries()) {
      if (!known.has(key)) continue;
      const value = known.get(key) as R;
      const what = `item "${key}" of map "${this.#name}"`;
      const { entry } = keepableText(
        value,
        this.#options.keepResults ?? true,
        what,
        this.#world.limits.resultBytes,
      );
      this.#slots[index] = { state: 'done', value };
      this.#done += 1;
      await this.#write(key, entry, null);
    }
  }

  #outcome(): R[] | MapOutcome<R> | MapCount {
    const failed: FailedItem[] = [];
    for (const [index, slot] of this.#slots.entries()) {
      if (slot?.state === 'failed') failed.push({ key: this.#keys[index] ?? '', error: slot.error });
    }
    const { minSuccessRatio = 1, keepResults = true } = this.#options;
    const total = this.#items.length;
    const done = total - failed.length;
    if (total > 0 && done / total < minSuccessRatio) throw itemsFailed(this.#name, total, failed);
    if (!keepResults) return { done, failed };
    const results = this.#slots.map((slot) => (slot?.state === 'done' ? slot.value : undefined));
    return this.#options.minSuccessRatio === undefined ? (results as R[]) : { results, failed };
  }
}

function keysOf<T>(name: string, items: readonly T[], key: MapOptions<T>['key']): string[] {
  if (!Array.isArray(items)) throw new RecoveryError('INVALID_VALUE', `map "${name}" needs a list of items.`);
  const seen = new Set<string>();
  return items.map((item, index) => {
    const text = checkId(`The key of item ${index} of map "${name}"`, key(item, index));
    if (seen.has(text)) {
      throw new RecoveryError(
        'DUPLICATE_KEY',
        `map "${name}": the key "${text}" is given twice; keys are unique.`,
        {
          details: { key: text, index },
        },
      );
    }
    seen.add(text);
    return text;
  });
}

function itemsFailed(name: string, total: number, failed: readonly FailedItem[]): RecoveryError {
  const [first] = failed;
  return new RecoveryError(
    'ITEMS_FAILED',
    `${failed.length} of ${total} items of map "${name}" failed, first "${first?.key}": ${first?.error.message}`,
    { details: { map: name, total, failed: failed.slice(0, LISTED) } },
  );
}
