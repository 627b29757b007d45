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

/**
 * How a task was found to be free to take: its lease ran out; its owner is provably dead; this process holds the slot
 * that the owner held before; a clean shutdown gave it back; this process lost it and nobody took it; it had failed
 * and was called again. Only the first three count as a crash.
 */
export type OrphanCause = 'lease_over' | 'owner_dead' | 'slot_taken_over' | 'released' | 'own' | 'retried';

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
}

/** A task as it stands in the storage. */
export interface TaskRecord {
  readonly taskId: string;
  readonly name: string;
  readonly status: TaskStatus;
  readonly priority: number;
  /** How often it was started, this time included. */
  readonly attempt: number;
  readonly fence: number;
  /** The incarnation that holds it, or held it last. */
  readonly owner: string | null;
  /** Until when the lease runs, in ms since 1970 by the storage's clock; null when nobody holds it. */
  readonly leaseUntilMs: number | null;
  readonly progressPercent: number;
  readonly step: string | null;
  readonly description: string | null;
  readonly createdAtMs: number;
  /** When the owner last reported progress, by the storage's clock as the owner knew it. */
  readonly progressAtMs: number;
  readonly endedAtMs: number | null;
  /** Since when the owner has seen no progress for `stuckAfterMs`; null when it moves. */
  readonly stuckSinceMs: number | null;
  /** When it crashed, in ms since 1970; the newest ones. */
  readonly crashedAtMs: readonly number[];
  readonly orphanCause: OrphanCause | null;
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
  readonly crashBudget: CrashBudget;
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

/** The answers a `validate` hook can give. */
export type ValidationAnswer<R = unknown> =
  'complete' | 'resume' | 'restart' | 'unrecoverable' | { readonly complete: R };

export type ValidationEvidence =
  { readonly answer: 'complete' | 'resume' | 'restart' | 'unrecoverable' } | { readonly error: string };

/** How many crashes, within how many ms, make a task a dead letter. */
export interface CrashBudget {
  readonly count: number;
  readonly windowMs: number;
}

/** What is to become of an orphan. */
export type RecoveryAction = 'resume' | 'restart' | 'validate' | 'complete' | 'fail' | 'dead_letter' | 'skip';

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
