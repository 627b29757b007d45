/** What operators see of a namespace: health, metrics, history, clean-up. Figures have the names that HTTP answers give them. */
import type { DocumentStatus } from './document-recovery.js';
import type { QueueCounts } from './dispatch.js';
import type { RecoveryEvent } from './events.js';
import type { OrphanCause, RecoveryAction, TaskStatus } from './task.js';

/** From when on a figure is worth an alarm. `null` switches one off. */
export interface Thresholds {
  /** More running tasks without progress than this. Default 10. */
  readonly stalled?: number | null | undefined;
  /** More running tasks than this. Default 50. */
  readonly processing?: number | null | undefined;
  /** More tasks in the recovery queue than this. Default 100. */
  readonly queue?: number | null | undefined;
  /** An attempt that has been running for longer than this, in ms. Default 3,600,000: an hour. */
  readonly oldestProcessingMs?: number | null | undefined;
  /** A smaller part of the recoveries of the last 24 h succeeded, in percent. Default 90. */
  readonly successRatePercent?: number | null | undefined;
}

/** The same with the defaults filled in. */
export interface ThresholdSettings {
  readonly stalled: number | null;
  readonly processing: number | null;
  readonly queue: number | null;
  readonly oldestProcessingMs: number | null;
  readonly successRatePercent: number | null;
}

/** What can be wrong. The first five are thresholds that are crossed. */
export type HealthReasonCode =
  | 'stalled'
  | 'processing'
  | 'queue'
  | 'oldest_processing'
  | 'success_rate'
  | 'no_worker'
  | 'storage_unavailable'
  | 'check_failed'
  | 'worker_stopped';

/** One thing that is wrong. */
export interface HealthReason {
  readonly code: HealthReasonCode;
  /** `unhealthy`: nothing is recovered until it is mended. */
  readonly severity: 'degraded' | 'unhealthy';
  /** What it is, in words. Names of checks and codes of errors, never their messages. */
  readonly message: string;
  /** The figure; null where it is none. */
  readonly value: number | null;
  readonly threshold: number | null;
}

/** Options of `health`. */
export interface HealthOptions {
  /** In place of those of `createRecovery`, one by one. */
  readonly thresholds?: Thresholds | undefined;
}

/** One of the user's own checks, or the storage's. */
export interface CheckResult {
  readonly status: 'up' | 'down';
  /** Code of what it failed with; null when it is up. */
  readonly error: string | null;
  readonly durationMs: number;
  /** A queue's jobs, as its `describe` gives them. */
  readonly counts?: QueueCounts | undefined;
}

/** How recovery is. Figures of the whole namespace, whatever process asks; null when the storage can't be read. */
export interface HealthReport {
  /** `unhealthy`: nothing can be recovered; `degraded`: a threshold is crossed; `healthy`: neither. */
  readonly overall_health: 'healthy' | 'degraded' | 'unhealthy';
  readonly reasons: readonly HealthReason[];
  /** Settings of the storage that put acknowledged writes at risk. They don't make it unhealthy. */
  readonly warnings: readonly string[];
  /** What an acknowledged write survives, in words; null when the storage doesn't say. */
  readonly durability: string | null;
  /** Tasks in the recovery queue, those that wait out a backoff included. */
  readonly recovery_queue_depth: number | null;
  /** Tasks that ended failed or were given up in the last 24 h. */
  readonly recent_failure_count: number | null;
  /** Tasks whose owner is gone: those in the recovery queue, and those with a lease that is over. */
  readonly orphaned_task_count: number | null;
  /** Running tasks without progress for `stuckAfterMs`. */
  readonly stuck_task_count: number | null;
  /** Tasks under a live lease. */
  readonly processing_task_count: number | null;
  /** How long the attempt that runs for longest has been running, as its worker told last, in s; null without one. */
  readonly oldest_processing_seconds: number | null;
  /** Of the recoveries that ended in the last 24 h those that completed, in percent; null when none ended. */
  readonly recovery_success_rate_24h: number | null;
  /** When recovery ran last, anywhere, in ms since 1970; null when it never has. */
  readonly last_recovery_run: number | null;
  /** The storage, the user's own checks and queues (`queue`, that of a task `queue:<name>`), by name. */
  readonly checks: Readonly<Record<string, CheckResult>>;
  /** ms since 1970, by the storage's clock; by this process's when the storage is away. */
  readonly timestamp: number;
}

