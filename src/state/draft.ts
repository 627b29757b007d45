/** What a writer gathers until its next batch is frozen. Later changes of a field or an index entry replace earlier ones. */
import type { Batch, Fields, FromNow, Value } from '../storage/storage.js';

interface RecordDraft {
  readonly set: Map<string, Value>;
  readonly unset: Set<string>;
}

export class Draft {
  readonly #records = new Map<string, RecordDraft>();
  readonly #index = new Map<string, { index: string; id: string; score: number | FromNow | null }>();
  readonly #append: Fields[] = [];
  #size = 0;

  get size(): number {
    return this.#size;
  }

  set(key: string, fields: Fields): void {
    const record = this.#record(key);
    for (const name of Object.keys(fields)) {
      const value = fields[name] ?? '';
      record.set.set(name, value);
      record.unset.delete(name);
      this.#size += name.length + (typeof value === 'string' ? value.length : 13);
    }
  }

  unset(key: string, fields: readonly string[]): void {
    const record = this.#record(key);
    for (const name of fields) {
      record.unset.add(name);
      record.set.delete(name);
      this.#size += name.length;
    }
  }

  index(index: string, id: string, score: number | FromNow | null): void {
    this.#index.set(`${index}\0${id}`, { index, id, score });
    this.#size += index.length + id.length;
  }

  append(fields: Fields): void {
    this.#append.push(fields);
    this.#size += 20 * Object.keys(fields).length;
  }

  /** The parts of a batch; absent where there is nothing. */
  parts(): Pick<Batch, 'set' | 'unset' | 'index' | 'append'> {
    const set: { key: string; fields: Fields }[] = [];
    const unset: { key: string; fields: readonly string[] }[] = [];
    for (const [key, record] of this.#records) {
      if (record.set.size > 0) set.push({ key, fields: Object.fromEntries(record.set) });
      if (record.unset.size > 0) unset.push({ key, fields: [...record.unset] });
    }
    return {
      ...(set.length > 0 ? { set } : {}),
      ...(unset.length > 0 ? { unset } : {}),
      ...(this.#index.size > 0 ? { index: [...this.#index.values()] } : {}),
      ...(this.#append.length > 0 ? { append: this.#append } : {}),
    };
  }

  #record(key: string): RecordDraft {
    let record = this.#records.get(key);
    if (record === undefined) this.#records.set(key, (record = { set: new Map(), unset: new Set() }));
    return record;
  }
}
