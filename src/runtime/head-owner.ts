import type { RecoveryError } from '../errors.js';
import type { Draft } from '../state/draft.js';
import type { LiveTask } from '../state/live-task.js';
import type { WriterOwner } from '../state/record-writer.js';
import type { StoredRecord } from '../storage/storage.js';

/** What its writer tells and asks an attempt. */
interface Holding {
  readonly ranMs: number | null;
  controlled(record: StoredRecord | null): void;
  taken(current: string | null): RecoveryError;
}

/** The attempt from the side of its writer. */
export class HeadOwner implements WriterOwner {
  readonly #live: LiveTask;
  readonly #holding: Holding;

  constructor(live: LiveTask, holding: Holding) {
    this.#live = live;
    this.#holding = holding;
  }

  prepare(draft: Draft): void {
    this.#live.prepare(draft);
  }

  refused(): void {
    this.#live.refused();
  }

  renew(draft: Draft): readonly string[] {
    return this.#live.renew(draft, this.#holding.ranMs);
  }

  /** The control record comes with every renewal. */
  renewed(_sentMs: number, [control = null]: readonly (StoredRecord | null)[]): void {
    if (control !== null) this.#holding.controlled(control);
  }

  lost(current: string | null): RecoveryError {
    return this.#holding.taken(current);
  }
}
