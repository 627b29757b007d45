/**
 * The second phase: finds orphans and puts them into the recovery queue, and tells of those that nobody here can run. Few
 * enough to be all claimed at once stay out of the queue: that saves each of them a commit and a read.
 */
import { log } from '../log.js';
import { indexes } from '../state/keys.js';
import { orphanBatch, quarantineBatch } from '../state/transitions.js';
import type { Outcome } from '../storage/storage.js';
import { orphaningOf } from './charges.js';
import { removalOf } from './commits.js';
import type { Engine } from './engine.js';
import { notAfter } from './engine.js';
import { nextEnd } from './next-end.js';
import type { DeadWorker, Found, Orphan, OrphanFinder } from './orphans.js';
import type { ReportBuilder } from './report.js';

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

/** What a look came to. */
export interface Look {
  /** Orphans that are to be claimed now, all of them: they are not in the queue. What is found else goes there meanwhile. */
  readonly atOnce: AsyncIterable<Orphan>;
  /** What is left to do once they are claimed: tells of what nobody can run, forgets the dead, plans the next look. */
  finish(): Promise<void>;
}

/** How many tasks without a handler a report names, a task name. */
const UNHANDLED_LISTED = 100;

/** About so many workers look when a lease is over. */
const LOOKING = 16;

/** Workers look for what is over within this time of one another, in ms. */
const SPREAD_MS = 100;

export class Discovery {
  readonly #engine: Engine;
  readonly #finder: OrphanFinder;

  constructor(engine: Engine, finder: OrphanFinder) {
    this.#engine = engine;
    this.#finder = finder;
  }

