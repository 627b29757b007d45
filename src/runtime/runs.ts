/** Recovery on demand, at start and periodically: the five phases, and what a caller sees of them. */
import { isRecoveryError, kindOf, RecoveryError } from '../errors.js';
import { checkFilter, checkOptions, isText, listOf, number, oneOf } from '../domain/check-options.js';
import { DOCUMENT_FILTER_CHECKS, isRedrive } from '../domain/document-recovery.js';
import type { RedriveFilter } from '../domain/document-recovery.js';
import type { Plan } from '../domain/task.js';
import type { Head } from '../state/head.js';
import { log } from '../log.js';
import { indexes } from '../state/keys.js';
import { orphaningOf } from './charges.js';
import { deferred, within } from './deferred.js';
import { Discovery, unhandledOf } from './discovery.js';
import type { PassFilter, Unhandled } from './discovery.js';
import type { DocumentRecoveryManager } from './document-manager.js';
import type { Engine } from './engine.js';
import { assertOpen } from './engine.js';
import { checkHealth } from './health-check.js';
import { PassLog } from './logging.js';
import type { Monitor } from './monitor.js';
import { namespaceExists } from './namespace.js';
import { readHeads } from './orphans.js';
import type { Freed, OrphanFinder } from './orphans.js';
import { Recoverer } from './recoverer.js';
import { queueOrder } from './recovery-queue.js';
import { ReportBuilder } from './report.js';
import type { RecoveryReport } from './report.js';
import { Slots } from './slots.js';
import { isCorruption } from '../state/store.js';
import { examine, inputTextOf, planFor } from './snapshot.js';
import type { Starter } from './starter.js';
import { heldBack } from './submitter.js';
import { Sweeper } from './sweeper.js';
import { alertedError } from './task-errors.js';

/** Options of `runStartupRecovery`. */
export interface StartupOptions {
  /** Only these task names. Default: all that are registered. */
  readonly names?: readonly string[];
  /** Recovered tasks at once in this run. Default: the Recovery's. */
  readonly concurrency?: number;
  /** How long the phases before execution may take, in ms. Default 60,000. */
  readonly timeoutMs?: number;
  /** `continue`: when the storage is away, boot goes on and the sweeper recovers later. Default `throw`. */
  readonly onUnavailable?: 'throw' | 'continue';
}

/** What to recover on demand. Without anything: all orphans. With a part of {@link RedriveFilter}: failed documents. */
export interface RecoverFilter extends RedriveFilter {
  readonly names?: readonly string[];
  readonly taskIds?: readonly string[];
}

/** A recovery that is under way. */
export interface RecoveryRun {
  /** Risks that the health check saw in the storage's settings. */
  readonly warnings: readonly string[];
  /** Why start went on without recovery (`onUnavailable: 'continue'`); null when it didn't. */
  readonly postponed: RecoveryError | null;
  /** Resolves when all that this run claimed has ended. Never an unhandled rejection. */
  readonly finished: Promise<RecoveryReport>;
}

/** What would become of one task. */
export interface PlannedRecovery {
  readonly taskId: string;
  readonly name: string;
  readonly decision: Plan['action'];
  readonly reason: string;
  readonly evidence: Plan['evidence'];
  /** The strategy that decided. */
  readonly strategy: string;
  /** Whether it would be handed to the queue (`dispatch`), and run by whoever takes its job. */
  readonly dispatched: boolean;
}

const STARTUP_CHECKS = {
  names: listOf(isText),
  concurrency: number(1, 100_000),
  timeoutMs: number(1, 86_400_000),
  onUnavailable: oneOf('throw', 'continue'),
};
const STARTUP_MS = 60_000;

export class Runs {
  readonly sweeper: Sweeper;
  readonly #engine: Engine;
  readonly #finder: OrphanFinder;
  readonly #discovery: Discovery;
  readonly #recoverer: Recoverer;
  readonly #slots: Slots;
  #names: readonly string[] | null = null;
  /** Passes that have not been through the queue yet. */
  #claiming = 0;
  readonly #documents: DocumentRecoveryManager;
  readonly #monitor: Monitor;

