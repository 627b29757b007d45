import type { Draft } from '../state/draft.js';
import type { LiveTask } from '../state/live-task.js';
import type { WriterOwner } from '../state/record-writer.js';

/** The attempt from the side of its writer. */
export class HeadOwner implements WriterOwner {
  readonly #live: LiveTask;
  readonly lost: WriterOwner['lost'];

  constructor(live: LiveTask, lost: WriterOwner['lost']) {
    this.#live = live;
    this.lost = lost;
  }

  prepare(draft: Draft): void {
    this.#live.prepare(draft);
  }

  refused(): void {
    this.#live.refused();
  }

  renew(draft: Draft): readonly string[] {
    return this.#live.renew(draft);
  }

  renewed(): void {}
}
