/**
 * The highest fences this process has held, for a bounded number of tasks. A storage that was restored from an older
 * snapshot would issue them a second time; who reads a lower one than it held claims above both.
 */
const REMEMBERED = 10_000;

export class FenceMemory {
  readonly #fences = new Map<string, number>();

  remember(taskId: string, fence: number): void {
    const highest = Math.max(fence, this.#fences.get(taskId) ?? 0);
    this.#fences.delete(taskId);
    this.#fences.set(taskId, highest);
    if (this.#fences.size <= REMEMBERED) return;
    for (const oldest of this.#fences.keys()) {
      this.#fences.delete(oldest);
      return;
    }
  }

  /** The highest fence held, or 0. */
  highest(taskId: string): number {
    return this.#fences.get(taskId) ?? 0;
  }
}
