/**
 * One pass of recovery: find orphans and put them into the recovery queue, then take them out of it in priority order,
 * as many at once as there are slots, and run them. Start, sweeps and `recover()` all use this.
 */
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
import { readHeads } from './orphans.js';
import { queueOrder } from './recovery-queue.js';
import type { Queued } from './recovery-queue.js';
import { outcomeOf } from './report.js';
import type { ReportBuilder } from './report.js';
import type { Slots } from './slots.js';
import type { Starter } from './starter.js';
import { isUndecodable } from './task-errors.js';

type Running = Extract<ClaimResult, { kind: 'started' }>;

/** A suspect that was put aside. */
interface AsideSuspect {
  readonly queued: Queued;
  readonly crashes: readonly CrashEvidence[];
}

/** One pass, with what it needs at every task. */
interface Pass {
  readonly filter: PassFilter;
  readonly report: ReportBuilder;
  readonly slots: Slots;
  /** What was put aside: suspects run apart from the others. */
  readonly suspects: AsideSuspect[];
}

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
   * Takes tasks out of the queue and runs them. `underWay` is called when no more can be started for now; the promise
   * resolves at the end of the queue, with one for the end of all that this pass started.
   */
  async drain(
    filter: PassFilter,
    report: ReportBuilder,
    slots: Slots,
    underWay: () => void,
  ): Promise<{ ended: Promise<unknown> }> {
    const pass: Pass = { filter, report, slots, suspects: [] };
    const running = new Set<Promise<void>>();
    const claiming = new Set<Promise<void>>();
    const settled = async (): Promise<void> => {
      await Promise.all(claiming);
      underWay();
    };
    let nextMs = Infinity;
    const order = queueOrder(this.#engine.store, this.#discovery.namesOf(filter), (count, dueInMs) => {
      report.deferred(count);
      nextMs = Math.min(nextMs, dueInMs);
    });
    for await (const queued of order) {
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
      const run = this.#recover(queued, pass, started.resolve).finally(() => {
        slots.release();
        running.delete(run);
      });
      running.add(run);
    }
    await settled();
    if (nextMs < Infinity) this.#engine.wakeIn(nextMs);
    return { ended: Promise.all([...running, this.#trials(pass)]) };
  }

  /** Runs the suspects, each in its turn. */
  async #trials(pass: Pass): Promise<void> {
    await Promise.all(pass.suspects.map((suspect) => this.#trial(suspect, pass)));
    if (pass.suspects.length === MOST_SUSPECTS) this.#engine.kick();
  }

  async #trial({ queued, crashes }: AsideSuspect, pass: Pass): Promise<void> {
    let leave: () => void;
    try {
      leave = await this.#engine.suspects.turn(queued.taskId, crashes);
    } catch (error) {
      // It stays in the queue.
      log.recovery('%s got no turn: %s', queued.taskId, kindOf(error));
      pass.report.deferred(1);
      return;
    }
    // Given back long ago, unless there was nothing to run.
    if (this.#engine.closing === null) await this.#recover(queued, pass, () => {}, leave);
    leave();
  }

  async #recover(
    queued: Queued,
    pass: Pass,
    started: () => void,
    leave: (() => void) | null = null,
  ): Promise<void> {
    const { taskId, name } = queued;
    const { report } = pass;
    try {
      const found = await this.#start(queued, pass, leave);
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
              : { ...outcomeOf(thrown, this.#engine.closing), ...DEFERRED };
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

  async #start(
    { partition, taskId, name, score }: Queued,
    pass: Pass,
    leave: (() => void) | null,
  ): Promise<Running | null> {
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
      const [head = null] = await readHeads(store, partition, [taskId]);
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
        else if (suspects.length < MOST_SUSPECTS)
          suspects.push({ queued: { partition, taskId, name, score }, crashes });
        return null;
      }
      return await this.#claim(handler, head, own, pass, leave);
    } catch (error) {
      own.lost();
      if (isUndecodable(error, taskId)) leaveToOthers(this.#engine, taskId, name);
      // Not for a refused write: a claim writes to what all tasks share, and that is not this task's fault.
      if (!isRecoveryError(error, 'CORRUPT_RECORD')) throw error;
      await this.#discovery.quarantine(taskId, name, null, error.message);
      return null;
    }
  }

  async #claim(
    handler: Handler,
    head: Head,
    own: OwnFlight,
    { report, slots }: Pass,
    leave: (() => void) | null,
  ): Promise<Running | null> {
    const { taskId, name, items, orphanCause } = head.task;
    report.discovered(1);
    const queue = handler.dispatch;
    const taking = { leave, queue };
    const claimed = await claim(this.#engine, handler, head, orphanCause ?? 'lease_over', taking);
    if (claimed.kind !== 'started') {
      own.lost();
      if (claimed.kind === 'lost') return null;
      const { plan, kind: outcome } = claimed;
      report.add({ taskId, name, decision: plan.action, reason: plan.reason, outcome, items });
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

  /** Whether it has to be tried apart from the others. One that is to be given up needs no trial. */
  #isSuspect({ crashBudget }: Handler, { task }: Head): boolean {
    const nowMs = this.#engine.store.estimatedNowMs(this.#engine.store.partitionOf(task.taskId));
    const recent = recentCrashes(task.crashes, crashBudget, nowMs);
    return isSuspect(recent) && !isSpent(recent, crashBudget);
  }
}

const DEFERRED = { outcome: 'deferred' } as const;
