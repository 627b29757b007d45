/** Puts the parts of one Recovery together. */
import { systemClock } from '../clock.js';
import type { Clock } from '../clock.js';
import { kindOf } from '../errors.js';
import type { RecoveryError } from '../errors.js';
import { checkOptions, number } from '../domain/check-options.js';
import type { RecoveryEvent } from '../domain/events.js';
import { log } from '../log.js';
import { systemRandom } from '../random.js';
import type { RandomSource } from '../random.js';
import { RecoveryPlanner } from '../recovery/planner.js';
import { defaultStrategies } from '../recovery/strategies.js';
import { CheckpointStore } from '../state/checkpoint-store.js';
import { CommitQueue } from '../state/commit-queue.js';
import { followEvents } from '../state/event-log.js';
import type { EventsOptions } from '../state/event-log.js';
import { FailedDocumentsTracker } from '../state/failed-documents.js';
import { Store } from '../state/store.js';
import { TaskRegistry } from '../state/task-registry.js';
import { Cleaner } from './cleaner.js';
import { Cleanups } from './cleanups.js';
import { within } from './deferred.js';
import { DocumentRecoveryManager } from './document-manager.js';
import { Emitter } from './emitter.js';
import type { Engine } from './engine.js';
import { shutDownError } from './engine.js';
import { FenceMemory } from './fence-memory.js';
import { Flights } from './flights.js';
import { Health } from './health.js';
import { Hooks } from './hooks.js';
import { ownIdentity, systemProcessTable } from './identity.js';
import type { ProcessTable } from './identity.js';
import { LeaseKeeper } from './lease-keeper.js';
import { Logging } from './logging.js';
import { Monitor } from './monitor.js';
import { namespaceExists } from './namespace.js';
import { settingsOf } from './options.js';
import type { RecoveryOptions } from './options.js';
import { OrphanFinder } from './orphans.js';
import type { Recovery, ShutdownOptions } from './recovery.js';
import { runTask } from './run-task.js';
import { Runs } from './runs.js';
import { Starter } from './starter.js';
import { handleSignals } from './signals.js';
import { SuspectLane } from './suspects.js';
import { Survivors } from './survivors.js';
import { TaskAdmin } from './task-admin.js';
import { UnderWay } from './under-way.js';
import { wrap } from './with-recovery.js';
import type { AnyTaskOptions, TaskFunction, WithRecovery, WrappedTask } from './with-recovery.js';
import { Worker } from './worker.js';

const SHUTDOWN_MS = 10_000;
/** The part of a shutdown's time after which the signals of tasks that go on are aborted. */
const PATIENCE = 0.8;
const MAX_CALL_MS = 5_000;

function callDeadlineMs(leaseMs: number): number {
  return Math.max(20, Math.floor(Math.min(MAX_CALL_MS, leaseMs / 4)));
}

class Parts implements Engine {
  readonly settings: Engine['settings'];
  readonly clock: Clock;
  readonly random: RandomSource;
  readonly store: Store;
  readonly queue: CommitQueue;
  readonly tasks: TaskRegistry;
  readonly failures: FailedDocumentsTracker;
  readonly documents: DocumentRecoveryManager;
  readonly checkpoints: CheckpointStore;
  readonly planner: RecoveryPlanner;
  readonly emitter: Emitter;
  readonly logging: Logging;
  readonly hooks: Hooks;
  readonly worker: Worker;
  readonly leases: LeaseKeeper;
  readonly flights: Flights = new Flights();
  readonly fences: FenceMemory = new FenceMemory();
  readonly handOvers: UnderWay = new UnderWay();
  readonly handlers: Engine['handlers'] = new Map();
  readonly attempts: Engine['attempts'] = new Set();
  readonly cleanups: Cleanups;
  readonly survivors: Survivors;
  readonly suspects: SuspectLane;
  readonly pauses: Engine['pauses'] = new Set();
  readonly undecodable: Engine['undecodable'] = new Set();
  readonly finder: OrphanFinder;
  readonly runs: Runs;
  readonly starter: Starter;
  readonly health: Health;
  readonly cleaner: Cleaner;
  readonly monitor: Monitor;
  closing: RecoveryError | null = null;
  #ending: Promise<void> | null = null;
  readonly #ended = new AbortController();

