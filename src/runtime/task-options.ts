/** The options of a task, their checks and their defaults. */
import { checkOptions, isFunction, isObject, number, oneOf } from '../domain/check-options.js';
import { isDispatcher } from '../domain/dispatch.js';
import type { Dispatcher } from '../domain/dispatch.js';
import { isSchema } from '../domain/schema.js';
import { isPeriod } from '../domain/retention.js';
import type { SchemaInput, StandardSchema } from '../domain/schema.js';
import type {
  Checkpoint,
  CrashBudget,
  JsonValue,
  RecoveryStrategy,
  TaskSnapshot,
  ValidationAnswer,
} from '../domain/task.js';
import { areStrategies, isBudget, isId, WEEK_MS } from './options.js';

/** An object that JSON can hold. */
export type JsonObject = { readonly [key: string]: JsonValue };

/** What `migrate` answers; what it leaves out becomes null. */
export interface Migrated {
  readonly recoverableData?: unknown;
  readonly databaseState?: unknown;
}

/** Why a `cleanup` hook is called. */
export type CleanupReason = 'failed' | 'cancelled' | 'dead_letter';

/** Options of `withRecovery`. */
export interface TaskOptions<A extends unknown[], R = unknown> {
  /** See {@link SchemaTaskOptions}; for tasks with one argument. */
  readonly input?: undefined;
  /** Under this name the function is found again after a restart. One function a name in a Recovery. */
  readonly name: string;
  /** The id of the task for given arguments. Default: of the time and of chance, so that every call is a new task. */
  readonly taskId?: ((...args: A) => string) | undefined;
  /** 0 to 10; higher ones are recovered first. Default 0. */
  readonly priority?: number | undefined;
  /** An automatic checkpoint whenever the progress passes a multiple of this, in percent. Default: none. */
  readonly checkpointFrequency?: number | undefined;
  /**
   * When the id is running already: wait for it, or reject. Default: join in this process, reject elsewhere. A task
   * that awaits its own id waits for ever.
   */
  readonly ifRunning?: 'reject' | 'join' | undefined;
  /** `never`: it is not taken back by itself, only by a call with its id. Default `auto`. */
  readonly recovery?: 'auto' | 'never' | undefined;
  /**
   * Asked above 95 % of progress, before a nearly finished task is resumed: is it in fact done? When it throws, or
   * gives no valid answer, an `alert` of kind `validate_failed` tells so and the task is resumed.
   */
  readonly validate?:
    | ((snapshot: TaskSnapshot) => ValidationAnswer<NoInfer<R>> | Promise<ValidationAnswer<NoInfer<R>>>)
    | undefined;
  /**
   * Asked by a later attempt about a map of which the storage knows nothing: which items are done in fact, with their
   * results? Answer from files on disk or rows in a table; null when you don't know.
   */
  readonly discover?:
    | ((
        map: string,
        keys: readonly string[],
        ...args: A
      ) => ReadonlyMap<string, unknown> | null | Promise<ReadonlyMap<string, unknown> | null>)
    | undefined;
  /**
   * Facts about the caller that the task needs, captured at the call and there again on recovery as `ctx.userContext`:
   * ids and roles, at most 4 KiB. Never secrets, tokens or whole sessions: they are stored, and outlive the request.
   */
  readonly userContext?: ((...args: A) => object) | undefined;
  /**
   * The version of this code, stored with tasks and checkpoints: change it when a resumed run of the new code can't
   * take what the old code left. Default '1'.
   */
  readonly version?: string | undefined;
  /**
   * Makes an old version's checkpoint fit for this version: its answer takes the place of the checkpoint's data. When
   * it throws, the attempt fails with `MIGRATION_FAILED`; the stored checkpoint stays as it is.
   */
  readonly migrate?:
    ((checkpoint: Checkpoint, fromVersion: string) => Migrated | Promise<Migrated>) | undefined;
  /**
   * What becomes of an interrupted task of another version, without `migrate`: `restart` (kept steps and items are
   * still skipped), `resume` as it is, or `quarantine` as a dead letter. Each time an `alert` of kind
   * `version_mismatch` tells so. Default `restart`.
   */
  readonly onVersionMismatch?: 'resume' | 'restart' | 'quarantine' | undefined;
  /**
   * Called after the task ended failed, cancelled or as a dead letter, by the process that ended it: the place to
   * remove temporary files. Best effort: what it throws becomes an `alert` of kind `cleanup_failed`.
   */
  readonly cleanup?: ((snapshot: TaskSnapshot, reason: CleanupReason, ...args: A) => unknown) | undefined;
  /**
   * The path, URL or name of the document that the task is about. With it a task that ends failed is tracked as a failed
   * document: grouped, counted, and retried by `recovery.documents`.
   */
  readonly document?: (...args: A) => string;
  /** The query that asked for the document; failures are counted by its pattern. */
  readonly query?: (...args: A) => string;
  /**
   * Attempts that may end with an error before the task counts as failed, 1 to 1,000. With more than one the task waits
   * between them, 1 s at first and twice as long each time, up to 5 min, plus up to half of that as jitter; callers
   * wait with it. Crashes don't count, nor does what no retry can mend (`UNRECOVERABLE`, `INPUT_INVALID`, `STEP_RESULT_NOT_STORABLE`). Default 1.
   */
  readonly maxAttempts?: number | undefined;
  /** How long it may run, over all its attempts, in ms. Then its signal aborts, and it fails. Default: no limit. */
  readonly maxDurationMs?: number | undefined;
  /** How long it may go on without any progress, step or item, in ms. Then as `maxDurationMs`. Default: no limit. */
  readonly maxSilenceMs?: number | undefined;
  /** As in `RecoveryOptions`, for this task; null: none, whatever the Recovery has. */
  readonly dispatch?: Dispatcher | null | undefined;
  /** What several tasks of one job have in common, for `tasks.list({ group })`. An id like the task's own. */
  readonly group?: ((...args: A) => string) | undefined;
  /**
   * How long a task of this name is kept after it has ended, however it did, in ms; `null`: for ever. Known to all
   * workers of the namespace once one with this option has started a task. Default: the Recovery's `retention`.
   */
  readonly retentionMs?: number | null | undefined;
  /** As in `RecoveryOptions`, for this task. */
  readonly maxCrashes?: number | CrashBudget | undefined;
  /** As in `RecoveryOptions`, for this task. */
  readonly strategies?: readonly RecoveryStrategy[] | undefined;
}

