/** Failed documents as their readers see them. */
import type { TaskStatus } from './task.js';

/** A document whose task ended failed. */
export interface FailedDocumentRecord {
  readonly taskId: string;
  /** The name of its task. */
  readonly name: string;
  readonly documentPath: string;
  readonly query: string | null;
  /** `failed`: waits for a retry; `dead_letter`: given up; `processing`, `orphaned`: a retry is under way. */
  readonly status: TaskStatus;
  readonly errorName: string;
  readonly errorMessage: string;
  readonly errorCode: string | null;
  readonly category: string;
  /** The same for all failures of one reason. */
  readonly fingerprint: string;
  /** The place in the user's code that threw, as `function @ file`; null when that is not known. */
  readonly frame: string | null;
  /** When it failed first, in ms since 1970 by the storage's clock. */
  readonly failedAtMs: number;
  /** When its last attempt failed. */
  readonly lastAttemptAtMs: number;
  /** How long ago it failed first, in ms. */
  readonly ageMs: number;
  /** Retries since it failed first, or was requeued. */
  readonly retryCount: number;
  /** Retries in all. */
  readonly recoveryAttempts: number;
  /** The slot of the worker it failed on, or its host. */
  readonly workerId: string;
  /** The version of the code it failed under. */
  readonly version: string;
  readonly metadata: unknown;
}

/** Failures of one reason. */
export interface FailureGroup {
  readonly fingerprint: string;
  readonly count: number;
  readonly category: string;
  /** What the newest one of them says. */
  readonly errorName: string;
  readonly errorMessage: string;
  readonly frame: string | null;
  readonly newestTaskId: string;
}