  constructor(options: RecoveryOptions, table: ProcessTable) {
    this.settings = settingsOf(options);
    this.clock = options.clock ?? systemClock;
    this.random = options.random ?? systemRandom();
    const { namespace, leaseMs } = this.settings;
    this.store = new Store(options.storage, namespace, this.clock, callDeadlineMs(leaseMs), options.codec);
    this.store.firstLook = () => namespaceExists(this);
    this.queue = new CommitQueue(this.store);
    const admin = new TaskAdmin(this);
    this.tasks = new TaskRegistry(this.store, admin);
    this.failures = new FailedDocumentsTracker(this.store, admin, this.settings.documents);
    this.checkpoints = new CheckpointStore(this.store);
    this.planner = new RecoveryPlanner(options.strategies ?? defaultStrategies());
    this.emitter = new Emitter(() => this.store.estimatedNowMs(this.store.home));
    this.logging = new Logging(this.settings.logger, this.emitter);
    this.hooks = new Hooks(options.hooks);
    this.leases = new LeaseKeeper(this.clock, leaseMs, (lagMs) =>
      this.emitter.alert('event_loop_blocked', { lag_ms: String(Math.round(lagMs)) }),
    );
    this.worker = new Worker(this, ownIdentity(table), (error) => this.#replaced(error));
    this.finder = new OrphanFinder(this, table);
    this.cleanups = new Cleanups(this);
    this.survivors = new Survivors(this);
    this.suspects = new SuspectLane(this);
    this.starter = new Starter(this, this.finder);
    this.documents = new DocumentRecoveryManager(this, this.starter, this.failures, this.finder);
    this.health = new Health(this, this.documents);
    this.cleaner = new Cleaner(this);
    this.monitor = new Monitor(this, this.health, this.cleaner);
    this.runs = new Runs(this, this.finder, this.starter, this.documents, this.monitor);
  }

  kick(): void {
    this.runs.sweeper.kick();
  }

  wakeIn(delayMs: number): void {
    this.runs.sweeper.wakeIn(delayMs);
  }

  /** Followers end with the Recovery. */
  events(options: EventsOptions = {}): AsyncIterable<RecoveryEvent> {
    return followEvents(this.store, options, this.#ended.signal);
  }

  shutdown(timeoutMs: number): Promise<void> {
    this.#ending ??= this.#end(timeoutMs);
    return this.#ending;
  }

  /** Somebody else has our slot: whatever we hold may be theirs. */
  #replaced(error: RecoveryError): void {
    this.closing = error;
    this.runs.sweeper.stop();
    void this.monitor.stop();
    for (const attempt of this.attempts) attempt.lose(error);
    this.#endWaits(error);
    this.emitter.alert('slot_conflict', { reason: error.message });
  }

  async #end(timeoutMs: number): Promise<void> {
    this.closing ??= shutDownError();
    this.runs.sweeper.stop();
    const background = Promise.all([this.documents.stop(), this.monitor.stop()]);
    for (const attempt of this.attempts) attempt.shutDown(false);
    this.#endWaits(this.closing);
    // Those that have not come to a call on their context by then are told by their signals.
    const cancel = this.clock.schedule(timeoutMs * PATIENCE, () => {
      for (const attempt of this.attempts) attempt.shutDown(true);
    });
    const deadlineMs = this.clock.monotonicMs() + timeoutMs;
    const left = (): number => Math.max(0, deadlineMs - this.clock.monotonicMs());
    // A task that doesn't end in time keeps its lease: given back, it could run twice at once.
    const landed = await this.#inTime(left(), this.flights.landed());
    cancel();
    const hooks = [this.cleanups.ended(), this.handOvers.ended()];
    await this.#inTime(left(), Promise.all([background, ...hooks, this.survivors.tell()]));
    await this.#inTime(left(), this.worker.close(landed && !this.worker.mayHoldLost));
    await this.#inTime(left(), this.queue.drained());
    const late = shutDownError();
    for (const attempt of this.attempts) {
      attempt.lose(late);
      attempt.abandon(late);
    }
    this.queue.close(late);
    this.#ended.abort();
    await this.#inTime(left(), this.store.storage.close());
  }

  /** Whoever waits for a time or a turn hears that it will not come. */
  #endWaits(error: RecoveryError): void {
    for (const { stop } of this.pauses) stop(error);
    this.pauses.clear();
    this.suspects.close(error);
  }

  async #inTime(timeoutMs: number, work: Promise<unknown>): Promise<boolean> {
    try {
      await within(this.clock, timeoutMs, work, shutDownError);
      return true;
    } catch (error) {
      log.recovery('a part of the shutdown was given up: %s', kindOf(error));
      return false;
    }
  }
}

/**
 * Makes a Recovery: one a process, usually, at module level.
 *
 * @throws `INVALID_OPTION` naming every option that is unknown, ill-typed or missing
 * @example
 * export const recovery = createRecovery({ storage: sqliteStorage('recovery.db') });
 */
export function createRecovery(options: RecoveryOptions): Recovery {
  return recoveryOf(options, systemProcessTable);
}

/** The same with another process table: for tests of the proof of death. */
export function recoveryOf(options: RecoveryOptions, table: ProcessTable): Recovery {
  const parts = new Parts(options, table);
  const { runs, emitter } = parts;
  const withRecovery: WithRecovery = <A extends unknown[], R, D>(
    fn: TaskFunction<A, R, D>,
    taskOptions: AnyTaskOptions<A, R>,
  ): WrappedTask<A, R> => {
    const wrapped = wrap(parts, parts.starter, fn, taskOptions);
    runs.nameAdded();
    return wrapped;
  };
  const shutdown = async (given: ShutdownOptions = {}): Promise<void> => {
    checkOptions('shutdown', given, { timeoutMs: number(0, 86_400_000) }, []);
    await parts.shutdown(given.timeoutMs ?? SHUTDOWN_MS);
  };
  return {
    withRecovery,
    runStartupRecovery: runs.runStartupRecovery,
    planRecovery: runs.planRecovery,
    recover: runs.recover,
    runTask: (envelope) => runTask(parts, parts.starter, envelope),
    tasks: parts.tasks,
    failures: parts.failures,
    documents: parts.documents,
    checkpoints: parts.checkpoints,
    planner: parts.planner,
    health: parts.health.health,
    metrics: parts.health.metrics,
    cleanup: parts.cleaner.cleanup,
    on: emitter.on,
    instrument: parts.hooks.add,
    events: (given) => parts.events(given),
    shutdown,
    handleSignals: (given) => handleSignals(shutdown, given),
    [Symbol.asyncDispose]: () => shutdown(),
  };
}