/**
 * Options of a task with one argument whose input a schema checks, at the call and again on recovery. Any Standard
 * Schema will do. The raw input is stored; the function gets the parsed one.
 */
export interface SchemaTaskOptions<S extends StandardSchema, R = unknown> extends Omit<
  TaskOptions<[input: SchemaInput<S>], R>,
  'input'
> {
  readonly input: S;
}

const TASK_CHECKS = {
  name: isId,
  taskId: isFunction,
  input: isSchema,
  priority: number(0, 10),
  checkpointFrequency: number(1, 100, false),
  ifRunning: oneOf('reject', 'join'),
  recovery: oneOf('auto', 'never'),
  userContext: isFunction,
  version: isId,
  migrate: isFunction,
  onVersionMismatch: oneOf('resume', 'restart', 'quarantine'),
  validate: isFunction,
  discover: isFunction,
  cleanup: isFunction,
  document: isFunction,
  query: isFunction,
  maxAttempts: number(1, 1_000),
  maxCrashes: isBudget,
  maxDurationMs: number(1, 520 * WEEK_MS),
  maxSilenceMs: number(1, 520 * WEEK_MS),
  strategies: areStrategies,
  retentionMs: isPeriod,
  dispatch: (value: unknown) => (value === null ? null : isDispatcher(value)),
  group: isFunction,
};

/** @throws `INVALID_OPTION` */
export function checkTaskOptions(options: unknown): void {
  const name = isObject(options) && typeof options['name'] === 'string' ? ` of "${options['name']}"` : '';
  checkOptions(`the task options${name}`, options, TASK_CHECKS, ['name']);
}
