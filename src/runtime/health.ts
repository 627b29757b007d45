/** How recovery is: figures, the user's own checks, the storage's settings; and who is told when a threshold is crossed. */
import { isRecoveryError, kindOf, RecoveryError } from '../errors.js';
import { checkOptions } from '../domain/check-options.js';
import type { Dispatcher, QueueCounts } from '../domain/dispatch.js';
import type {
  CheckResult,
  HealthOptions,
  HealthReason,
  HealthReasonCode,
  HealthReport,
  RecoveryMetrics,
} from '../domain/operations.js';
import { readWorkload, successRate } from '../monitoring/figures.js';
import { areThresholds, judge, thresholdsOf } from '../monitoring/thresholds.js';
import { readRecoveries } from '../state/recovery-counters.js';
import type { StorageReport } from '../storage/storage.js';
import { within } from './deferred.js';
import type { DocumentRecoveryManager } from './document-manager.js';
import type { Engine } from './engine.js';
import { runCheck } from './health-check.js';
import { countsOf } from './queue-counts.js';

const CHECKS = { thresholds: areThresholds };

/** All figures of a health report, or none. */
type Figures = Pick<
  HealthReport,
  | 'recovery_queue_depth'
  | 'recent_failure_count'
  | 'orphaned_task_count'
  | 'stuck_task_count'
  | 'processing_task_count'
  | 'oldest_processing_seconds'
  | 'recovery_success_rate_24h'
  | 'last_recovery_run'
>;

const NO_FIGURES: Figures = {
  recovery_queue_depth: null,
  recent_failure_count: null,
  orphaned_task_count: null,
  stuck_task_count: null,
  processing_task_count: null,
  oldest_processing_seconds: null,
  recovery_success_rate_24h: null,
  last_recovery_run: null,
};

interface Looked {
  readonly figures: Figures;
  readonly workers: number;
  readonly nowMs: number;
}

export class Health {
  readonly #engine: Engine;
  readonly #documents: DocumentRecoveryManager;
  /** What is crossed at this moment, as far as anybody was told. */
  readonly #crossed = new Map<HealthReasonCode, HealthReason>();

  constructor(engine: Engine, documents: DocumentRecoveryManager) {
    this.#engine = engine;
    this.#documents = documents;
  }

  readonly health = async (options: HealthOptions = {}): Promise<HealthReport> => {
    checkOptions('health', options, CHECKS, []);
    const { settings, store } = this.#engine;
    const reasons: HealthReason[] = [];
    const [storage, looked, settingsReport, own] = await Promise.all([
      this.#checkStorage(),
      this.look().then(
        (found) => ({ ...found, error: null }),
        (error: unknown) => ({ figures: null, workers: 0, nowMs: null, error: kindOf(error) }),
      ),
      this.#inspect(),
      Promise.all([
        ...this.#queues().map(async ([name, queue]) => [name, await this.#describe(queue)] as const),
        ...[...settings.checks].map(async ([name, check]) => [name, await this.#check(name, check)] as const),
      ]),
    ]);
    if (this.#engine.closing !== null)
      reasons.push(unhealthy('worker_stopped', `this worker is shut down (${this.#engine.closing.code}).`));
    const away = storage.error ?? looked.error;
    if (away !== null) reasons.push(unhealthy('storage_unavailable', `the storage can't be read (${away}).`));
    for (const [name, { status, error }] of own)
      if (status === 'down')
        reasons.push(unhealthy('check_failed', `the check "${name}" failed (${error ?? ''}).`));
    if (looked.figures !== null && looked.workers === 0 && (looked.figures.orphaned_task_count ?? 0) > 0)
      reasons.push(
        unhealthy(
          'no_worker',
          `${looked.figures.orphaned_task_count} tasks are to be recovered, and no worker is alive.`,
        ),
      );
    if (looked.figures !== null)
      reasons.push(...judge(judgedOf(looked.figures), thresholdsOf(options.thresholds, settings.thresholds)));
    return {
      overall_health: overall(reasons),
      reasons,
      warnings: settingsReport?.warnings ?? [],
      durability: settingsReport?.durability ?? null,
      ...(looked.figures ?? NO_FIGURES),
      checks: Object.fromEntries([['storage', storage], ...own]),
      timestamp: looked.nowMs ?? store.estimatedNowMs(store.home),
    };
  };

  readonly metrics = async (): Promise<RecoveryMetrics> => {
    const { store, tasks } = this.#engine;
    await store.look();
    const names = await tasks.allNames();
    const [counts, { totals, window }, workload, documents] = await Promise.all([
      tasks.counts(),
      readRecoveries(store),
      readWorkload(store, names),
      this.#documents.getStatus(),
    ]);
    return {
      task_state_distribution: counts,
      recovery_success_rate_24h: successRate(window),
      total_recovery_attempts_24h: window.attempts,
      successful_recoveries_24h: window.succeeded,
      failed_recoveries_24h: window.failed,
      average_recovery_time_seconds:
        window.succeeded === 0 ? null : window.succeededMs / window.succeeded / 1000,
      recent_failure_count: window.failures,
      recovery_queue_depth: workload.queue,
      stuck_task_count: workload.stuck,
      recovery_jobs_created: totals.attempts - totals.received + totals.handedOver,
      recovery_jobs_succeeded: totals.succeeded,
      recovery_jobs_failed: totals.failed,
      recovery_job_run_seconds: totals.succeededMs / 1000,
      documents,
      timestamp: workload.nowMs,
    };
  };

  /** Reads the figures, and tells of thresholds that were crossed since the last look. @throws `STORAGE_UNAVAILABLE` */
  async look(): Promise<Looked> {
    const { store, tasks, settings } = this.#engine;
    await store.look();
    const [workload, { window }] = await Promise.all([
      tasks.allNames().then((names) => readWorkload(store, names)),
      readRecoveries(store),
    ]);
    const { queue, overdue, stuck, processing, workers, oldestProcessingMs, lastRunMs, nowMs } = workload;
    const figures: Figures = {
      recovery_queue_depth: queue,
      recent_failure_count: window.failures,
      orphaned_task_count: queue + overdue,
      stuck_task_count: stuck,
      processing_task_count: processing,
      oldest_processing_seconds: oldestProcessingMs === null ? null : oldestProcessingMs / 1000,
      recovery_success_rate_24h: successRate(window),
      last_recovery_run: lastRunMs,
    };
    this.#tell(judge(judgedOf(figures), settings.thresholds));
    return { figures, workers, nowMs };
  }

  #tell(reasons: readonly HealthReason[]): void {
    const { emitter } = this.#engine;
    const now = new Map(reasons.map((reason) => [reason.code, reason]));
    for (const [code, reason] of now) {
      if (this.#crossed.has(code)) continue;
      this.#crossed.set(code, reason);
      emitter.alert('threshold_crossed', detailsOf(reason));
    }
    for (const [code, reason] of this.#crossed) {
      if (now.has(code)) continue;
      this.#crossed.delete(code);
      emitter.alert('threshold_cleared', { figure: code, threshold: String(reason.threshold ?? '') });
    }
  }

  #checkStorage(): Promise<CheckResult> {
    const { store } = this.#engine;
    return this.#timed(async () => {
      await store.look();
      await store.read(store.home, ['clock']);
    });
  }

