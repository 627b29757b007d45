/**
 * The highest fences this process has held, for a bounded number of tasks. A storage that was restored from an older
 * snapshot would issue them a second time; who reads a lower one than it held claims above both.
 */
const REMEMBERED = 10_000;

export class FenceMemory {
  // Two generations: to forget the older half is one assignment, while a map that loses its oldest entry with each new
  // one has to skip ever more gaps to find it.
  #recent = new Map<string, number>();
  #older: ReadonlyMap<string, number> = new Map();

  remember(taskId: string, fence: number): void {
    this.#recent.set(taskId, Math.max(fence, this.highest(taskId)));
    if (this.#recent.size < REMEMBERED / 2) return;
    this.#older = this.#recent;
    this.#recent = new Map();
  }

  /** The highest fence held, or 0. */
  highest(taskId: string): number {
    return this.#recent.get(taskId) ?? this.#older.get(taskId) ?? 0;
  }
}
