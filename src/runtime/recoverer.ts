/**
 * One pass of recovery: takes what was found and needs no queue, then tasks out of the recovery queue in priority order,
 * as many at once as there are slots, and runs them. Start, sweeps and `recover()` all use this.
 */
import { turned } from '../clock.js';
import { isRecoveryError, kindOf, messageOf } from '../errors.js';
import type { CrashEvidence } from '../domain/task.js';
import { log } from '../log.js';
import { isSpent, isSuspect, recentCrashes } from '../recovery/strategies.js';
import type { Head } from '../state/head.js';
import { claim } from './claims.js';
import type { ClaimResult } from './claims.js';
import { deferred } from './deferred.js';
import { isWanted } from './discovery.js';
import type { Discovery, PassFilter } from './discovery.js';
import type { Engine, Handler } from './engine.js';
import { leaveToOthers } from './engine.js';
import type { OwnFlight } from './flights.js';
import { readTasks } from './heads.js';
import type { Orphan } from './orphans.js';
import { queueOrder } from './recovery-queue.js';
import { outcomeOf } from './report.js';
import type { ReportBuilder } from './report.js';
import type { Slots } from './slots.js';
import type { Starter } from './starter.js';
import { isUndecodable } from './task-errors.js';
import { inTurn, readLongAgo } from './taken.js';
import type { Taken } from './taken.js';

type Running = Extract<ClaimResult, { kind: 'started' }>;

/** A suspect that was put aside. */
interface AsideSuspect {
  readonly taken: Taken;
  readonly crashes: readonly CrashEvidence[];
}

/** What a pass is about. */
interface PassOptions {
  readonly filter: PassFilter;
  readonly report: ReportBuilder;
  readonly slots: Slots;
  /** The look or the queue failed: throws, unless what was claimed already is to go on. */
  readonly failed: (error: unknown) => void;
}

/** One pass, with what it needs at every task. */
interface Pass extends PassOptions {
  /** What was put aside: suspects run apart from the others. */
  readonly suspects: AsideSuspect[];
  /** Put into the queue by this very pass, which has done with them. */
  readonly left: Set<string>;
}

/** How far a pass is. */
interface Progress {
  readonly running: Set<Promise<void>>;
  readonly claiming: Set<Promise<void>>;
  /** No more can be started for now. */
  readonly settled: () => Promise<void>;
}

/** Tasks begun in one turn of the event loop: few at first, so that the first runs soon, then as many as there were, up to this. */
const TOGETHER = 25;
const FIRST_TOGETHER = 4;

/** Suspects put aside in a pass; the next one gets to more. */
const MOST_SUSPECTS = 1_000;

export class Recoverer {
  readonly #engine: Engine;
  readonly #discovery: Discovery;
  readonly #starter: Starter;

  constructor(engine: Engine, discovery: Discovery, starter: Starter) {
    this.#engine = engine;
    this.#discovery = discovery;
    this.#starter = starter;
  }

