/** The words of the library as types: tasks, checkpoints, snapshots and decisions. Plain data, no behaviour. */

/** What JSON can hold. */
export type JsonValue =
  string | number | boolean | null | readonly JsonValue[] | { readonly [key: string]: JsonValue };

/** Where a task is in its life. Only `completed`, `failed`, `cancelled` and `dead_letter` are final. */
export type TaskStatus =
  'pending' | 'processing' | 'orphaned' | 'completed' | 'failed' | 'cancelled' | 'dead_letter';

export const TASK_STATUSES: readonly TaskStatus[] = [
  'pending',
  'processing',
  'orphaned',
  'completed',
  'failed',
  'cancelled',
  'dead_letter',
];

export const ORPHAN_CAUSES = [
  'lease_over',
  'owner_dead',
  'slot_taken_over',
  'released',
  'own',
  'retried',
  'retry_due',
  'requeued',
  'not_started',
  'dispatched',
] as const;

/**
 * How a task was found to be free to take: its lease ran out; its owner is provably dead; this process holds the slot
 * that the owner held before; a clean shutdown gave it back; this process lost it and nobody took it; it had failed
 * and was called again; it failed and has tries left (`maxAttempts`); somebody put it back with `tasks.requeue`; nobody has
 * begun it within its hand-over; a job of it came out of the queue, or it was called. Only
 * the first three can count as a crash.
 */
export type OrphanCause = (typeof ORPHAN_CAUSES)[number];

/** A crash that was charged to a task: what is known about it. */
export interface CrashEvidence {
  /** When it was found, in ms since 1970 by the storage's clock. */
  readonly atMs: number;
  /** The incarnation that died with the task in its hands. */
  readonly owner: string | null;
  /** The fence of the attempt that crashed. */
  readonly fence: number;
  readonly attempt: number;
  /** How the death was seen. Why it died is nowhere recorded: an abort, an OOM kill and a SIGKILL run no code. */
  readonly cause: OrphanCause;
  /** The step (from the second crash on a `ctx.step`, too), or what the last checkpoint says it is at, and the progress that were reported last. */
  readonly step: string | null;
  readonly progressPercent: number;
  /** How long the attempt had run when its owner was heard of last, to a third of the lease, in ms. */
  readonly ranMs: number;
  /** Suspects that ran in the process when it died, this one included; null when it was not under suspicion. */
  readonly suspects: number | null;
}

/** A stored error: enough to understand it, never argument values. */
export interface StoredError {
  readonly name: string;
  readonly message: string;
  readonly code: string | null;
}

/** A durable, resumable state of a task. */
export interface Checkpoint<D = unknown> {
  /** The author's name for it; `null` for an automatic one. */
  readonly name: string | null;
  /** Rises by one with each explicit checkpoint of the task. */
  readonly seq: number;
  /** True when `checkpointFrequency` made it: it keeps the progress and carries the newest explicit one's data. */
  readonly automatic: boolean;
  readonly progressPercent: number;
  readonly stepDescription: string | null;
  readonly recoverableData: D;
  readonly databaseState: unknown;
  /** When it was made, in ms since 1970, by the storage's clock as its writer knew it. */
  readonly createdAtMs: number;
  /** The version of the code that made it; of an automatic one, that of the data it carries. */
  readonly version: string;
}