  #check(name: string, check: () => unknown): Promise<CheckResult> {
    return this.#timed(() => runCheck(this.#engine, name, check));
  }

  /** The queues that can be asked. A check of the user's own takes the place of one with its name. */
  #queues(): [string, Dispatcher][] {
    const { settings, handlers } = this.#engine;
    const named: [string, Dispatcher | null][] = [['queue', settings.dispatch]];
    for (const { name, dispatch } of handlers.values())
      if (!named.some(([, known]) => known === dispatch)) named.push([`queue:${name}`, dispatch]);
    return named.flatMap(([name, queue]) =>
      queue?.describe === undefined || settings.checks.has(name) ? [] : [[name, queue]],
    );
  }

  async #describe(queue: Dispatcher): Promise<CheckResult> {
    let counts: QueueCounts | null = null;
    const result = await this.#timed(async () => {
      counts = await countsOf(this.#engine, queue);
    });
    return counts === null ? result : { ...result, counts };
  }

  async #timed(work: () => Promise<unknown>): Promise<CheckResult> {
    const { clock } = this.#engine;
    const startedMs = clock.monotonicMs();
    const error = await work().then(
      () => null,
      (thrown: unknown) => kindOf(thrown),
    );
    const durationMs = Math.max(0, Math.round(clock.monotonicMs() - startedMs));
    return { status: error === null ? 'up' : 'down', error, durationMs };
  }

  /** Null when the storage doesn't say. */
  async #inspect(): Promise<StorageReport | null> {
    const { storage, callDeadlineMs } = this.#engine.store;
    try {
      const report = Promise.resolve(storage.inspect?.({ deadlineMs: callDeadlineMs }));
      const late = (): Error => new RecoveryError('STORAGE_UNAVAILABLE', 'inspect did not answer.');
      return (await within(this.#engine.clock, 2 * callDeadlineMs, report, late)) ?? null;
    } catch (error) {
      if (isRecoveryError(error, 'STORAGE_UNAVAILABLE')) return null;
      return { durability: 'unknown', warnings: ["The storage's settings could not be read."] };
    }
  }
}

function judgedOf(figures: Figures): Parameters<typeof judge>[0] {
  const { oldest_processing_seconds: oldest } = figures;
  return {
    stalled: figures.stuck_task_count ?? 0,
    processing: figures.processing_task_count ?? 0,
    queue: figures.recovery_queue_depth ?? 0,
    oldestProcessingMs: oldest === null ? null : oldest * 1000,
    successRatePercent: figures.recovery_success_rate_24h,
  };
}

function unhealthy(code: HealthReasonCode, message: string): HealthReason {
  return { code, severity: 'unhealthy', message, value: null, threshold: null };
}

function overall(reasons: readonly HealthReason[]): HealthReport['overall_health'] {
  if (reasons.some(({ severity }) => severity === 'unhealthy')) return 'unhealthy';
  return reasons.length > 0 ? 'degraded' : 'healthy';
}

function detailsOf({ code, value, threshold }: HealthReason): Record<string, string> {
  return { figure: code, value: String(value ?? ''), threshold: String(threshold ?? '') };
}
