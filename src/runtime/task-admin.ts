/** What operators do to single tasks: cancel and requeue. Nobody but its owner writes the head of a running task. */
import { isRecoveryError } from '../errors.js';
import { checkId } from '../domain/ids.js';
import { cancelField, controlBatch, decodeControl } from '../state/control.js';
import type { Control } from '../state/control.js';
import { decodeHead } from '../state/head.js';
import type { Head } from '../state/head.js';
import { keys } from '../state/keys.js';
import type { FailureCommands, FailureReport } from '../state/failure-filter.js';
import type { CancelOutcome, TaskCommands } from '../state/task-registry.js';
import { forgetBatch, requeueBatch } from '../state/endings.js';
import type { Stamp } from '../state/removal.js';
import type { Batch } from '../storage/storage.js';
import { applied, changing, endUnowned, stampFor, TRIES, wrongState } from './commits.js';
import type { Engine } from './engine.js';
import { purge } from './purging.js';
import { reportFailure } from './report-failure.js';
import { cancelledError, notFound } from './task-errors.js';

/** Longer reasons are cut: they are stored, and told with the event. */
const LONGEST_REASON = 1_000;
const ENDED: ReadonlySet<string> = new Set(['completed', 'failed', 'cancelled', 'dead_letter']);

export class TaskAdmin implements TaskCommands, FailureCommands {
  readonly #engine: Engine;

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  async cancel(taskId: string, given: string): Promise<CancelOutcome> {
    const reason = given.slice(0, LONGEST_REASON).toWellFormed();
    for (let tries = 0; tries < TRIES; tries += 1) {
      const { head, control, nowMs } = await this.#find(taskId);
      const { status } = head.task;
      if (ENDED.has(status)) return 'ended';
      if (control.cancel === null) {
        const batch = controlBatch(taskId, cancelField(reason), control, this.#stamp(taskId));
        if (!(await this.#commit(taskId, batch))) continue;
      }
      if (status === 'processing') {
        const here = [...this.#engine.attempts].filter((attempt) => attempt.taskId === taskId);
        for (const attempt of here) attempt.halt(cancelledError(taskId, reason), 'cancelled');
        // With its lease over, nobody is there to hear of it.
        if (here.length > 0 || (head.task.leaseUntilMs ?? 0) > nowMs) return 'requested';
      }
      if (await this.#end(head, reason)) return 'cancelled';
    }
    throw changing(taskId);
  }

  async requeue(taskId: string): Promise<void> {
    for (let tries = 0; tries < TRIES; tries += 1) {
      const { head } = await this.#find(taskId);
      const { status } = head.task;
      if (status === 'completed' || status === 'processing' || status === 'pending') {
        const advice = 'only tasks that were given up, failed, cancelled or wait can be requeued';
        throw wrongState(head.task, advice);
      }
      const { nonce, notAfter: until } = this.#stamp(taskId);
      if (!(await this.#commit(taskId, requeueBatch(head, nonce, until)))) continue;
      this.#engine.undecodable.delete(taskId);
      this.#wake(taskId);
      this.#engine.kick();
      return;
    }
    throw changing(taskId);
  }

  /** Forgets a failure; false when there is none. A task that is being retried right now is left to its end. */
  async remove(taskId: string): Promise<boolean> {
    for (let tries = 0; tries < TRIES; tries += 1) {
      const head = await this.#findAny(taskId);
      if (!head?.failed) return false;
      if (!ENDED.has(head.task.status))
        throw wrongState(head.task, 'its failure is removed when it completes');
      const { nonce, notAfter: until } = this.#stamp(taskId);
      if (await this.#commit(taskId, forgetBatch(head, head.failed.failure, nonce, until))) return true;
    }
    throw changing(taskId);
  }

  /** Takes a task that has ended away, with all that is kept of it; false when there is none. */
  async removeTask(taskId: string): Promise<boolean> {
    for (let tries = 0; tries < TRIES; tries += 1) {
      // One whose removal was begun is removed to its end.
      const head = await this.#read(taskId);
      if (head === null) return false;
      if (!ENDED.has(head.task.status)) throw wrongState(head.task, 'cancel it, or wait for its end');
      if (await purge(this.#engine, head)) return true;
    }
    throw changing(taskId);
  }

  /** Keeps a failure that is reported by hand. */
  report(failure: FailureReport): Promise<string> {
    return reportFailure(this.#engine, failure);
  }

  async #end(head: Head, reason: string): Promise<boolean> {
    const { taskId, crashes } = head.task;
    const error = cancelledError(taskId, reason);
    if (!(await endUnowned(this.#engine, head, 'cancelled', crashes, error.message))) return false;
    this.#wake(taskId);
    this.#engine.suspects.drop(taskId, error);
    return true;
  }

  /** Whoever waits for its next try here looks at once. */
  #wake(taskId: string): void {
    for (const { taskId: waiting, wake } of this.#engine.pauses) if (waiting === taskId) wake();
  }

  async #read(taskId: string): Promise<Head | null> {
    const { store } = this.#engine;
    checkId('The task id', taskId);
    await store.look();
    const { records } = await store.read(store.partitionOf(taskId), [keys.head(taskId)]);
    return records[0] ? decodeHead(taskId, records[0]) : null;
  }

  /** Null when there is none. */
  async #findAny(taskId: string): Promise<Head | null> {
    try {
      return (await this.#find(taskId)).head;
    } catch (error) {
      if (isRecoveryError(error, 'TASK_NOT_FOUND')) return null;
      throw error;
    }
  }

  async #find(taskId: string): Promise<{ head: Head; control: Control; nowMs: number }> {
    const { store } = this.#engine;
    checkId('The task id', taskId);
    await store.look();
    const wanted = [keys.head(taskId), keys.control(taskId)];
    const { records, nowMs } = await store.read(store.partitionOf(taskId), wanted);
    const head = records[0] ? decodeHead(taskId, records[0]) : null;
    // One that is being removed is gone.
    if (head?.purged === null) return { head, control: decodeControl(records[1]), nowMs };
    throw notFound(taskId);
  }

  #stamp(taskId: string): Stamp {
    return stampFor(this.#engine, taskId);
  }

  #commit(taskId: string, batch: Batch): Promise<boolean> {
    return applied(this.#engine, this.#engine.store.partitionOf(taskId), batch);
  }
}
