/**
 * Attempts that this process lost and outlived. Whoever took such a task has charged it with a crash that never was; a
 * line in the task's control record says so, and the charge is dropped when the task is looked at next.
 */
import { kindOf } from '../errors.js';
import { log } from '../log.js';
import { controlBatch, decodeControl, livedField } from '../state/control.js';
import { keys } from '../state/keys.js';
import { fenceOf } from '../state/token.js';
import { TOKEN_FIELD } from '../storage/storage.js';
import type { Engine } from './engine.js';
import { notAfter } from './engine.js';

/** More than these are let go: a charge too many is better than a list without an end. */
const REMEMBERED = 10_000;

export class Survivors {
  readonly #engine: Engine;
  readonly #lost = new Map<string, { readonly taskId: string; readonly fence: number }>();
  #running: Promise<void> | null = null;

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  /** An attempt was lost, and this process is alive to tell. */
  add(taskId: string, fence: number): void {
    if (this.#lost.size >= REMEMBERED || this.#engine.closing !== null) return;
    this.#lost.set(`${fence} ${taskId}`, { taskId, fence });
    void this.tell();
  }

  /** Writes down what is not written yet. What fails is tried again with the next sweep. */
  tell(): Promise<void> {
    this.#running ??= this.#tellAll().finally(() => {
      this.#running = null;
    });
    return this.#running;
  }

  async #tellAll(): Promise<void> {
    try {
      for (const [key, { taskId, fence }] of this.#lost) {
        if (await this.#told(taskId, fence)) this.#lost.delete(key);
      }
    } catch (error) {
      log.recovery('a survivor could not be told of yet: %s', kindOf(error));
    }
  }

  /** Whether there is nothing more to tell of it. */
  async #told(taskId: string, fence: number): Promise<boolean> {
    const { store, queue, random, worker } = this.#engine;
    const partition = store.partitionOf(taskId);
    const { records } = await store.read(partition, [keys.head(taskId), keys.control(taskId)]);
    const token = records[0]?.get(TOKEN_FIELD);
    const status = records[0]?.get('status') ?? '';
    const ended = !['processing', 'orphaned', 'pending'].includes(status);
    if (token === undefined || ended) return true;
    // This process has taken it back itself, which costs nothing.
    const owner = status === 'processing' ? records[0]?.get('owner') : undefined;
    if (owner === worker.incarnation && fenceOf(token) === fence + 1) return true;
    // Nobody has claimed it yet, but somebody may still.
    if ((fenceOf(token) ?? 0) <= fence) return false;
    const control = decodeControl(records[1]);
    if (control.lived.has(fence)) return true;
    const stamp = { nonce: random.nonce(), notAfter: notAfter(this.#engine, partition) };
    const { outcome } = await queue.commit(
      partition,
      controlBatch(taskId, livedField(fence), control, stamp),
    );
    return outcome.status === 'applied' || outcome.status === 'duplicate';
  }
}
