/** The users' `cleanup` hooks, after tasks have ended without success. What they do never touches the task again. */
import { decodeHead } from '../state/head.js';
import { keys } from '../state/keys.js';
import type { CleanupReason } from './task-options.js';
import type { Engine, Handler } from './engine.js';
import { argumentsOf, examine, inputTextOf } from './snapshot.js';
import { alertedError } from './task-errors.js';

export class Cleanups {
  readonly #engine: Engine;
  readonly #running = new Set<Promise<void>>();

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  /** Calls the hook, if there is one. */
  run(handler: Handler, taskId: string, reason: CleanupReason): void {
    if (handler.cleanup === null) return;
    const running = this.#run(handler, taskId, reason).finally(() => this.#running.delete(running));
    this.#running.add(running);
  }

  /** Resolves once no hook is at work. */
  async ended(): Promise<void> {
    while (this.#running.size > 0) await Promise.all(this.#running);
  }

  async #run(handler: Handler, taskId: string, reason: CleanupReason): Promise<void> {
    const { store, emitter } = this.#engine;
    try {
      const { records } = await store.read(store.partitionOf(taskId), [keys.head(taskId)]);
      if (!records[0]) return;
      const head = decodeHead(taskId, records[0]);
      const args = argumentsOf(head, await inputTextOf(this.#engine, head));
      const { snapshot } = await examine(this.#engine, handler, head, head.task.orphanCause ?? 'own');
      await handler.cleanup?.(snapshot, reason, args);
    } catch (error) {
      emitter.alert('cleanup_failed', {
        task_id: taskId,
        name: handler.name,
        ...alertedError(this.#engine, error),
      });
    }
  }
}
