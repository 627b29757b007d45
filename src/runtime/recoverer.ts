/**
 * One pass of recovery: find orphans and put them into the recovery queue, then take them out of it in priority order,
 * as many at once as there are slots, and run them. Start, sweeps and `recover()` all use this.
 */
import { isRecoveryError, kindOf, messageOf } from '../errors.js';
import type { OrphanCause, Plan } from '../domain/task.js';
import { log } from '../log.js';
import { indexes } from '../state/keys.js';
import { orphanBatch, quarantineBatch } from '../state/transitions.js';
import type { Outcome } from '../storage/storage.js';
import { claim } from './claims.js';
import { deferred } from './deferred.js';
import type { Engine } from './engine.js';
import { notAfter } from './engine.js';
import { readHeads } from './orphans.js';
import type { Candidate, DeadWorker, OrphanFinder } from './orphans.js';
import { queueOrder } from './recovery-queue.js';
import type { Queued } from './recovery-queue.js';
import { outcomeOf } from './report.js';
import type { ReportBuilder } from './report.js';
import type { Slots } from './slots.js';
import { removalOf } from './worker.js';

/** An orphan that no function is registered for here. */
export interface Unhandled {
  readonly taskId: string;
  readonly name: string;
  readonly reason: string;
}

export function unhandledOf({ taskId, name }: { readonly taskId: string; readonly name: string }): Unhandled {
  const reason = `NO_HANDLER: no function is registered under "${name}" here; it is left for a worker that has one.`;
  return { taskId, name, reason };
}

/** What a pass is restricted to. */
export interface PassFilter {
  readonly names?: readonly string[];
  readonly taskIds?: ReadonlySet<string>;
}

/** How many tasks without a handler a report names, a task name. */
const UNHANDLED_LISTED = 100;

export class Recoverer {
  readonly #engine: Engine;
  readonly #finder: OrphanFinder;

  constructor(engine: Engine, finder: OrphanFinder) {
    this.#engine = engine;
    this.#finder = finder;
  }

