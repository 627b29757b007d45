import type { RecoveryAction } from '../domain/task.js';
import { isRecoveryError } from '../errors.js';
import type { RecoveryError } from '../errors.js';
import { isNotItsFault, textOf } from './task-errors.js';

/** What became of one task in a recovery run. */
export interface TaskReport {
  readonly taskId: string;
  readonly name: string;
  readonly decision: RecoveryAction;
  readonly reason: string;
  /**
   * `skipped`: nothing was done; `deferred`: it failed and is tried again later; `released`: given back; `lost`: another
   * worker was faster, or took it over; `dispatched`: it was handed to the queue.
   */
  readonly outcome:
    | 'dispatched'
    | 'completed'
    | 'failed'
    | 'cancelled'
    | 'dead_letter'
    | 'deferred'
    | 'released'
    | 'lost'
    | 'skipped';
  /** Items that the task has kept and has in all; null where it has none. */
  readonly items: { readonly done: number; readonly total: number } | null;
  readonly error: string | null;
}

/**
 * What a recovery run did. Of the tasks the first 1,000 are listed. The numbers are exact, but for orphans that no
 * function is registered for here: of those, the first 100 a name, partition and state count as skipped.
 */
export interface RecoveryReport {
  /** Orphans that this run took up and looked at. */
  readonly discovered: number;
  /** Claimed and started. */
  readonly recovered: number;
  /** Of those, ended as failed. */
  readonly failed: number;
  readonly skipped: number;
  /** Left in the recovery queue for later: by backoff, for another try after an error, or behind other suspects. */
  readonly deferred: number;
  readonly deadLettered: number;
  /** Claimed and started, and given back by a shutdown. */
  readonly released: number;
  /** Running tasks, anywhere, without progress for `stuckAfterMs`. They are reported, never taken. */
  readonly stuck: number;
  readonly durationMs: number;
  readonly tasks: readonly TaskReport[];
}

const LISTED = 1_000;

/** Gathers a report while a run goes on. */
export class ReportBuilder {
  readonly #startedMs: number;
  readonly #onTask: ((task: Pick<TaskReport, 'outcome'>) => void) | null;
  readonly #tasks: TaskReport[] = [];
  #recovered = 0;
  #failed = 0;
  #skipped = 0;
  #deadLettered = 0;
  #released = 0;
  #discovered = 0;
  #stuck = 0;
  #deferred = 0;

  /** @param onTask hears of each task */
  constructor(startedMs: number, onTask: ((task: Pick<TaskReport, 'outcome'>) => void) | null = null) {
    this.#onTask = onTask;
    this.#startedMs = startedMs;
  }

  /** Whether something was claimed. */
  get hasStarted(): boolean {
    return this.#recovered > 0;
  }

  discovered(count: number): void {
    this.#discovered += count;
  }

  stuck(count: number): void {
    this.#stuck += count;
  }

  deferred(count: number): void {
    this.#deferred += count;
  }

  started(): void {
    this.#recovered += 1;
  }

  add(task: Omit<TaskReport, 'items' | 'error'> & Partial<Pick<TaskReport, 'items' | 'error'>>): void {
    if (task.outcome === 'deferred') this.#deferred += 1;
    if (task.outcome === 'failed') this.#failed += 1;
    if (task.outcome === 'skipped') this.#skipped += 1;
    if (task.outcome === 'dead_letter') this.#deadLettered += 1;
    if (task.outcome === 'released') this.#released += 1;
    this.#onTask?.(task);
    if (this.#tasks.length < LISTED) {
      this.#tasks.push({ ...task, items: task.items ?? null, error: task.error ?? null });
    }
  }

  build(nowMs: number): RecoveryReport {
    return {
      discovered: this.#discovered,
      recovered: this.#recovered,
      failed: this.#failed,
      skipped: this.#skipped,
      deferred: this.#deferred,
      deadLettered: this.#deadLettered,
      released: this.#released,
      stuck: this.#stuck,
      durationMs: Math.round(nowMs - this.#startedMs),
      tasks: [...this.#tasks],
    };
  }
}

/** How a started task ended, from what its result rejected with. */
export function outcomeOf(
  thrown: unknown,
  closing: RecoveryError | null,
): { outcome: TaskReport['outcome']; error: string } {
  const error = textOf(thrown).slice(0, 1_000);
  if (isNotItsFault(thrown, closing)) return { outcome: 'released', error };
  if (isRecoveryError(thrown, 'TASK_CANCELLED')) return { outcome: 'cancelled', error };
  if (isRecoveryError(thrown, 'RESULT_NOT_STORABLE')) return { outcome: 'completed', error };
  const lost = ['LEASE_LOST', 'LEASE_UNCERTAIN', 'SLOT_CONFLICT'] as const;
  return { outcome: lost.some((code) => isRecoveryError(thrown, code)) ? 'lost' : 'failed', error };
}