  /**
   * Takes what was found, and then tasks out of the queue, and runs them. `underWay` is called when no more can be started
   * for now; the promise resolves at the end of the queue, with one for the end of all that this pass started.
   */
  async drain(
    found: AsyncIterable<Orphan>,
    options: PassOptions,
    underWay: () => void,
  ): Promise<{ ended: Promise<unknown> }> {
    const { filter, report } = options;
    const pass: Pass = { ...options, suspects: [], left: new Set() };
    const running = new Set<Promise<void>>();
    const claiming = new Set<Promise<void>>();
    const settled = async (): Promise<void> => {
      await Promise.all(claiming);
      underWay();
    };
    let nextMs = Infinity;
    const queued = queueOrder(this.#engine.store, this.#discovery.namesOf(filter), (count, dueInMs) => {
      report.deferred(count);
      nextMs = Math.min(nextMs, dueInMs);
    });
    try {
      await this.#takeAll(inTurn(found, queued), pass, { running, claiming, settled });
    } catch (error) {
      await Promise.all(claiming);
      options.failed(error);
    }
    await settled();
    if (nextMs < Infinity) this.#engine.wakeIn(nextMs);
    return { ended: Promise.all([...running, this.#trials(pass)]) };
  }

  /** Takes each when there is a slot for it. */
  async #takeAll(
    order: AsyncIterable<Taken>,
    pass: Pass,
    { running, claiming, settled }: Progress,
  ): Promise<void> {
    const { filter, slots } = pass;
    let taken = 0;
    let pauseAt = FIRST_TOGETHER;
    for await (const each of order) {
      if (this.#engine.closing !== null) break;
      if (!isWanted(filter, each.taskId) || pass.left.has(each.taskId)) continue;
      const waits = slots.exhausted;
      if (waits) void settled();
      await slots.acquire();
      if (this.#engine.closing !== null) {
        slots.release();
        break;
      }
      const started = deferred<void>();
      claiming.add(started.promise);
      void started.promise.then(() => claiming.delete(started.promise));
      const run = this.#recover(waits ? readLongAgo(each) : each, pass, started.resolve).finally(() => {
        slots.release();
        running.delete(run);
      });
      running.add(run);
      taken += 1;
      // What has been claimed is let run: else the first would wait until the last is on its way.
      if (taken < pauseAt) continue;
      pauseAt += Math.min(taken, TOGETHER);
      await turned(this.#engine.clock);
    }
  }

  /** Runs the suspects, each in its turn. */
  async #trials(pass: Pass): Promise<void> {
    await Promise.all(pass.suspects.map((suspect) => this.#trial(suspect, pass)));
    if (pass.suspects.length === MOST_SUSPECTS) this.#engine.kick();
  }

  async #trial({ taken, crashes }: AsideSuspect, pass: Pass): Promise<void> {
    let leave: () => void;
    try {
      leave = await this.#engine.suspects.turn(taken.taskId, crashes);
    } catch (error) {
      // It stays in the queue.
      log.recovery('%s got no turn: %s', taken.taskId, kindOf(error));
      pass.report.deferred(1);
      return;
    }
    // Given back long ago, unless there was nothing to run.
    if (this.#engine.closing === null) await this.#recover(taken, pass, () => {}, leave);
    leave();
  }

  async #recover(
    taken: Taken,
    pass: Pass,
    started: () => void,
    leave: (() => void) | null = null,
  ): Promise<void> {
    const { taskId, name } = taken;
    const { report } = pass;
    try {
      const found = await this.#start(taken, pass, leave);
      started();
      if (found === null) return;
      const { plan, attempt } = found;
      const told = { taskId, name, decision: plan.action, reason: plan.reason };
      await found.result.then(
        () => report.add({ ...told, items: attempt.items, outcome: 'completed' }),
        (thrown: unknown) => {
          const outcome =
            attempt.retryInMs === null
              ? outcomeOf(thrown, this.#engine.closing)
              : { ...outcomeOf(thrown, this.#engine.closing), outcome: 'deferred' as const };
          report.add({ ...told, items: attempt.items, ...outcome });
        },
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

  async #start(taken: Taken, pass: Pass, leave: (() => void) | null): Promise<Running | null> {
    const { taskId, name, orphan } = taken;
    const { report, suspects } = pass;
    const { flights, handlers, store } = this.#engine;
    const handler = handlers.get(name);
    if (handler === undefined || flights.has(taskId)) return null;
    if (this.#engine.undecodable.has(taskId)) {
      const reason = 'CODEC_FAILED: this process has no key for it; it is left for a worker that has.';
      report.add({ taskId, name, decision: 'skip', reason, outcome: 'skipped' });
      return null;
    }
    const own = flights.open(taskId, name, null);
    try {
      if (orphan !== undefined) return await this.#claim(handler, orphan, own, pass, leave);
      const [read] = await readTasks(store, store.partitionOf(taskId), [taskId]);
      const { head = null, control = null } = read ?? {};
      if (head instanceof Error) throw head;
      if (head === null || head.task.status !== 'orphaned') {
        own.lost();
        return null;
      }
      // In a queue's worker it waits for its turn there.
      if (leave === null && handler.dispatch === null && this.#isSuspect(handler, head)) {
        own.lost();
        const { crashes } = head.task;
        // One that waits for its turn already came with another pass, or with a call.
        if (this.#engine.suspects.has(taskId)) report.deferred(1);
        else if (suspects.length < MOST_SUSPECTS) suspects.push({ taken, crashes });
        return null;
      }
      const cause = head.task.orphanCause ?? 'lease_over';
      return await this.#claim(handler, { head, control, cause, ownerSuspects: 0 }, own, pass, leave);
    } catch (error) {
      own.lost();
      if (isUndecodable(error, taskId)) leaveToOthers(this.#engine, taskId, name);
      // It may be long until somebody can take it: it is to be seen waiting, with its crash.
      const cantClaim = isRecoveryError(error, 'CODEC_FAILED') || isRecoveryError(error, 'STORAGE_REFUSED');
      if (orphan !== undefined && cantClaim) await this.#leave(orphan, pass);
      // Not for a refused write: a claim writes to what all tasks share, and that is not this task's fault.
      if (!isRecoveryError(error, 'CORRUPT_RECORD')) throw error;
      await this.#discovery.quarantine(taskId, name, orphan?.head.task.owner ?? null, error.message);
      return null;
    }
  }

  async #claim(
    handler: Handler,
    orphan: Orphan,
    own: OwnFlight,
    pass: Pass,
    leave: (() => void) | null,
  ): Promise<Running | null> {
    const { report, slots } = pass;
    const { head, cause, ownerSuspects, control } = orphan;
    const { taskId, name, items, status } = head.task;
    report.discovered(1);
    const taking = { ownerSuspects, control, leave, queue: handler.dispatch };
    const claimed = await claim(this.#engine, handler, head, cause, taking);
    if (claimed.kind !== 'started') {
      own.lost();
      if (claimed.kind === 'lost') return null;
      const { plan, kind: outcome } = claimed;
      report.add({ taskId, name, decision: plan.action, reason: plan.reason, outcome, items });
      // A strategy leaves it alone: its crash is to be known all the same.
      if (outcome === 'skipped' && status === 'processing') await this.#leave(orphan, pass);
      if (claimed.kind === 'dispatched') {
        report.started();
        await claimed.hand();
      }
      return null;
    }
    own.flight.inputText = claimed.inputText;
    // One that had its turn as a suspect has no slot, and its next tries have none either.
    own.won(this.#starter.follow(handler, taskId, claimed, leave === null ? slots : null));
    report.started();
    return claimed;
  }

  /** Puts it into the queue, for others or for a later pass. */
  async #leave(orphan: Orphan, { left }: Pass): Promise<void> {
    left.add(orphan.head.task.taskId);
    await this.#discovery.enqueue(orphan);
  }

  /** Whether it has to be tried apart from the others. One that is to be given up needs no trial. */
  #isSuspect({ crashBudget }: Handler, { task }: Head): boolean {
    const nowMs = this.#engine.store.estimatedNowMs(this.#engine.store.partitionOf(task.taskId));
    const recent = recentCrashes(task.crashes, crashBudget, nowMs);
    return isSuspect(recent) && !isSpent(recent, crashBudget);
  }
}
