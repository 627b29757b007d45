/** The options that users give, their checks and their defaults. */
import type { Clock } from '../clock.js';
import type { RandomSource } from '../random.js';
import {
  checkOptions,
  hasMethods,
  isFunction,
  isObject,
  listOf,
  number,
  oneOf,
} from '../domain/check-options.js';
import type { Check } from '../domain/check-options.js';
import { checkId } from '../domain/ids.js';
import type { PayloadCodec } from '../domain/codec.js';
import type { RecoveryHooks } from '../domain/hooks.js';
import { isDispatcher } from '../domain/dispatch.js';
import type { Dispatcher } from '../domain/dispatch.js';
import { documentSettingsOf } from '../domain/document-recovery.js';
import type { DocumentRecoveryConfig, DocumentSettings } from '../domain/document-recovery.js';
import type { Retention, Thresholds, ThresholdSettings } from '../domain/operations.js';
import { isRetention, retentionOf } from '../domain/retention.js';
import type { RetentionSettings } from '../domain/retention.js';
import { KEPT_CRASHES } from '../domain/task.js';
import type { CrashBudget, RecoveryStrategy, StoredError } from '../domain/task.js';
import { messageOf } from '../errors.js';
import { areThresholds, thresholdsOf } from '../monitoring/thresholds.js';
import type { Storage } from '../storage/storage.js';
import type { Logger } from './logging.js';

/** Bounds on what is stored, in bytes of UTF-8 or in pieces. What is larger is refused before anything is written. */
export interface Limits {
  /** The arguments of a task. Default 1 MiB. */
  readonly inputBytes?: number | undefined;
  /** `recoverableData` and `databaseState` of a checkpoint together. Default 1 MiB. */
  readonly checkpointBytes?: number | undefined;
  /** The result of a task. Default 1 MiB. */
  readonly resultBytes?: number | undefined;
  /** The message of a stored error; longer ones are cut. Default 8 KiB. */
  readonly errorBytes?: number | undefined;
  /** Different checkpoint names in one task. Default 10,000. */
  readonly checkpointNames?: number | undefined;
  /** Steps and maps in one task. Default 10,000. */
  readonly stepNames?: number | undefined;
  /** What `userContext` gives. Default 4 KiB: it is read with the task each time. */
  readonly userContextBytes?: number | undefined;
}

/** All bounds, with the defaults filled in. */
export type Bounds = Readonly<Record<keyof Limits, number>>;