  /** Finds orphans and queues them; returns how many. */
  async discover(filter: PassFilter, report: ReportBuilder, judgeLeases: boolean): Promise<void> {
    const names = this.namesOf(filter);
    const dead = await this.#finder.deadWorkers();
    const unhandled = new Map<string, Unhandled>();
    for await (const candidates of this.#finder.find(names, dead, judgeLeases)) {
      const queued: Promise<boolean>[] = [];
      for (const each of candidates) {
        if (each.kind === 'corrupt') queued.push(this.#enqueue(each));
        else if (!isWanted(filter, each.head.task.taskId)) continue;
        else if (each.kind === 'orphan') queued.push(this.#enqueue(each));
        else unhandled.set(each.head.task.taskId, unhandledOf(each.head.task));
      }
      await Promise.all(queued);
      log.recovery('%d candidates put into the recovery queue', queued.length);
    }
    for (const name of names) report.stuck(await this.#engine.store.count(indexes.stuck(name)));
    for await (const each of this.unhandled(filter)) unhandled.set(each.taskId, each);
    for (const each of unhandled.values()) report.add({ ...each, decision: 'skip', outcome: 'skipped' });
    await this.#forget(dead);
  }

  /**
   * Takes tasks out of the queue and runs them. `underWay` is called when no more can be started for now; the promise
   * resolves at the end of the queue, with one for the end of all that this pass started.
   */
  async drain(
    filter: PassFilter,
    report: ReportBuilder,
    slots: Slots,
    underWay: () => void,
  ): Promise<{ ended: Promise<unknown> }> {
    const running = new Set<Promise<void>>();
    const claiming = new Set<Promise<void>>();
    const settled = async (): Promise<void> => {
      await Promise.all(claiming);
      underWay();
    };
    for await (const queued of queueOrder(this.#engine.store, this.namesOf(filter))) {
      if (this.#engine.closing !== null) break;
      if (!isWanted(filter, queued.taskId)) continue;
      if (slots.exhausted) void settled();
      await slots.acquire();
      if (this.#engine.closing !== null) {
        slots.release();
        break;
      }
      const started = deferred<void>();
      claiming.add(started.promise);
      void started.promise.then(() => claiming.delete(started.promise));
      const run = this.#recover(queued, report, started.resolve).finally(() => {
        slots.release();
        running.delete(run);
      });
      running.add(run);
    }
    await settled();
    return { ended: Promise.all(running) };
  }

  /** The names this process looks at. */
  namesOf(filter: PassFilter): Set<string> {
    const names = new Set<string>();
    for (const handler of this.#engine.handlers.values()) {
      if (handler.recoverable && (filter.names?.includes(handler.name) ?? true)) names.add(handler.name);
    }
    return names;
  }

  async #enqueue(candidate: Exclude<Candidate, { kind: 'unhandled' }>): Promise<boolean> {
    if (candidate.kind === 'corrupt') {
      await this.#quarantine(candidate.taskId, candidate.name, candidate.owner, candidate.error.message);
      return false;
    }
    const { store, queue, random } = this.#engine;
    const { head, cause } = candidate;
    const partition = store.partitionOf(head.task.taskId);
    const batch = orphanBatch(head, cause, random.nonce(), notAfter(this.#engine, partition));
    const { outcome } = await queue.commit(partition, batch);
    return outcome.status === 'applied' || outcome.status === 'duplicate';
  }

  async #quarantine(
    taskId: string,
    name: string | null,
    owner: string | null,
    reason: string,
  ): Promise<void> {
    const { store, queue, random, emitter } = this.#engine;
    const partition = store.partitionOf(taskId);
    const task = { taskId, name: name ?? 'unknown', owner, reason: reason.slice(0, 1_000) };
    const put = async (expect: string | null): Promise<Outcome> => {
      const batch = quarantineBatch(task, random.nonce(), notAfter(this.#engine, partition), expect);
      return (await queue.commit(partition, batch)).outcome;
    };
    const outcome = await put(null);
    if (outcome.status === 'conflict') await put(outcome.current);
    emitter.alert('corrupt_record', { task_id: taskId, reason: task.reason });
  }

  async #recover(queued: Queued, report: ReportBuilder, started: () => void): Promise<void> {
    const { taskId, name } = queued;
    try {
      const result = await this.#start(queued, report);
      started();
      if (result === null) return;
      const { plan, promise } = result;
      const base = { taskId, name, decision: plan.action, reason: plan.reason };
      await promise.then(
        () => report.add({ ...base, outcome: 'completed' }),
        (thrown: unknown) => report.add({ ...base, ...outcomeOf(thrown) }),
      );
    } catch (error) {
      log.recovery('recovering %s failed: %s', taskId, kindOf(error));
      report.add({
        taskId,
        name,
        decision: 'skip',
        reason: 'It could not be claimed; the next sweep tries again.',
        outcome: 'skipped',
        error: messageOf(error),
      });
    } finally {
      started();
    }
  }

  async #start(
    { partition, taskId, name }: Queued,
    report: ReportBuilder,
  ): Promise<{ plan: Plan; promise: Promise<unknown> } | null> {
    const { flights, handlers, store } = this.#engine;
    const handler = handlers.get(name);
    if (handler === undefined || flights.has(taskId)) return null;
    const own = flights.open(taskId, name, null);
    try {
      const [head = null] = await readHeads(store, partition, [taskId]);
      if (head instanceof Error) throw head;
      if (head === null || head.task.status !== 'orphaned') {
        own.lost();
        return null;
      }
      report.discovered(1);
      const cause: OrphanCause = head.task.orphanCause ?? 'lease_over';
      const claimed = await claim(this.#engine, handler, head, cause);
      if (claimed.kind !== 'started') {
        own.lost();
        if (claimed.kind === 'lost') return null;
        const outcome = claimed.kind === 'skipped' ? 'skipped' : 'dead_letter';
        report.add({ taskId, name, decision: claimed.plan.action, reason: claimed.plan.reason, outcome });
        return null;
      }
      own.flight.inputText = claimed.inputText;
      own.won(claimed.result);
      report.started();
      return { plan: claimed.plan, promise: claimed.result };
    } catch (error) {
      own.lost();
      // Not for a refused write: a claim writes to what all tasks share, and that is not this task's fault.
      if (!isRecoveryError(error, 'CORRUPT_RECORD')) throw error;
      await this.#quarantine(taskId, name, null, error.message);
      return null;
    }
  }

  /**
   * Orphans whose name has no function here: the first {@link UNHANDLED_LISTED} a name, partition and state.
   */
  async *unhandled(filter: PassFilter): AsyncGenerator<Unhandled> {
    const { store, tasks, handlers } = this.#engine;
    for (const name of await tasks.names()) {
      if (handlers.has(name) || !(filter.names?.includes(name) ?? true)) continue;
      for (const partition of store.partitions) {
        const [running, queued] = await Promise.all([
          store.range(partition, indexes.inState('processing', name), {
            to: { fromNow: 0 },
            limit: UNHANDLED_LISTED,
          }),
          store.range(partition, indexes.inState('orphaned', name), { limit: UNHANDLED_LISTED }),
        ]);
        for (const { id } of [...running.entries, ...queued.entries]) {
          if (isWanted(filter, id)) yield unhandledOf({ taskId: id, name });
        }
      }
    }
  }

  /** Takes the records of dead workers away once they hold nothing. */
  async #forget(dead: readonly DeadWorker[]): Promise<void> {
    const { store, queue } = this.#engine;
    for (const { incarnation, token } of dead) {
      if (token === null || (await store.count(indexes.held(incarnation))) > 0) continue;
      await queue.commit(store.home, removalOf(incarnation, token, notAfter(this.#engine, store.home)));
    }
  }
}

function isWanted({ taskIds }: PassFilter, taskId: string): boolean {
  return taskIds === undefined || taskIds.has(taskId);
}
