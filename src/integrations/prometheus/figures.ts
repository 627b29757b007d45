/** Metrics of the whole namespace: the same in every process that asks. */
import { Counter, Gauge } from 'prom-client';
import type { Registry, RegistryContentType } from 'prom-client';
import type { HealthReport, RecoveryMetrics } from '../../domain/operations.js';
import type { Reader, Reading } from './reading.js';

/** One figure; null: there is none at present, and no sample. */
interface Figure {
  readonly name: string;
  readonly help: string;
  readonly kind: 'gauge' | 'counter';
  readonly value: (reading: Reading) => number | null;
}

/** One figure for each value of a label. */
interface Labelled {
  readonly name: string;
  readonly help: string;
  readonly label: string;
  readonly values: (reading: Reading) => readonly (readonly [label: string, value: number])[];
}

type OfHealth = (health: HealthReport) => number | null;
type OfMetrics = (metrics: RecoveryMetrics) => number | null;

const health = (name: string, help: string, read: OfHealth): Figure => ({
  name,
  help,
  kind: 'gauge',
  value: ({ health: report }) => report && read(report),
});

const metric = (name: string, help: string, read: OfMetrics, kind: Figure['kind'] = 'gauge'): Figure => ({
  name,
  help,
  kind,
  value: ({ metrics }) => metrics && read(metrics),
});

const total = (name: string, help: string, read: OfMetrics): Figure => metric(name, help, read, 'counter');

function isUp({ health: report, metrics }: Reading): boolean {
  return report !== null && metrics !== null && report.recovery_queue_depth !== null;
}

const FIGURES: readonly Figure[] = [
  {
    name: 'up',
    help: 'Whether the storage could be read for this scrape.',
    kind: 'gauge',
    value: (reading) => (isUp(reading) ? 1 : 0),
  },
  health('queue_tasks', 'Tasks in the recovery queue.', (report) => report.recovery_queue_depth),
  health('orphaned_tasks', 'Tasks whose owner is gone.', (report) => report.orphaned_task_count),
  health('stalled_tasks', 'Running tasks without progress.', (report) => report.stuck_task_count),
  health('processing_tasks', 'Tasks under a live lease.', (report) => report.processing_task_count),
  health(
    'oldest_processing_seconds',
    'How long the attempt that runs for longest has been running.',
    (report) => report.oldest_processing_seconds,
  ),
  health(
    'last_run_timestamp_seconds',
    'When recovery ran last, in any process.',
    ({ last_recovery_run: ms }) => (ms === null ? null : ms / 1000),
  ),
  metric(
    'success_ratio_24h',
    'Recoveries of the last 24 h that completed, of those that ended.',
    ({ recovery_success_rate_24h: percent }) => (percent === null ? null : percent / 100),
  ),
  metric(
    'failures_24h',
    'Tasks that ended failed or were given up in the last 24 h.',
    (figures) => figures.recent_failure_count,
  ),
  metric('failed_documents', 'Documents that failed.', (figures) => figures.documents.total_failed_documents),
  metric(
    'failed_documents_due',
    'Failed documents whose next try is due.',
    (figures) => figures.documents.documents_eligible_for_retry,
  ),
  metric(
    'failed_documents_given_up',
    'Failed documents that were given up.',
    (figures) => figures.documents.dead_letters,
  ),
  total(
    'recovery_jobs_created_total',
    'Attempts that took a task back.',
    (figures) => figures.recovery_jobs_created,
  ),
  total(
    'recovery_jobs_succeeded_total',
    'Recoveries that completed.',
    (figures) => figures.recovery_jobs_succeeded,
  ),
  total(
    'recovery_jobs_failed_total',
    'Recovered tasks that ended failed, and orphans that were given up.',
    (figures) => figures.recovery_jobs_failed,
  ),
  total(
    'recovery_job_run_seconds_total',
    'How long the successful recoveries ran together.',
    (figures) => figures.recovery_job_run_seconds,
  ),
  total(
    'document_retries_total',
    'Retries of failed documents.',
    (figures) => figures.documents.recovery_attempts,
  ),
  total(
    'document_retries_succeeded_total',
    'Retries of failed documents that succeeded.',
    (figures) => figures.documents.successful_recoveries,
  ),
  total(
    'document_retries_failed_total',
    'Retries of failed documents that failed.',
    (figures) => figures.documents.failed_recoveries,
  ),
];

const STATUSES = ['healthy', 'degraded', 'unhealthy'] as const;

const LABELLED: readonly Labelled[] = [
  {
    name: 'tasks',
    help: 'Tasks by state.',
    label: 'state',
    values: ({ metrics }) => Object.entries(metrics?.task_state_distribution ?? {}),
  },
  {
    name: 'health',
    help: 'Overall health: 1 for the present status, 0 for the others.',
    label: 'status',
    values: ({ health: report }) =>
      report === null ? [] : STATUSES.map((status) => [status, report.overall_health === status ? 1 : 0]),
  },
  {
    name: 'check_up',
    help: 'Whether a health check passed: the storage, and your own.',
    label: 'check',
    values: ({ health: report }) =>
      Object.entries(report?.checks ?? {}).map(([name, { status }]) => [name, status === 'up' ? 1 : 0]),
  },
];

/** What something else has written over must not take the whole scrape with it. */
function fits(kind: Figure['kind'], value: number): boolean {
  return Number.isFinite(value) && (kind === 'gauge' || value >= 0);
}

/** Registers them; returns their names. */
export function namespaceFigures(
  reader: Reader,
  register: Registry<RegistryContentType>,
  prefix: string,
): string[] {
  for (const figure of FIGURES) {
    const collect = async (): Promise<void> => put(figure.value(await reader.read()));
    const config = { name: prefix + figure.name, help: figure.help, registers: [register], collect };
    const made = figure.kind === 'gauge' ? new Gauge(config) : new Counter(config);
    const put = (value: number | null): void => {
      // No sample is not a zero: nobody is to mistake one for the other.
      made.remove();
      if (value !== null && fits(figure.kind, value)) made.inc(value);
    };
  }
  for (const { name, help, label, values } of LABELLED) {
    const gauge: Gauge = new Gauge({
      name: prefix + name,
      help,
      labelNames: [label],
      registers: [register],
      collect: async () => {
        const read = values(await reader.read());
        gauge.reset();
        for (const [of, value] of read) if (fits('gauge', value)) gauge.set({ [label]: of }, value);
      },
    });
  }
  return [...FIGURES, ...LABELLED].map(({ name }) => prefix + name);
}
