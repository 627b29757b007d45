/** What a writer gathers until its next batch is frozen. Later changes of a field or an index entry replace earlier ones. */
import type { Batch, Fields, FromNow, Value } from '../storage/storage.js';

type Put = NonNullable<Batch['set']>[number];
type Move = NonNullable<Batch['index']>[number];
type Increment = NonNullable<Batch['increment']>[number];

/** An event that waits in a draft; it gets its number when the batch is frozen. */
export type DraftEvent = Record<string, Value>;

const NONE: readonly never[] = [];

/**
 * Lists that are searched, not maps: a draft holds a handful of records and entries. Each list is made with its first item,
 * since most have one, and an empty list makes room for 17 when it gets one.
 */
export class Draft {
  #set: Put[] | null = null;
  #index: Move[] | null = null;
  #append: DraftEvent[] | null = null;
  #remove: string[] | null = null;
  #increment: Increment[] | null = null;
  /** Records that were changed more than once. */
  #owned: Map<string, Record<string, Value>> | null = null;
  #size = 0;

  /** Roughly how many characters are held. */
  get size(): number {
    return this.#size;
  }

  /** The fields are kept, not copied, unless the record has some already. */
  set(key: string, fields: Fields): void {
    for (const name in fields) {
      const value = fields[name];
      this.#size += name.length + (typeof value === 'string' ? value.length : 13);
    }
    if (this.#set === null) this.#set = [{ key, fields }];
    else if (this.#set.some((earlier) => earlier.key === key)) Object.assign(this.#own(key), fields);
    else this.#set.push({ key, fields });
  }

  /** Sets one field. A map puts many into one record: nothing is copied for each. */
  put(key: string, name: string, value: Value): void {
    this.#size += name.length + (typeof value === 'string' ? value.length : 13);
    this.#own(key)[name] = value;
  }

  /** A record's fields as an object of the draft's own. No name is `__proto__`: those that users give have a prefix. */
  #own(key: string): Record<string, Value> {
    this.#owned ??= new Map();
    let fields = this.#owned.get(key);
    if (fields === undefined) {
      this.#set ??= [];
      const at = this.#set.findIndex((earlier) => earlier.key === key);
      fields = { ...this.#set[at]?.fields };
      this.#owned.set(key, fields);
      this.#set[at < 0 ? this.#set.length : at] = { key, fields };
    }
    return fields;
  }

  index(index: string, id: string, score: number | FromNow | null): void {
    this.#size += index.length + id.length;
    const entry = { index, id, score };
    if (this.#index === null) {
      this.#index = [entry];
      return;
    }
    const at = this.#index.findIndex((earlier) => earlier.index === index && earlier.id === id);
    this.#index[at < 0 ? this.#index.length : at] = entry;
  }

  /** Takes a record away whole. */
  remove(key: string): void {
    (this.#remove ??= []).push(key);
    this.#size += key.length;
  }

  /** Adds to a counter. */
  increment(key: string, field: string, by: number): void {
    (this.#increment ??= []).push({ key, field, by });
    this.#size += key.length + field.length;
  }

  get events(): readonly DraftEvent[] {
    return this.#append ?? NONE;
  }

  append(fields: DraftEvent): void {
    if (this.#append === null) this.#append = [fields];
    else this.#append.push(fields);
    this.#size += 20 * Object.keys(fields).length;
  }

  /** The batch under a guard; parts are absent where there is nothing. */
  batch(guard: Batch['guard'], observe: readonly string[]): Batch {
    const batch: { -readonly [Part in keyof Batch]: Batch[Part] } = { guard };
    if (observe.length > 0) batch.observe = observe;
    if (this.#set !== null) batch.set = this.#set;
    if (this.#index !== null) batch.index = this.#index;
    if (this.#append !== null) batch.append = this.#append;
    if (this.#remove !== null) batch.remove = this.#remove;
    if (this.#increment !== null) batch.increment = this.#increment;
    return batch;
  }
}
