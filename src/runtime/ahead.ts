/** Pages of an index that are asked for before it is their turn, and how much they can hold. */
import { PAGE } from '../state/store.js';

/** Pages, the first one asked for already, and how many entries they have at most. */
export interface Ahead<T> {
  readonly pages: AsyncGenerator<T>;
  atMost(): Promise<number>;
}

/** Pages whose first one is asked for now. */
export function ahead<T extends { readonly entries: readonly unknown[] }>(
  pages: AsyncGenerator<T>,
): Ahead<T> {
  const asked = pages.next();
  // Told when it is its turn.
  asked.catch(() => {});
  const inTurn = async function* (): AsyncGenerator<T> {
    const first = await asked;
    if (first.done === true) return;
    yield first.value;
    yield* pages;
  };
  return {
    pages: inTurn(),
    async atMost() {
      const first = await asked;
      return first.done === true ? 0 : unlessFull(first.value.entries.length);
    },
  };
}

/** Pages that are asked for when it is their turn. */
export function later<T>(pages: AsyncGenerator<T>): Ahead<T> {
  return { pages, atMost: () => Promise.resolve(Infinity) };
}

/** How many there are, if no page comes after one of so many. */
export function unlessFull(entries: number): number {
  return entries < PAGE ? entries : Infinity;
}

/** How many entries all of these have together, at most. */
export async function atMost(indexes: readonly Ahead<unknown>[]): Promise<number> {
  const counts = await Promise.all(indexes.map((each) => each.atMost()));
  return counts.reduce((sum, count) => sum + count, 0);
}
