/** The answers of the routes. Figures have the names that they have everywhere. */
import type { HealthReport, TaskAttempt } from '../../domain/operations.js';
import type { RecoveryEvent } from '../../domain/events.js';
import type { CancelOutcome } from '../../index.js';
import type { ShownCheckpoint, ShownFailure, ShownGroup, ShownPlan, ShownTask } from './shown.js';

export interface ProblemBody {
  readonly error: { readonly code: string; readonly message: string };
}

export interface LiveAnswer {
  readonly status: 'live';
}

export interface ReadyAnswer {
  readonly status: 'ready' | 'unavailable';
}

export interface DetailedHealth {
  readonly status: HealthReport['overall_health'];
  readonly checks: Readonly<
    Record<string, { readonly status: 'up' | 'down'; readonly counts?: Record<string, number> | undefined }>
  >;
  readonly timestamp: number;
}

export interface StatusAnswer {
  readonly stalled: number;
  readonly queued: number;
  readonly processing: number;
  readonly last_recovery_run: number | null;
}

export interface TasksAnswer {
  readonly tasks: readonly ShownTask[];
  readonly next: string | null;
}

export interface TaskAnswer {
  readonly task: ShownTask;
  /** Null unless it stands for a failed document. */
  readonly failure: ShownFailure | null;
  /** Null when they can't be read here. */
  readonly checkpoints: readonly ShownCheckpoint[] | null;
  readonly attempts: readonly TaskAttempt[];
  /** The newest ones. */
  readonly events: readonly RecoveryEvent[];
  /** Whether there were more events than these. */
  readonly truncated: boolean;
}

export interface PlanAnswer {
  readonly planned: readonly ShownPlan[];
  /** How many there are, those of the answer included. */
  readonly total: number;
}

export interface FailuresAnswer {
  readonly documents: readonly ShownFailure[];
  readonly next: string | null;
}

export interface GroupsAnswer {
  readonly groups: readonly ShownGroup[];
  readonly total: number;
}

export interface TriggerAnswer {
  /** Whether nothing that it started has failed so far. */
  readonly success: boolean;
  /** Whether all that it started has ended. Otherwise the figures are those so far. */
  readonly finished: boolean;
  /** Claimed and started. */
  readonly recovered: number;
  /** Of those, ended as failed. */
  readonly failed: number;
  /** These are known at the end only. */
  readonly skipped: number | null;
  readonly deferred: number | null;
  readonly dead_lettered: number | null;
}

export interface RedriveAnswer extends TriggerAnswer {
  /** Documents that the filter named. */
  readonly found: number | null;
}

export interface RequeueAnswer {
  readonly success: true;
  readonly taskId: string;
}

export interface CancelAnswer {
  /** False for a task that had ended before. */
  readonly success: boolean;
  readonly taskId: string;
  readonly outcome: CancelOutcome;
}