/** A task as it stands in the storage. */
export interface TaskRecord {
  readonly taskId: string;
  readonly name: string;
  readonly status: TaskStatus;
  readonly priority: number;
  /** The version of the code that started it, or took it back last. */
  readonly version: string;
  /** How often it was started, this time included. */
  readonly attempt: number;
  /** How many attempts ended with an error since it was last started afresh. */
  readonly errorCount: number;
  readonly fence: number;
  /** The incarnation that holds it, or held it last. */
  readonly owner: string | null;
  /** Until when the lease runs, in ms since 1970 by the storage's clock; null when nobody holds it. */
  readonly leaseUntilMs: number | null;
  /**
   * When it may be taken out of the recovery queue at the earliest; of a pending task, until when somebody is to begin it.
   * Null in all other states.
   */
  readonly dueAtMs: number | null;
  readonly progressPercent: number;
  readonly step: string | null;
  readonly description: string | null;
  readonly createdAtMs: number;
  /** When the owner last reported progress, by the storage's clock as the owner knew it. */
  readonly progressAtMs: number;
  readonly endedAtMs: number | null;
  /** Since when the owner has seen no progress for `stuckAfterMs`; null when it moves. */
  readonly stuckSinceMs: number | null;
  /** The crashes charged to it, the newest ones. */
  readonly crashes: readonly CrashEvidence[];
  /** When they were found, in ms since 1970. */
  readonly crashedAtMs: readonly number[];
  readonly orphanCause: OrphanCause | null;
  /** Items of its maps that are done, and items in all; null when it has no map. */
  readonly items: { readonly done: number; readonly total: number } | null;
  /** Why it ended, or why its last attempt did. */
  readonly error: StoredError | null;
}

/** A task, and all that a strategy may look at. A pure value: the same snapshot gives the same decision. */
export interface TaskSnapshot {
  readonly task: TaskRecord;
  readonly cause: OrphanCause;
  /** The storage's time at which the snapshot was taken, in ms. */
  readonly nowMs: number;
  /** Crashes so far, with the one that is being recovered from. */
  readonly crashedAtMs: readonly number[];
  readonly crashes: readonly CrashEvidence[];
  readonly crashBudget: CrashBudget;
  /** Null when what it resumes from was made by the same version of the code. */
  readonly versionChange: VersionChange | null;
  /** The newest explicit checkpoint that could be read and verified. */
  readonly checkpoint: Checkpoint | null;
  /** The newest automatic one since. */
  readonly automaticCheckpoint: Checkpoint | null;
  /** How many newer checkpoints failed verification. */
  readonly corruptCheckpoints: number;
  readonly hasValidate: boolean;
  /** What `validate` answered, or that it threw; null before it was asked. */
  readonly validation: ValidationEvidence | null;
}

/** The code that made what is resumed from has another version than the code here. */
export interface VersionChange {
  readonly from: string;
  readonly to: string;
  /** Whether the task has a `migrate` function, which then decides. */
  readonly hasMigrate: boolean;
  readonly policy: 'resume' | 'restart' | 'quarantine';
}

/** The answers a `validate` hook can give. */
export type ValidationAnswer<R = unknown> =
  'complete' | 'resume' | 'restart' | 'unrecoverable' | { readonly complete: R };

export type ValidationEvidence =
  { readonly answer: 'complete' | 'resume' | 'restart' | 'unrecoverable' } | { readonly error: string };

/** Crashes kept a task; budgets larger than this are refused. */
export const KEPT_CRASHES = 50;

/** How many crashes, within how many ms, make a task a dead letter. */
export interface CrashBudget {
  readonly count: number;
  readonly windowMs: number;
}

export const RECOVERY_ACTIONS = [
  'resume',
  'restart',
  'validate',
  'complete',
  'fail',
  'dead_letter',
  'skip',
] as const;

/** What is to become of an orphan. */
export type RecoveryAction = (typeof RECOVERY_ACTIONS)[number];

/** A decision with its grounds. */
export interface Decision {
  readonly action: RecoveryAction;
  /** One sentence for people. */
  readonly reason: string;
  /** The facts it rests on. */
  readonly evidence: Readonly<Record<string, JsonValue>>;
}

/** A rule of recovery. The first one that returns a decision wins; `null` leaves it to the next. */
export interface RecoveryStrategy {
  readonly name: string;
  decide(snapshot: TaskSnapshot): Decision | null;
}

/** A decision, and the strategy that made it. */
export interface Plan extends Decision {
  readonly strategy: string;
}