  /**
   * Finds orphans and queues them.
   * @param slots how many tasks could be claimed at once
   */
  async discover(
    filter: PassFilter,
    report: ReportBuilder,
    judgeLeases: boolean,
    slots: number,
  ): Promise<Look> {
    const startedMs = this.#engine.clock.monotonicMs();
    const names = this.namesOf(filter);
    const [dead, waiting] = await Promise.all([
      this.#finder.deadWorkers(),
      slots > 0 ? this.waiting(filter) : 0,
    ]);
    const told = new Set<string>();
    const tell = (unhandled: Unhandled): void => {
      if (told.size < told.add(unhandled.taskId).size)
        report.add({ ...unhandled, decision: 'skip', outcome: 'skipped' });
    };
    const found = this.#finder.find(names, dead, judgeLeases);
    const finish = async (): Promise<void> => {
      for (const name of names) report.stuck(await this.#engine.store.count(indexes.stuck(name)));
      for await (const each of this.unhandled(filter)) tell(each);
      await this.#forget(dead);
      if (judgeLeases) await this.#lookAgain(names, startedMs);
    };
    return { atOnce: this.#sorted(found, filter, slots - waiting, tell), finish };
  }

  /** Gives what can be claimed at once, as soon as there is a slot for all that may still be found; the rest is queued. */
  async *#sorted(
    found: AsyncIterable<Found>,
    filter: PassFilter,
    slots: number,
    tell: (unhandled: Unhandled) => void,
  ): AsyncGenerator<Orphan> {
    let room = slots;
    const atOnce = new Map<string, Orphan>();
    const given = new Set<string>();
    for await (const { candidates, left } of found) {
      const queued: Orphan[] = [];
      const unreadable: Promise<void>[] = [];
      for (const each of candidates) {
        if (each.kind === 'corrupt') {
          if (given.size < given.add(each.taskId).size)
            unreadable.push(this.quarantine(each.taskId, each.name, each.owner, each.error.message));
        } else if (!isWanted(filter, each.head.task.taskId)) continue;
        else if (each.kind === 'unhandled') tell(unhandledOf(each.head.task));
        // Found twice: that its owner has died says more than that its lease is over.
        else if (given.has(each.head.task.taskId) || atOnce.has(each.head.task.taskId)) continue;
        else if (this.#isSimple(each)) atOnce.set(each.head.task.taskId, each);
        else queued.push(each);
      }
      // Not all of them can begin now, so it is for the queue to say which are first.
      room -= queued.length;
      if (atOnce.size > room) {
        queued.unshift(...atOnce.values());
        atOnce.clear();
        room = 0;
      }
      await Promise.all([...unreadable, ...queued.map((each) => this.enqueue(each))]);
      log.recovery('%d candidates put into the recovery queue', queued.length);
      if (atOnce.size + left > room) continue;
      room -= atOnce.size;
      for (const [taskId, each] of atOnce) {
        given.add(taskId);
        yield each;
      }
      atOnce.clear();
    }
    yield* atOnce.values();
  }

  /** Whether nothing speaks against claiming it right away: it need not wait, nor be tried apart, nor go to a queue. */
  #isSimple({ head }: Orphan): boolean {
    const { name, status, crashes } = head.task;
    if (status !== 'processing' || crashes.length > 0) return false;
    return this.#engine.handlers.get(name)?.dispatch === null;
  }

  /** Tasks in the recovery queue, due or not. */
  async waiting(filter: PassFilter): Promise<number> {
    const counts = [...this.namesOf(filter)].map((name) =>
      this.#engine.store.count(indexes.inState('orphaned', name)),
    );
    return (await Promise.all(counts)).reduce((sum, count) => sum + count, 0);
  }

  /**
   * Whoever dies without a proof is found when its lease is over, and a job that was lost when its hand-over is, not an
   * interval later. Leases that are alive are renewed long before, so this comes to about one look in two thirds of a lease.
   */
  async #lookAgain(names: ReadonlySet<string>, startedMs: number): Promise<void> {
    const { clock, random } = this.#engine;
    // Each look reads of all workers: in a large fleet only some of them look at the end of a lease.
    const share = LOOKING / (this.#finder.others + 1);
    if (share < 1 && random.fraction() >= share) return;
    const endInMs = await nextEnd(this.#engine, names, clock.monotonicMs() - startedMs);
    // Not all workers at the same moment, and not for each of many leases that end together.
    const spreadMs = random.fraction() * SPREAD_MS;
    if (endInMs < Infinity) this.#engine.wakeIn(Math.max(endInMs, SPREAD_MS) + spreadMs);
  }

  /** The names this process looks at. */
  namesOf(filter: PassFilter): Set<string> {
    const names = new Set<string>();
    for (const handler of this.#engine.handlers.values()) {
      if (handler.recoverable && (filter.names?.includes(handler.name) ?? true)) names.add(handler.name);
    }
    return names;
  }

  /** Puts an orphan into the recovery queue, unless somebody else was faster. */
  async enqueue({ head, cause, ownerSuspects }: Orphan): Promise<void> {
    const { store, queue, random } = this.#engine;
    const handler = this.#engine.handlers.get(head.task.name);
    const partition = store.partitionOf(head.task.taskId);
    const orphaning = orphaningOf(this.#engine, handler, head, cause, ownerSuspects);
    const batch = orphanBatch(head, orphaning, random.nonce(), notAfter(this.#engine, partition));
    await queue.commit(partition, batch);
  }

  /** Takes a task whose records can't be read out of the queues, with the reason. */
  async quarantine(taskId: string, name: string | null, owner: string | null, reason: string): Promise<void> {
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

  /**
   * Orphans whose name has no function here: the first {@link UNHANDLED_LISTED} a name, partition and state.
   */
  async *unhandled(filter: PassFilter): AsyncGenerator<Unhandled> {
    const { store, tasks, handlers } = this.#engine;
    for (const name of await tasks.allNames()) {
      if (handlers.has(name) || !(filter.names?.includes(name) ?? true)) continue;
      for (const partition of store.partitions) {
        const over = { to: { fromNow: 0 }, limit: UNHANDLED_LISTED } as const;
        const [running, handedOver, queued] = await Promise.all([
          store.range(partition, indexes.inState('processing', name), over),
          store.range(partition, indexes.inState('pending', name), over),
          store.range(partition, indexes.inState('orphaned', name), { limit: UNHANDLED_LISTED }),
        ]);
        for (const { id } of [...running.entries, ...handedOver.entries, ...queued.entries]) {
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

export function isWanted({ taskIds }: PassFilter, taskId: string): boolean {
  return taskIds === undefined || taskIds.has(taskId);
}