/** Options of `createRecovery`. */
export interface RecoveryOptions {
  /** Where everything durable goes. `shutdown` closes it: one that opened a file itself is of no use to others then. */
  readonly storage: Storage;
  /** Keeps several applications in one storage apart. Default `rekindle`. */
  readonly namespace?: string | undefined;
  /**
   * A stable name of this worker, such as a StatefulSet's ordinal. By giving it you promise that two processes with
   * the same slot never overlap; in return a restarted one takes back at once what its predecessor held.
   */
  readonly slot?: string | undefined;
  /**
   * How long a task belongs to a worker that is not heard from, in ms. Default 15,000; at least 100. A storage call
   * gets a quarter of it: with less than about a second, a busy machine misses that now and then.
   */
  readonly leaseMs?: number | undefined;
  /**
   * How often orphans are looked for after start, in ms, give or take a tenth, beside the looks at the end of a lease or
   * hand-over. Default 30,000.
   */
  readonly sweepIntervalMs?: number | undefined;
  /** A running task without progress for this long counts as stuck, in ms. It is reported, not taken. Default 30 min. */
  readonly stuckAfterMs?: number | undefined;
  /** Recovered tasks that run at once. Default 10. */
  readonly concurrency?: number | undefined;
  /** The rules of recovery, first match wins. Default `defaultStrategies()`. */
  readonly strategies?: readonly RecoveryStrategy[] | undefined;
  /**
   * Crashes, within a window, that make a task a dead letter; a plain number counts within 72 h. With 3 or more it is
   * given up only once it was the only suspect in its process, or at 12 over the number. Default 3 in 72 h.
   */
  readonly maxCrashes?: number | CrashBudget | undefined;
  readonly limits?: Limits | undefined;
  /**
   * Encodes what users store (inputs, results, checkpoints, steps, items, user context, failed documents) before it
   * goes to the storage: `aesGcmCodec`, `gzipCodec`, or your own. Ids, names, progress texts and errors stay readable.
   */
  readonly codec?: PayloadCodec | undefined;
  /**
   * Takes out of an error what must not be stored, before it is. When it throws, only that there was an error is kept.
   * @example redact: ({ name, message, code }) => ({ name, message: message.replace(/\d{12,}/g, '***'), code })
   */
  readonly redact?: ((error: StoredError) => StoredError) | undefined;
  /**
   * Your own health checks, for the first phase of start and for `health`: what throws, or takes over 5 s, has failed.
   * Any name but `storage`, which is Rekindle's own.
   */
  readonly checks?: Readonly<Record<string, () => unknown>> | undefined;
  /** Events that cost a write of their own and are therefore off by default. */
  readonly optionalEvents?: readonly ('checkpoint_created' | 'item_completed')[] | undefined;
  /**
   * Retries failed documents by itself, from `runStartupRecovery` on: at once and then periodically. `{}` for the
   * defaults. Without it, `recovery.documents` does what it is asked to.
   */
  readonly documents?: DocumentRecoveryConfig | undefined;
  /** From when on a figure of `health` is worth an alarm, and an `alert` of kind `threshold_crossed`. */
  readonly thresholds?: Thresholds | undefined;
  /** For how long tasks that have ended are kept. */
  readonly retention?: Retention | undefined;
  /** How often a started worker looks at its health and cleans up, in ms, give or take a tenth. Default 60,000. */
  readonly monitorIntervalMs?: number | undefined;
  /** Hears what was found at start, how far recovery is, what failed, and alerts: ids, numbers and codes only. */
  readonly logger?: Logger | undefined;
  /** Watch attempts, steps, checkpoints, takeovers and passes, for spans and histograms: the first ones are the outermost. */
  readonly hooks?: RecoveryHooks | readonly RecoveryHooks[] | undefined;
  /**
   * The queue through which all tasks are recovered, and started with `submit`. A task may have one of its own. Orphans are
   * handed to it instead of being run by the process that finds them. Not so what is waited for in a living process: calls,
   * the next try after an error (`maxAttempts`), unless that process dies first, and retries of failed documents.
   */
  readonly dispatch?: Dispatcher | undefined;
  /**
   * How long a task may wait in the queue before it counts as lost there and is handed over anew, in ms: longer than jobs
   * wait, unless the queue's `isActive` tells of those. Default 5 min.
   */
  readonly handOverMs?: number | undefined;
  /** For tests only: where time comes from. */
  readonly clock?: Clock | undefined;
  /** For tests only: where chance comes from. */
  readonly random?: RandomSource | undefined;
}

/** All options of a Recovery, with the defaults filled in. */
export interface Settings {
  readonly namespace: string;
  readonly slot: string | null;
  readonly leaseMs: number;
  readonly sweepIntervalMs: number;
  readonly stuckAfterMs: number;
  readonly concurrency: number;
  readonly crashBudget: CrashBudget;
  readonly limits: Bounds;
  readonly checks: ReadonlyMap<string, () => unknown>;
  readonly checkpointEvents: boolean;
  readonly itemEvents: boolean;
  readonly redact: ((error: StoredError) => StoredError) | null;
  readonly documents: DocumentSettings;
  readonly thresholds: ThresholdSettings;
  readonly retention: RetentionSettings;
  readonly monitorIntervalMs: number;
  readonly logger: Logger | null;
  readonly dispatch: Dispatcher | null;
  readonly handOverMs: number;
  /** Whether documents are recovered without being asked. */
  readonly recoversDocuments: boolean;
}

const MIB = 1024 * 1024;
export const WEEK_MS: number = 7 * 24 * 3_600_000;
const CRASH_WINDOW_MS = 72 * 3_600_000;
const DEFAULT_LIMITS: Bounds = {
  inputBytes: MIB,
  checkpointBytes: MIB,
  resultBytes: MIB,
  errorBytes: 8 * 1024,
  checkpointNames: 10_000,
  stepNames: 10_000,
  userContextBytes: 4 * 1024,
};

export const isId: Check = (value) => {
  try {
    checkId('', value);
    return null;
  } catch (error) {
    return messageOf(error).trim().replace(/\.$/, '');
  }
};

export const isBudget: Check = (value) => {
  if (typeof value === 'number') return number(1, KEPT_CRASHES)(value);
  if (!isObject(value)) return 'must be a number or { count, windowMs }';
  const { count, windowMs, ...rest } = value;
  if (Object.keys(rest).length > 0) return `has unknown parts: ${Object.keys(rest).join(', ')}`;
  const problem = number(1, KEPT_CRASHES)(count);
  if (problem !== null) return `count ${problem}`;
  const windowProblem = number(1, 520 * WEEK_MS)(windowMs);
  return windowProblem === null ? null : `windowMs ${windowProblem}`;
};

