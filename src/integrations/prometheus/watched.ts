/** Metrics of this process: what it saw happen since it began. */
import { Counter, Histogram } from 'prom-client';
import type { Registry, RegistryContentType } from 'prom-client';
import type { RecoveryEvent } from '../../domain/events.js';
import type { RecoveryHooks } from '../../domain/hooks.js';
import { Bounded } from './bounded.js';
import type { MetricsSource } from './reading.js';

const COUNTED: readonly (readonly [event: RecoveryEvent['event'], name: string, help: string])[] = [
  ['task_started', 'tasks_started_total', 'Tasks that this process began anew.'],
  ['task_completed', 'tasks_completed_total', 'Tasks that completed in this process.'],
  ['task_failed', 'tasks_failed_total', 'Tasks that failed for good in this process.'],
  ['task_cancelled', 'tasks_cancelled_total', 'Tasks that were cancelled in this process.'],
  ['task_retrying', 'tasks_retrying_total', 'Errors in this process after which a task is tried again.'],
  ['recovery_started', 'recoveries_started_total', 'Tasks that this process took back.'],
  ['recovery_completed', 'recoveries_succeeded_total', 'Tasks taken back that completed in this process.'],
  ['recovery_failed', 'recoveries_failed_total', 'Tasks taken back that failed in this process.'],
  ['dead_lettered', 'dead_letters_total', 'Tasks that this process gave up.'],
  ['lease_lost', 'leases_lost_total', 'Leases that this process lost while a task ran.'],
];

const MINUTE = 60;
const HOUR = 3_600;
const KIB = 1_024;
const BUCKETS = {
  run: [0.1, 0.5, 1, 5, 15, MINUTE, 5 * MINUTE, 15 * MINUTE, HOUR, 4 * HOUR],
  silence: [0.5, 1, 2, 5, 10, 15, 20, 30, MINUTE, 2 * MINUTE, 5 * MINUTE, 15 * MINUTE, HOUR],
  latency: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5],
  size: [KIB / 4, KIB, 4 * KIB, 16 * KIB, 64 * KIB, 256 * KIB, KIB * KIB, 2 * KIB * KIB],
};

/** Different names of tasks that have labels of their own; kinds of alerts. */
const MOST_NAMES = 200;
const MOST_KINDS = 50;

/** Counts from now on. */
export function watchProcess(
  recovery: MetricsSource,
  register: Registry<RegistryContentType>,
  prefix: string,
): { readonly names: readonly string[]; readonly stop: () => void } {
  const registers = [register];
  const tasks = new Bounded(MOST_NAMES);
  const kinds = new Bounded(MOST_KINDS);
  const counters = new Map(
    COUNTED.map(([event, name, help]) => [
      event,
      new Counter({ name: prefix + name, help, labelNames: ['task'], registers }),
    ]),
  );
  const alerts = new Counter({
    name: `${prefix}alerts_total`,
    help: 'Alerts of this process.',
    labelNames: ['kind'],
    registers,
  });
  const off = recovery.on('*', ({ event, name, details }) => {
    if (event === 'alert') alerts.inc({ kind: kinds.of(details['kind'] ?? '') });
    else counters.get(event)?.inc({ task: tasks.of(name ?? '') });
  });
  const { hooks, names } = histograms(tasks, register, prefix);
  const unhook = recovery.instrument(hooks);
  return {
    names: [...COUNTED.map(([, name]) => prefix + name), `${prefix}alerts_total`, ...names],
    stop: () => {
      off();
      unhook();
    },
  };
}

function histograms(
  tasks: Bounded,
  register: Registry<RegistryContentType>,
  prefix: string,
): { readonly hooks: RecoveryHooks; readonly names: readonly string[] } {
  const names: string[] = [];
  const histogram = (name: string, help: string, buckets: number[], labels: string[] = []): Histogram => {
    names.push(prefix + name);
    const labelNames = ['task', ...labels];
    return new Histogram({ name: prefix + name, help, buckets, labelNames, registers: [register] });
  };
  const run = histogram(
    'recovery_duration_seconds',
    'How long the function of a task that was taken back ran.',
    BUCKETS.run,
    ['outcome'],
  );
  const silence = histogram(
    'time_to_resume_seconds',
    'From the last sign of life of a dead owner to the claim by this process.',
    BUCKETS.silence,
  );
  const latency = histogram(
    'checkpoint_latency_seconds',
    'From the call of createCheckpoint until it was durable.',
    BUCKETS.latency,
  );
  const size = histogram('checkpoint_size_bytes', 'What was stored of a checkpoint.', BUCKETS.size);
  const hooks: RecoveryHooks = {
    attempt: async ({ name, recovered }, runs) => {
      const startedMs = performance.now();
      const { ok } = await runs();
      if (!recovered) return;
      const labels = { task: tasks.of(name), outcome: ok ? 'returned' : 'threw' };
      run.observe(labels, (performance.now() - startedMs) / 1000);
    },
    checkpoint: ({ name, latencyMs, sizeBytes }) => {
      const labels = { task: tasks.of(name) };
      latency.observe(labels, latencyMs / 1000);
      size.observe(labels, sizeBytes);
    },
    takeover: ({ name, silentMs }) => {
      if (silentMs !== null) silence.observe({ task: tasks.of(name) }, silentMs / 1000);
    },
  };
  return { hooks, names };
}
