/** The outside world that tasks have effects on: a receiver that honours idempotency keys, as a good payment service does. */
import { isDeepStrictEqual } from 'node:util';

/** What the receiver has seen of one key. */
export interface Effect {
  readonly key: string;
  /** The value of the first call. */
  readonly value: unknown;
  /** How often it was called with that value. */
  readonly calls: number;
}

/** What an idempotency key stands for. */
interface KeyName {
  readonly what: string;
  readonly taskId: string;
  readonly taskName: string;
}

/** Ids of tasks that are the same in each run. */
export type StableIds = ReadonlySet<string>;

function nameOf({ what, taskId, taskName }: KeyName, stable: StableIds | null): string {
  return `${what} of ${stable === null || stable.has(taskId) ? `"${taskId}"` : `a task "${taskName}"`}`;
}

export class Receiver {
  /** What the tasks' own idempotency keys stand for: they differ from run to run. */
  readonly #names = new Map<string, KeyName>();
  readonly #effects = new Map<string, { value: unknown; calls: number }>();
  /** Keys that came with two values. */
  readonly conflicts: { readonly key: string; readonly first: unknown; readonly second: unknown }[] = [];

  named(idempotencyKey: string, name: KeyName): void {
    this.#names.set(idempotencyKey, name);
  }

  /** A key in words that are the same in every run. `stable`: null where all ids are taken for such. */
  wordsOf(key: string, stable: StableIds | null = null): string {
    const known = this.#names.get(key);
    if (known !== undefined) return nameOf(known, stable);
    for (const [idempotencyKey, name] of this.#names) {
      if (key.includes(idempotencyKey))
        return JSON.stringify(key.replaceAll(idempotencyKey, nameOf(name, stable)));
    }
    return JSON.stringify(key);
  }

  get effects(): Effect[] {
    return [...this.#effects].map(([key, { value, calls }]) => ({ key, value, calls }));
  }

  /** False when it is refused: the key has come with another value before. */
  receive(key: string, value: unknown): boolean {
    const known = this.#effects.get(key);
    if (known === undefined) {
      this.#effects.set(key, { value, calls: 1 });
      return true;
    }
    if (isDeepStrictEqual(known.value, value)) {
      known.calls += 1;
      return true;
    }
    this.conflicts.push({ key, first: known.value, second: value });
    return false;
  }
}
