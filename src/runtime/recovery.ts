/** A Recovery as users see it. */
import type { RecoveryEvent } from '../domain/events.js';
import type { RecoveryHooks } from '../domain/hooks.js';
import type {
  CleanupOptions,
  CleanupReport,
  HealthOptions,
  HealthReport,
  RecoveryMetrics,
} from '../domain/operations.js';
import type { RecoveryPlanner } from '../recovery/planner.js';
import type { CheckpointStore } from '../state/checkpoint-store.js';
import type { EventsOptions } from '../state/event-log.js';
import type { FailedDocumentsTracker } from '../state/failed-documents.js';
import type { TaskRegistry } from '../state/task-registry.js';
import type { DocumentRecoveryManager } from './document-manager.js';
import type { Emitter } from './emitter.js';
import type { PlannedRecovery } from './planning.js';
import type { RecoverFilter, RecoveryRun, StartupOptions } from './runs.js';
import type { SignalOptions } from './signals.js';
import type { WithRecovery } from './with-recovery.js';

/** Options of `shutdown`. */
export interface ShutdownOptions {
  /** How long running tasks get to come to their next call on the context, in ms. Default 10,000. */
  readonly timeoutMs?: number;
}

/** One worker's recovery. Its methods are bound: they can be taken apart. */
export interface Recovery extends AsyncDisposable {
  /**
   * Wraps a function so that its tasks survive the process. Wrap at module level, before `runStartupRecovery`.
   * Name the type of the checkpoints' data at the context, `ctx: RecoveryContext<{ rows: Row[] }>`, to have it checked.
   * A call rejects with what the function threw, or with `INVALID_ID`, `INVALID_VALUE`, `INPUT_INVALID`, `NOT_JSON`, `PAYLOAD_TOO_LARGE`,
   * `INPUT_MISMATCH`, `TASK_RUNNING_ELSEWHERE`, `TASK_DEAD_LETTER`, `TASK_CANCELLED`, `UNRECOVERABLE`, `LEASE_LOST`,
   * `LEASE_UNCERTAIN`, `RESULT_NOT_STORABLE`, `SHUT_DOWN`, `SLOT_CONFLICT`, `LAYOUT_MISMATCH`, `STORAGE_UNAVAILABLE`,
   * `STORAGE_FULL`, `STORAGE_READONLY`, `STORAGE_REFUSED`, `CORRUPT_RECORD`, `CODEC_FAILED`, `MIGRATION_FAILED`,
   * `TASK_TIMED_OUT`.
   * @throws `INVALID_OPTION`, `DUPLICATE_TASK_NAME`
   * @example
   * const importFile = recovery.withRecovery(async (ctx, path: string) => load(path), {
   *   name: 'import-file', taskId: (path) => path,
   * });
   */
  readonly withRecovery: WithRecovery;
  /**
   * Takes back what a dead process left behind, and keeps looking. Resolves once recovery is under way.
   * @throws `INVALID_OPTION`, `CHECK_FAILED`, `LAYOUT_MISMATCH`, `RECOVERY_TIMEOUT`, `SLOT_CONFLICT`, `SHUT_DOWN`, `STORAGE_UNAVAILABLE`
   */
  readonly runStartupRecovery: (options?: StartupOptions) => Promise<RecoveryRun>;
  /** What `recover` would do, with reasons; writes nothing. @throws `STORAGE_UNAVAILABLE`, `SHUT_DOWN` */
  readonly planRecovery: () => Promise<PlannedRecovery[]>;
  /** One pass of recovery on demand. @throws `INVALID_OPTION`, `STORAGE_UNAVAILABLE`, `SHUT_DOWN` */
  readonly recover: (filter?: RecoverFilter) => Promise<RecoveryRun>;
  /**
   * The worker's side of a `dispatch`: begins, takes up or joins the task of an envelope and resolves with its result; with
   * the kept one where it is completed. Any job of a task does, whatever has become of others: several, and one that is
   * delivered several times, come to one run. A task that has failed is tried once more, as by a call: how often is up to
   * the queue's own attempts. `TASK_RUNNING_ELSEWHERE` is retryable; with `ifRunning: 'join'` the job waits instead.
   * @throws `INVALID_VALUE` for another thing than an envelope; `INVALID_ID`; `TASK_NOT_FOUND` when it was removed meanwhile;
   *   `NO_HANDLER` when its function is not registered here; `INPUT_MISMATCH` when the id is that of another name's task;
   *   `TASK_RUNNING_ELSEWHERE`, `TASK_CANCELLED`, `TASK_DEAD_LETTER`, and what a call of the task rejects with
   * @example
   * new Worker('tasks', (job) => recovery.runTask(job.data), { connection });
   */
  readonly runTask: (envelope: unknown) => Promise<unknown>;
  readonly tasks: TaskRegistry;
  /** Documents whose tasks ended failed: tracked for tasks with a `document` option, or reported by hand. */
  readonly failures: FailedDocumentsTracker;
  /** Retries them. */
  readonly documents: DocumentRecoveryManager;
  readonly checkpoints: CheckpointStore;
  readonly planner: RecoveryPlanner;
  /**
   * How recovery is, in the whole namespace. Never throws for a storage that is away: that is what it tells of.
   * @throws `INVALID_OPTION`
   * @example
   * const { overall_health, reasons } = await recovery.health();
   */
  readonly health: (options?: HealthOptions) => Promise<HealthReport>;
  /** What recovery does, in figures of the whole namespace. @throws `LAYOUT_MISMATCH`, `STORAGE_UNAVAILABLE` */
  readonly metrics: () => Promise<RecoveryMetrics>;
  /**
   * Removes tasks that ended longer ago than they are kept (`retention`, `retentionMs`), a bounded page at a time. Workers
   * do so by themselves, each minute, from `runStartupRecovery` on. What is live is never touched.
   * @throws `INVALID_OPTION`, `LAYOUT_MISMATCH`, `STORAGE_UNAVAILABLE`, `SHUT_DOWN`
   */
  readonly cleanup: (options?: CleanupOptions) => Promise<CleanupReport>;
  /** Hears events of this process; returns a function that ends it. What a listener throws is ignored. */
  readonly on: Emitter['on'];
  /** Adds hooks at run time, for what begins from then on; returns a function that takes them off. @throws `INVALID_OPTION` */
  readonly instrument: (hooks: RecoveryHooks) => () => void;
  /** Follows the durable events of all workers, until its signal aborts or `shutdown` ends. @throws `INVALID_VALUE` for a foreign cursor, `STORAGE_UNAVAILABLE` */
  readonly events: (options?: EventsOptions) => AsyncIterable<RecoveryEvent>;
  /**
   * Stops claiming, lets each task come to its next call on the context (a checkpoint is still made), releases it
   * uncharged, flushes and closes the storage. After four fifths of the time signals abort; it ends by its deadline,
   * also when the storage is down. A second call waits for the first.
   */
  readonly shutdown: (options?: ShutdownOptions) => Promise<void>;
  /**
   * Shuts down on SIGTERM and SIGINT, and then lets the signal end the process as it would have. A second signal ends
   * it at once. Returns a function that takes the handlers off again. @throws `INVALID_OPTION`
   */
  readonly handleSignals: (options?: SignalOptions) => () => void;
}
