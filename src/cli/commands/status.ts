import { RecoveryError } from '../../errors.js';
import type { HealthReport, RecoveryMetrics } from '../../domain/operations.js';
import type { Command, Context } from '../context.js';
import type { Cell, Output } from '../output.js';
import { timeText } from '../text.js';

function percent(value: number | null): string | null {
  return value === null ? null : `${Number(value.toFixed(1))}%`;
}

function seconds(value: number | null): string | null {
  return value === null ? null : `${Number(value.toFixed(1))} s`;
}

function figures(health: HealthReport, metrics: RecoveryMetrics): (readonly [string, Cell])[] {
  return [
    ['health', health.overall_health],
    ['processing', health.processing_task_count],
    ['oldest running', seconds(health.oldest_processing_seconds)],
    ['stuck', health.stuck_task_count],
    ['orphaned', health.orphaned_task_count],
    ['recovery queue', health.recovery_queue_depth],
    ['failed in 24 h', health.recent_failure_count],
    ['recoveries in 24 h', metrics.total_recovery_attempts_24h],
    ['succeeded in 24 h', percent(health.recovery_success_rate_24h)],
    ['average recovery', seconds(metrics.average_recovery_time_seconds)],
    ['last recovery', timeText(health.last_recovery_run)],
    ['failed documents', metrics.documents.total_failed_documents],
    ['durability', health.durability],
  ];
}

/** Tasks by state as their records say, among which those are still running whose owner is gone by now. */
function states(
  { orphaned_task_count: orphaned, recovery_queue_depth: queued }: HealthReport,
  { task_state_distribution: distribution }: RecoveryMetrics,
): (readonly [string, Cell])[] {
  const over = Math.max(0, (orphaned ?? 0) - (queued ?? 0));
  return Object.entries(distribution).map(([status, count]) =>
    status === 'processing' && over > 0
      ? [status, `${count} (${over} with a lease that is over)`]
      : [status, count],
  );
}

function show(out: Output, health: HealthReport, metrics: RecoveryMetrics): void {
  out.pairs(figures(health, metrics));
  out.heading('Tasks');
  out.pairs(states(health, metrics));
  if (health.reasons.length > 0) {
    out.heading('What is wrong');
    out.table(
      ['severity', 'code', 'message'],
      health.reasons.map(({ severity, code, message }) => [severity, code, message]),
    );
  }
  if (health.warnings.length > 0) {
    out.heading('Settings at risk');
    for (const warning of health.warnings) out.line(warning);
  }
}

/** `health()` never throws; a command line has no better answer to a storage that is away. @throws `STORAGE_UNAVAILABLE` */
export async function healthOf({ session }: Context): Promise<HealthReport> {
  const health = await session.recovery.health();
  const away = health.reasons.find(({ code }) => code === 'storage_unavailable');
  if (away !== undefined)
    throw new RecoveryError('STORAGE_UNAVAILABLE', `${session.place}: ${away.message}`, { retryable: true });
  return health;
}

/** `rekindle status` */
export const showStatus: Command<object> = async (context) => {
  const { recovery } = context.session;
  const health = await healthOf(context);
  const metrics = await recovery.metrics();
  return { value: { health, metrics }, show: (out) => show(out, health, metrics) };
};
