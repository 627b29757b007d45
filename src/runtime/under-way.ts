/** Work that a shutdown waits for: what was made for a queue is to get there, while that is still open. */
export class UnderWay {
  readonly #work = new Set<Promise<unknown>>();

  /** The same promise, known until it settles. */
  add<T>(work: Promise<T>): Promise<T> {
    const over = (): void => void this.#work.delete(work);
    this.#work.add(work);
    work.then(over, over);
    return work;
  }

  /** Resolves once nothing is under way, however it ended. */
  async ended(): Promise<void> {
    while (this.#work.size > 0) await Promise.allSettled(this.#work);
  }
}