  constructor(
    engine: Engine,
    finder: OrphanFinder,
    starter: Starter,
    documents: DocumentRecoveryManager,
    monitor: Monitor,
  ) {
    this.#engine = engine;
    this.#documents = documents;
    this.#monitor = monitor;
    this.#finder = finder;
    this.#discovery = new Discovery(engine, finder);
    this.#recoverer = new Recoverer(engine, this.#discovery, starter);
    this.#slots = new Slots(engine.settings.concurrency);
    this.sweeper = new Sweeper(engine, (judgeLeases) => this.#sweep(judgeLeases));
  }

  readonly runStartupRecovery = async (options: StartupOptions = {}): Promise<RecoveryRun> => {
    checkOptions('runStartupRecovery', options, STARTUP_CHECKS, []);
    assertOpen(this.#engine);
    const { leaseMs, concurrency } = this.#engine.settings;
    this.#names = options.names ?? null;
    const slots =
      options.concurrency === undefined ? this.#slots : new Slots(options.concurrency ?? concurrency);
    try {
      const warnings = await this.#within(options.timeoutMs ?? STARTUP_MS, checkHealth(this.#engine));
      for (const warning of warnings) this.#engine.emitter.alert('storage_settings', { warning });
      const run = this.#pass(this.#filter(), await this.sweeper.trustsLeases(), slots);
      await this.#within(options.timeoutMs ?? STARTUP_MS, run.underWay);
      this.sweeper.start(leaseMs + Math.ceil(leaseMs / 50));
      this.#startBackground();
      return { warnings, postponed: null, finished: run.finished };
    } catch (error) {
      if (options.onUnavailable !== 'continue' || !isAway(error)) throw error;
      log.recovery('start goes on without recovery: %s', kindOf(error));
      this.#engine.emitter.alert('recovery_postponed', alertedError(this.#engine, error));
      this.sweeper.start(Math.min(leaseMs, this.#engine.settings.sweepIntervalMs));
      this.#startBackground();
      const empty = new ReportBuilder(0).build(0);
      return { warnings: [], postponed: error, finished: Promise.resolve(empty) };
    }
  };

  readonly recover = async (filter: RecoverFilter = {}): Promise<RecoveryRun> => {
    checkFilter('recover', filter, DOCUMENT_FILTER_CHECKS);
    assertOpen(this.#engine);
    await this.#engine.worker.open();
    const { taskIds, names, ...redrive } = filter;
    if (isRedrive(redrive)) {
      const finished = this.#documents.run(filter).then(({ report }) => report);
      finished.catch(() => {});
      return { warnings: [], postponed: null, finished };
    }
    const wanted = {
      ...(names === undefined ? {} : { names }),
      ...(taskIds === undefined ? {} : { taskIds: new Set(taskIds) }),
    };
    const run = this.#pass(wanted, await this.sweeper.trustsLeases(), this.#slots);
    await run.underWay;
    return { warnings: [], postponed: null, finished: run.finished };
  };

  readonly planRecovery = async (): Promise<PlannedRecovery[]> => {
    assertOpen(this.#engine);
    const { store, flights } = this.#engine;
    // Looking is not joining: no worker record is written, no slot taken.
    if (!(await namespaceExists(this.#engine))) return [];
    const names = this.#discovery.namesOf({});
    const planned: PlannedRecovery[] = [];
    const seen = new Set<string>();
    const dead = await this.#finder.deadWorkers(true);
    for await (const candidates of this.#finder.find(names, dead, await this.sweeper.trustsLeases())) {
      for (const found of candidates) {
        if (found.kind === 'corrupt') planned.push(unreadable(found.taskId, found.name ?? '', found.error));
        else if (!seen.has(found.head.task.taskId)) {
          seen.add(found.head.task.taskId);
          if (found.kind === 'unhandled') planned.push(leftAlone(unhandledOf(found.head.task)));
          else planned.push(await this.#planned(found.head, found));
        }
      }
    }
    for await (const { partition, taskId, name } of queueOrder(store, names)) {
      if (flights.has(taskId)) continue;
      const [head = null] = await readHeads(store, partition, [taskId]);
      if (head instanceof Error) planned.push(unreadable(taskId, name, head));
      else if (head !== null) {
        const freed = { cause: head.task.orphanCause ?? 'lease_over', ownerSuspects: 0 } as const;
        planned.push(await this.#planned(head, freed));
      }
    }
    for await (const unhandled of this.#discovery.unhandled({})) {
      if (!seen.has(unhandled.taskId)) planned.push(leftAlone(unhandled));
    }
    return planned;
  };

  #startBackground(): void {
    this.#monitor.start();
    if (this.#engine.settings.recoversDocuments) this.#documents.start();
  }

  /** A new name was registered: there may be orphans that nobody could take so far. */
  nameAdded(): void {
    this.sweeper.kick();
  }

  async #planned(head: Head, { cause, ownerSuspects }: Freed): Promise<PlannedRecovery> {
    const { taskId, name } = head.task;
    const handler = this.#engine.handlers.get(name);
    try {
      // Only names with a function are looked at.
      if (handler === undefined) throw new RecoveryError('CORRUPT_RECORD', 'its head names another function');
      await inputTextOf(this.#engine, head);
      const { crashes } = orphaningOf(this.#engine, handler, head, cause, ownerSuspects);
      const { snapshot } = await examine(this.#engine, handler, head, cause, crashes);
      const { action, reason, evidence, strategy } = planFor(this.#engine, handler, snapshot);
      const planned = { taskId, name, evidence: { ...evidence, cause }, strategy };
      const queue = action === 'skip' || action === 'dead_letter' ? null : handler.dispatch;
      const held = queue === null ? null : await heldBack(this.#engine, queue, head, cause);
      if (held !== null) return { ...planned, decision: 'skip', reason: held.reason, dispatched: false };
      return { ...planned, decision: action, reason, dispatched: queue !== null };
    } catch (error) {
      if (isRecoveryError(error, 'CODEC_FAILED') || isCorruption(error))
        return unreadable(taskId, name, error);
      throw error;
    }
  }

  #filter(): PassFilter {
    return this.#names === null ? {} : { names: this.#names };
  }

  async #sweep(judgeLeases: boolean): Promise<void> {
    await this.#engine.worker.open();
    // A pass that still waits for slots will get to what is found now; a second one beside it would only wait too.
    if (this.#claiming > 0) {
      const report = new ReportBuilder(this.#engine.clock.monotonicMs());
      return this.#discovery.discover(this.#filter(), report, judgeLeases);
    }
    const run = this.#pass(this.#filter(), judgeLeases, this.#slots);
    await run.underWay;
  }

  #pass(
    filter: PassFilter,
    judgeLeases: boolean,
    slots: Slots,
  ): { underWay: Promise<void>; finished: Promise<RecoveryReport> } {
    const { clock, hooks, logging } = this.#engine;
    const told = new PassLog(logging);
    const report = new ReportBuilder(clock.monotonicMs(), (task) => told.ended(task));
    const underWay = deferred<void>();
    const work = async (): Promise<RecoveryReport> => {
      await this.#discovery.discover(filter, report, judgeLeases);
      this.#engine.worker.noteRun();
      if (!logging.silent) told.found(await this.#waiting(filter));
      this.#claiming += 1;
      const run = await this.#recoverer.drain(filter, report, slots, underWay.resolve).finally(() => {
        this.#claiming -= 1;
      });
      await run.ended;
      const built = report.build(clock.monotonicMs());
      told.over(built);
      return built;
    };
    const finished = hooks.active ? hooks.recovery(work) : work();
    finished.catch(underWay.reject);
    underWay.promise.catch(() => {});
    return { underWay: underWay.promise, finished };
  }

  /** Tasks in the recovery queue, due or not. */
  async #waiting(filter: PassFilter): Promise<number> {
    if (filter.taskIds !== undefined) return filter.taskIds.size;
    const names = [...this.#discovery.namesOf(filter)];
    const counts = names.map((name) => this.#engine.store.count(indexes.inState('orphaned', name)));
    return (await Promise.all(counts)).reduce((sum, count) => sum + count, 0);
  }

  #within<T>(timeoutMs: number, work: Promise<T>): Promise<T> {
    const late = (): Error =>
      new RecoveryError(
        'RECOVERY_TIMEOUT',
        `Start-up recovery was not under way after ${timeoutMs} ms: the storage is slow or out of reach, or a check hangs. ` +
          "With onUnavailable: 'continue' the program starts without it, and the sweeper recovers later.",
        { retryable: true },
      );
    return within(this.#engine.clock, timeoutMs, work, late);
  }
}

function isAway(error: unknown): error is RecoveryError {
  return (['STORAGE_UNAVAILABLE', 'STORAGE_READONLY', 'CHECK_FAILED', 'RECOVERY_TIMEOUT'] as const).some(
    (code) => isRecoveryError(error, code),
  );
}

function leftAlone({ taskId, name, reason }: Unhandled): PlannedRecovery {
  return { taskId, name, decision: 'skip', reason, evidence: {}, strategy: 'none', dispatched: false };
}

function unreadable(taskId: string, name: string, error: RecoveryError): PlannedRecovery {
  return leftAlone({ taskId, name, reason: `${error.code}: ${error.message}` });
}