const isLimits: Check = (value) => {
  if (!isObject(value)) return 'must be an object';
  for (const [name, limit] of Object.entries(value)) {
    if (!Object.hasOwn(DEFAULT_LIMITS, name))
      return `has no "${name}" (known: ${Object.keys(DEFAULT_LIMITS).join(', ')})`;
    // Encrypted and in base64 it still has to fit into a field of the storage: 4 MiB.
    const problem = limit === undefined ? null : number(1, 2 * MIB)(limit);
    if (problem !== null) return `${name} ${problem}`;
  }
  return null;
};

const areChecks: Check = (value) => {
  if (!isObject(value) || !Object.values(value).every((check) => typeof check === 'function'))
    return 'must be an object of named functions';
  // In a health report it stands beside them.
  return Object.hasOwn(value, 'storage')
    ? 'has a "storage", which is Rekindle\'s own: name it otherwise'
    : null;
};

export const areStrategies: Check = (value) =>
  Array.isArray(value) && value.length === 0 ? 'must not be empty' : listOf(hasMethods('decide'))(value);

const STORAGE_CHECK = hasMethods('read', 'commit', 'range', 'count', 'events', 'close');
const isStorage: Check = (value) => {
  const problem = STORAGE_CHECK(value);
  const known = "sqliteStorage('file.db'), redisStorage(new Redis(url)), memoryStorage()";
  return problem === null ? null : `must be a storage, such as ${known}, or one of your own: it ${problem}`;
};

const RECOVERY_CHECKS = {
  storage: isStorage,
  namespace: isId,
  slot: isId,
  leaseMs: number(100, WEEK_MS),
  sweepIntervalMs: number(10, WEEK_MS),
  stuckAfterMs: number(10, 52 * WEEK_MS),
  concurrency: number(1, 100_000),
  strategies: areStrategies,
  maxCrashes: isBudget,
  limits: isLimits,
  codec: hasMethods('encode', 'decode'),
  redact: isFunction,
  checks: areChecks,
  optionalEvents: listOf(oneOf('checkpoint_created', 'item_completed')),
  documents: (value: unknown) => (isObject(value) ? null : 'must be an object'),
  thresholds: areThresholds,
  retention: isRetention,
  monitorIntervalMs: number(10, WEEK_MS),
  logger: hasMethods('info', 'warn', 'error'),
  dispatch: isDispatcher,
  handOverMs: number(100, WEEK_MS),
  hooks: (value: unknown) =>
    isObject(value) || Array.isArray(value) ? null : 'must be hooks, or a list of them',
  clock: hasMethods('wallMs', 'monotonicMs', 'schedule', 'defer'),
  random: hasMethods('nonce', 'fraction'),
};

/** A crash budget as it was given, or the fallback. */
export function budgetOf(given: number | CrashBudget | undefined, fallback: CrashBudget): CrashBudget {
  if (given === undefined) return fallback;
  return typeof given === 'number' ? { count: given, windowMs: CRASH_WINDOW_MS } : given;
}

/** A limit that is undefined is absent; spread as it is, it would refuse every text. */
function limitsOf(given: Limits = {}): Bounds {
  const known = Object.entries(given).filter(([, limit]) => limit !== undefined);
  return { ...DEFAULT_LIMITS, ...Object.fromEntries(known) };
}

/** @throws `INVALID_OPTION` naming every option that is unknown, ill-typed or missing */
export function settingsOf(options: RecoveryOptions): Settings {
  checkOptions('createRecovery', options, RECOVERY_CHECKS, ['storage']);
  const documents = documentSettingsOf('createRecovery, documents', options.documents ?? {});
  return {
    namespace: options.namespace ?? 'rekindle',
    slot: options.slot ?? null,
    leaseMs: options.leaseMs ?? 15_000,
    sweepIntervalMs: options.sweepIntervalMs ?? 30_000,
    stuckAfterMs: options.stuckAfterMs ?? 30 * 60_000,
    concurrency: options.concurrency ?? 10,
    crashBudget: budgetOf(options.maxCrashes, { count: 3, windowMs: CRASH_WINDOW_MS }),
    limits: limitsOf(options.limits),
    checks: new Map(Object.entries(options.checks ?? {})),
    checkpointEvents: options.optionalEvents?.includes('checkpoint_created') ?? false,
    itemEvents: options.optionalEvents?.includes('item_completed') ?? false,
    redact: options.redact ?? null,
    documents,
    thresholds: thresholdsOf(options.thresholds),
    retention: retentionOf(options.retention, documents),
    monitorIntervalMs: options.monitorIntervalMs ?? 60_000,
    logger: options.logger ?? null,
    dispatch: options.dispatch ?? null,
    handOverMs: options.handOverMs ?? 5 * 60_000,
    recoversDocuments: options.documents !== undefined,
  };
}
