/** Recovery on demand, at start and periodically: the five phases, and what a caller sees of them. */
import { isRecoveryError, kindOf, RecoveryError } from '../errors.js';
import { checkFilter, checkOptions, isText, listOf, number, oneOf } from '../domain/check-options.js';
import { DOCUMENT_FILTER_CHECKS, isRedrive } from '../domain/document-recovery.js';
import type { RedriveFilter } from '../domain/document-recovery.js';
import { log } from '../log.js';
import { deferred, once, within } from './deferred.js';
import { Discovery } from './discovery.js';
import type { PassFilter } from './discovery.js';
import type { DocumentRecoveryManager } from './document-manager.js';
import type { Engine } from './engine.js';
import { assertOpen } from './engine.js';
import { checkHealth, warningsOf } from './health-check.js';
import { PassLog } from './logging.js';
import type { Monitor } from './monitor.js';
import { namespaceExists } from './namespace.js';
import type { OrphanFinder } from './orphans.js';
import { plan } from './planning.js';
import type { PlannedRecovery } from './planning.js';
import { Recoverer } from './recoverer.js';
import { ReportBuilder } from './report.js';
import type { RecoveryReport } from './report.js';
import { Slots } from './slots.js';
import type { Starter } from './starter.js';
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
      const checked = Promise.all([checkHealth(this.#engine), this.sweeper.trustsLeases()]);
      const [, trusted] = await this.#within(options.timeoutMs ?? STARTUP_MS, checked);
      const run = this.#pass(this.#filter(), trusted, slots);
      await this.#within(options.timeoutMs ?? STARTUP_MS, run.underWay);
      this.sweeper.start(leaseMs + Math.ceil(leaseMs / 50));
      this.#startBackground();
      // Not before: nothing is left undone for them, and the first task would wait.
      const warnings = await warningsOf(this.#engine);
      for (const warning of warnings) this.#engine.emitter.alert('storage_settings', { warning });
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
    // Looking is not joining: no worker record is written, no slot taken.
    if (!(await namespaceExists(this.#engine))) return [];
    return plan(this.#engine, this.#discovery, this.#finder, await this.sweeper.trustsLeases());
  };

  #startBackground(): void {
    this.#monitor.start();
    if (this.#engine.settings.recoversDocuments) this.#documents.start();
  }

  /** A new name was registered: there may be orphans that nobody could take so far. */
  nameAdded(): void {
    this.sweeper.kick();
  }

  #filter(): PassFilter {
    return this.#names === null ? {} : { names: this.#names };
  }

  async #sweep(judgeLeases: boolean): Promise<void> {
    await this.#engine.worker.open();
    // A pass that still waits for slots will get to what is found now; a second one beside it would only wait too.
    if (this.#claiming > 0) {
      const report = new ReportBuilder(this.#engine.clock.monotonicMs());
      const look = await this.#discovery.discover(this.#filter(), report, judgeLeases, 0);
      // Without a slot all of it goes into the queue.
      await allOf(look.atOnce);
      return look.finish();
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
      const look = await this.#discovery.discover(filter, report, judgeLeases, slots.free);
      this.#engine.worker.noteRun();
      let { atOnce } = look;
      if (!logging.silent) {
        // Counted before the first of them runs: what is said of them has to have a beginning.
        const found = await allOf(atOnce);
        atOnce = inOrder(found);
        told.found(filter.taskIds?.size ?? found.length + (await this.#discovery.waiting(filter)));
      }
      this.#claiming += 1;
      const failed = (error: unknown): void => this.#failed(error, report);
      const finish = once(() => underWay.resolve(look.finish().catch(failed)));
      const run = await this.#recoverer
        .drain(atOnce, { filter, report, slots, failed }, finish)
        .finally(() => {
          this.#claiming -= 1;
        });
      await Promise.all([run.ended, underWay.promise]);
      const built = report.build(clock.monotonicMs());
      told.over(built);
      return built;
    };
    const finished = hooks.active ? hooks.recovery(work) : work();
    finished.catch(underWay.reject);
    underWay.promise.catch(() => {});
    return { underWay: underWay.promise, finished };
  }

  /** What was claimed goes on and has its report; a later look sees to the rest. */
  #failed(error: unknown, report: ReportBuilder): void {
    if (!report.hasStarted) throw error;
    const { emitter, settings } = this.#engine;
    log.recovery('a pass failed half-way: %s', kindOf(error));
    emitter.alert('sweep_failed', alertedError(this.#engine, error));
    this.#engine.wakeIn(Math.min(settings.leaseMs, settings.sweepIntervalMs));
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

async function allOf<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}

async function* inOrder<T>(items: readonly T[]): AsyncGenerator<T> {
  yield* items;
}