/** What recovery does, in figures of the whole namespace. A window of 24 h is exact to five minutes. */
export interface RecoveryMetrics {
  readonly task_state_distribution: Readonly<Record<TaskStatus, number>>;
  /** Of the recoveries that ended in the last 24 h those that completed, in percent; null when none ended. */
  readonly recovery_success_rate_24h: number | null;
  /** Attempts that took a task back: after a crash, a shutdown, an error or a requeue. */
  readonly total_recovery_attempts_24h: number;
  readonly successful_recoveries_24h: number;
  /** Recovered tasks that ended failed, and orphans that were given up. */
  readonly failed_recoveries_24h: number;
  /** From the claim to the end of the successful ones, on average, in s; null without one. */
  readonly average_recovery_time_seconds: number | null;
  /** Tasks that ended failed or were given up in the last 24 h, recovered or not. */
  readonly recent_failure_count: number;
  readonly recovery_queue_depth: number;
  readonly stuck_task_count: number;
  /** Since the namespace was made: takeovers, how many of them ended well and badly, and how long the former ran together. */
  readonly recovery_jobs_created: number;
  readonly recovery_jobs_succeeded: number;
  readonly recovery_jobs_failed: number;
  readonly recovery_job_run_seconds: number;
  /** Of `recovery.documents.getStatus()`. */
  readonly documents: DocumentStatus;
  /** ms since 1970, by the storage's clock. */
  readonly timestamp: number;
}

/** One attempt of a task, as its events tell. */
export interface TaskAttempt {
  readonly attempt: number;
  readonly startedAtMs: number;
  /** How the task was found to be free to take; null for a first start. */
  readonly cause: OrphanCause | null;
  /** What the planner decided; null for a first start. */
  readonly decision: RecoveryAction | null;
  readonly reason: string | null;
  /** The event that ended it; null while it runs, and when its process died. */
  readonly end: RecoveryEvent['event'] | null;
  readonly endedAtMs: number | null;
}

/** What is still known of a task's past: the log is bounded. */
export interface TaskHistory {
  readonly attempts: readonly TaskAttempt[];
  readonly events: readonly RecoveryEvent[];
  /** Whether the first events are no longer kept. */
  readonly truncated: boolean;
}

/** For how long tasks that have ended are kept, in ms; `null`: for ever. */
export interface Retention {
  /** Default 7 days. */
  readonly completedMs?: number | null | undefined;
  /** Default 7 days. */
  readonly cancelledMs?: number | null | undefined;
  /** Default 30 days, or what failed documents are kept for if that is longer. */
  readonly failedMs?: number | null | undefined;
  /** Default 30 days, or what dead letters of documents are kept for if that is longer. */
  readonly deadLetterMs?: number | null | undefined;
  /** Counters that windows are made of. Default 8 days, at least 2. */
  readonly countersMs?: number | undefined;
}

/** Options of `cleanup`. */
export interface CleanupOptions {
  /** Tasks to remove at most. Default: no bound. */
  readonly limit?: number | undefined;
  /** Ends it early; what is removed is removed. */
  readonly signal?: AbortSignal | undefined;
  /** Hears how far it is. What it throws is ignored. */
  readonly onProgress?: ((progress: { readonly removed: number }) => unknown) | undefined;
}

/** What a clean-up has removed. */
export interface CleanupReport {
  readonly completed: number;
  readonly cancelled: number;
  readonly failed: number;
  readonly dead_letter: number;
  /** Hours of counters. */
  readonly counters: number;
  /** Tasks and indexes that something else has written over: they are left. */
  readonly refused: number;
  /** Whether there may be more to remove: the limit was met, the signal aborted, or the worker was shut down. */
  readonly more: boolean;
  readonly durationMs: number;
}
