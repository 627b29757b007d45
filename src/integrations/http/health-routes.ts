/** What anybody may ask: load balancers, dashboards, a Prometheus. No messages of errors, no ids of tasks. */
import type { QueueCounts } from '../../domain/dispatch.js';
import type { HealthReport, RecoveryMetrics } from '../../domain/operations.js';
import { kindOf } from '../../errors.js';
import { log } from '../../log.js';
import { healthReportSchema, recoveryMetricsSchema } from '../../schemas/operations.js';
import type { DetailedHealth, LiveAnswer, ReadyAnswer } from './answer-types.js';
import { jsonAnswer, textAnswer } from './answers.js';
import type { Asked, Route } from './route.js';
import { detailedHealthSchema, liveSchema, problemSchema, readySchema } from './schemas.js';

/** An id that is hardly anybody's: to read its head costs one round trip. */
const PROBE_ID = 'rekindle-http-probe';

/** @throws what a read of the storage throws */
export async function touchStorage({ recovery }: Pick<Asked, 'recovery'>): Promise<void> {
  await recovery.tasks.get(PROBE_ID);
}

function statusOf({ overall_health }: HealthReport): number {
  return overall_health === 'unhealthy' ? 503 : 200;
}

async function live(): Promise<Response> {
  const body: LiveAnswer = { status: 'live' };
  return jsonAnswer(body);
}

async function ready(asked: Asked): Promise<Response> {
  let body: ReadyAnswer = { status: 'ready' };
  try {
    await touchStorage(asked);
  } catch (error) {
    log.http('not ready: %s', kindOf(error));
    body = { status: 'unavailable' };
  }
  return jsonAnswer(body, body.status === 'ready' ? 200 : 503);
}

async function health({ reads }: Asked): Promise<Response> {
  const report = await reads.health();
  return jsonAnswer(report, statusOf(report));
}

async function metrics({ reads }: Asked): Promise<Response> {
  return jsonAnswer(await reads.metrics());
}

type Checks = DetailedHealth['checks'];

function onlyNumbers(counts: Readonly<Record<string, number | null>>): Record<string, number> | undefined {
  const known = Object.entries(counts).flatMap(([name, value]) => (value === null ? [] : [[name, value]]));
  return known.length === 0 ? undefined : Object.fromEntries(known);
}

/** The user's checks and the storage's, and the queue with its counts: under a check of the user's that has its name. */
function checksOf(report: HealthReport, figures: RecoveryMetrics | null): Checks {
  const storage = report.checks['storage']?.status ?? (report.recovery_queue_depth === null ? 'down' : 'up');
  const counted: Record<string, Record<string, number> | undefined> = {
    storage: figures === null ? undefined : { ...figures.task_state_distribution },
    queue: onlyNumbers({
      waiting: report.recovery_queue_depth,
      orphaned: report.orphaned_task_count,
      processing: report.processing_task_count,
      stalled: report.stuck_task_count,
    }),
    documents: figures === null ? undefined : documentCounts(figures),
  };
  const states = new Map<string, 'up' | 'down'>(Object.keys(counted).map((name) => [name, storage]));
  for (const [name, { status }] of Object.entries(report.checks)) states.set(name, status);
  return Object.fromEntries(
    [...states].map(([name, status]) => {
      const own = Object.hasOwn(counted, name) ? counted[name] : undefined;
      const jobs = Object.hasOwn(report.checks, name) ? report.checks[name]?.counts : undefined;
      const counts = jobs === undefined ? own : { ...own, ...jobsOf(jobs) };
      return [name, { status, ...(counts === undefined ? {} : { counts }) }];
    }),
  );
}

/** Jobs of the user's queue, beside the figures of the recovery queue. */
function jobsOf({ waiting, active, failed }: QueueCounts): Record<string, number> {
  return { jobs_waiting: waiting, jobs_active: active, jobs_failed: failed };
}

function documentCounts({ documents }: RecoveryMetrics): Record<string, number> {
  return {
    failed: documents.total_failed_documents,
    eligible: documents.documents_eligible_for_retry,
    dead_letters: documents.dead_letters,
  };
}

async function detailed({ reads }: Asked): Promise<Response> {
  const figures = reads.metrics().catch((error: unknown) => {
    log.http('no counts: %s', kindOf(error));
    return null;
  });
  const report = await reads.health();
  const checks = checksOf(report, await figures);
  const body: DetailedHealth = { status: report.overall_health, checks, timestamp: report.timestamp };
  return jsonAnswer(body, statusOf(report));
}

async function prometheus({ metricsText }: Asked): Promise<Response> {
  const source = await metricsText();
  return textAnswer(await source.text(), source.contentType);
}

export const HEALTH_ROUTES: readonly Route[] = [
  {
    method: 'GET',
    path: '/health/live',
    summary: 'Whether the process answers. Never touches the storage.',
    answers: { 200: liveSchema },
    answer: live,
  },
  {
    method: 'GET',
    path: '/health/ready',
    summary: 'Whether the storage can be read.',
    answers: { 200: readySchema, 503: readySchema },
    answer: ready,
  },
  {
    method: 'GET',
    path: '/health/recovery',
    summary: 'How recovery is, with reasons. 503 when it is unhealthy.',
    answers: { 200: healthReportSchema, 503: healthReportSchema },
    answer: health,
  },
  {
    method: 'GET',
    path: '/health/recovery/metrics',
    summary: 'What recovery does, in figures.',
    answers: { 200: recoveryMetricsSchema },
    answer: metrics,
  },
  {
    method: 'GET',
    path: '/health/detailed',
    summary: 'All checks by name, with counts. 503 when it is unhealthy.',
    answers: { 200: detailedHealthSchema, 503: detailedHealthSchema },
    answer: detailed,
  },
];

export const METRICS_ROUTE: Route = {
  method: 'GET',
  path: '/metrics',
  summary: 'Figures for Prometheus. 501 without prom-client.',
  answers: { 200: null, 501: problemSchema },
  type: 'text/plain',
  answer: prometheus,
};
