import { systemClock } from '../../clock.js';
import { checkIndexes } from '../../state/stray-entries.js';
import { Store } from '../../state/store.js';
import type { HealthReport } from '../../domain/operations.js';
import type { Recovery, TaskRecord } from '../../index.js';
import type { Command, Context } from '../context.js';
import { EXIT } from '../exit-codes.js';
import { durationText, plural, timeText } from '../text.js';
import { healthOf } from './status.js';

export interface DoctorOptions {
  /** Index entries to look at, at most. */
  readonly limit?: number;
}

/** One thing that was looked at. */
export interface Finding {
  readonly check:
    'connection' | 'health' | 'settings' | 'clock' | 'indexes' | 'stuck' | 'quarantined' | 'unclaimed';
  /** `skipped`: it could not be looked at from here. */
  readonly status: 'ok' | 'warning' | 'serious' | 'skipped';
  readonly message: string;
  /** What to do; null when all is well. */
  readonly advice: string | null;
}

const ENTRIES = 10_000;
const CALL_DEADLINE_MS = 3_750;
/** Clocks that differ by less are set well enough. */
const SKEW_MS = 1_000;
/** What has waited in vain for so long is nobody's: workers look several times a minute. */
const UNCLAIMED_MS = 5 * 60_000;
/** Looked at, of each name. */
const RUNNING = 1_000;
/** Named in a message. */
const NAMED = 5;

function ok(check: Finding['check'], message: string): Finding {
  return { check, status: 'ok', message, advice: null };
}

function named(ids: readonly string[], count: number): string {
  const some = ids.slice(0, NAMED).join(', ');
  return count > Math.min(ids.length, NAMED) ? `${some}, …` : some;
}

function connectionOf({ checks }: HealthReport): Finding {
  return ok(
    'connection',
    `The storage answers within ${durationText(checks['storage']?.durationMs ?? null)}.`,
  );
}

/** Stuck tasks, orphans that nobody takes up and the storage have checks of their own. */
function healthFindings({ reasons }: HealthReport): Finding[] {
  const others = reasons.filter(({ code }) => code !== 'stalled' && code !== 'no_worker');
  const all = others.length === reasons.length;
  if (others.length === 0) return [ok('health', `No ${all ? '' : 'other '}threshold is crossed.`)];
  return others.map(({ severity, message }) => ({
    check: 'health',
    status: severity === 'unhealthy' ? 'serious' : 'warning',
    message,
    advice: 'See docs/operations.md.',
  }));
}

function settingsFindings({ warnings, durability }: HealthReport): Finding[] {
  if (warnings.length === 0) return [ok('settings', durability ?? 'The storage tells of no risk.')];
  return warnings.map((message) => ({
    check: 'settings',
    status: 'warning',
    message,
    advice: 'See docs/storage-adapters.md: acknowledged writes are at risk.',
  }));
}

/** Whatever the storage's clock said, it said it between the two moments. */
function clockFinding({ timestamp }: HealthReport, beforeMs: number, afterMs: number): Finding {
  const skewMs = Math.max(beforeMs - timestamp, timestamp - afterMs, 0);
  if (skewMs < SKEW_MS)
    return ok('clock', 'The clocks of the storage and of this machine differ by less than 1 s.');
  const side = timestamp > afterMs ? 'ahead of' : 'behind';
  return {
    check: 'clock',
    status: 'warning',
    message: `The storage's clock is ${durationText(skewMs)} ${side} this machine's.`,
    advice:
      'Leases go by the storage alone and are not affected. Times in your logs are: set the clocks by NTP.',
  };
}

async function indexFindings({ session }: Context, limit: number): Promise<Finding[]> {
  if (session.direct === null) {
    const message = 'A module does not tell where its records are.';
    const advice = 'Run doctor with --redis-url or --sqlite to have indexes and quarantined tasks looked at.';
    return [
      { check: 'indexes', status: 'skipped', message, advice },
      { check: 'quarantined', status: 'skipped', message, advice },
    ];
  }
  const { storage, namespace } = session.direct;
  const store = new Store(storage, namespace, systemClock, CALL_DEADLINE_MS);
  const report = await checkIndexes(store, limit);
  const { looked, complete, strays, strayCount, quarantined, quarantinedCount } = report;
  const extent = complete ? '' : ` Only the first ${looked} were looked at: see --limit.`;
  const ids = strays.map(({ taskId, index, kind }) => `${taskId} (${kind}, in ${index})`);
  const reasons = quarantined.map(({ taskId, reason }) => `${taskId} (${reason})`);
  return [
    strayCount === 0
      ? ok('indexes', `All index entries that were looked at (${looked}) have their task.${extent}`)
      : {
          check: 'indexes',
          status: 'warning',
          message: `${strayCount} of ${looked} index entries have no task behind them: ${named(ids, strayCount)}.${extent}`,
          advice:
            'Keys were deleted by hand, or evicted (maxmemory-policy must be noeviction). Figures count them; no task waits for them.',
        },
    quarantinedCount === 0
      ? ok('quarantined', 'No task is in quarantine.')
      : {
          check: 'quarantined',
          status: 'serious',
          message: `${plural(quarantinedCount, 'task')} could not be read: ${named(reasons, quarantinedCount)}.`,
          advice: 'Something else has written over their records. See docs/errors.md, CORRUPT_RECORD.',
        },
  ];
}

async function stuckFinding(recovery: Recovery, count: number): Promise<Finding> {
  if (count === 0) return ok('stuck', 'No running task is without progress.');
  const { tasks } = await recovery.tasks.list({ status: 'processing', limit: RUNNING });
  const ids = tasks.flatMap(({ taskId, stuckSinceMs }) =>
    stuckSinceMs === null ? [] : [`${taskId} (since ${timeText(stuckSinceMs)})`],
  );
  return {
    check: 'stuck',
    status: 'serious',
    message: `${plural(count, 'running task')} without progress: ${named(ids, count)}.`,
    advice:
      'Its lease is alive, so its worker lives, or has died a moment ago; if it lives, the task hangs: look at it with `rekindle task <id>`, end it with `rekindle cancel <id>`, and give it a maxSilenceMs.',
  };
}

/** Since when it could have been taken up; null when it can't be yet. */
function dueSince({ status, dueAtMs, leaseUntilMs }: TaskRecord): number | null {
  if (status === 'orphaned' || status === 'pending') return dueAtMs;
  return status === 'processing' ? leaseUntilMs : null;
}

async function unclaimedFinding({ tasks }: Recovery, { timestamp, reasons }: HealthReport): Promise<Finding> {
  const waiting: string[] = [];
  for (const name of await tasks.names()) {
    const pages = await Promise.all(
      (['orphaned', 'pending', 'processing'] as const).map((status) =>
        tasks.list({ name, status, limit: 100 }),
      ),
    );
    const times = pages.flatMap((page) => page.tasks.flatMap((task) => dueSince(task) ?? []));
    const oldestMs = Math.min(...times);
    const forMs = timestamp - oldestMs;
    if (forMs > UNCLAIMED_MS) waiting.push(`${name} (for ${durationText(forMs)})`);
  }
  const nobody = reasons.find(({ code }) => code === 'no_worker')?.message;
  if (waiting.length === 0 && nobody === undefined)
    return ok('unclaimed', 'No orphan waits in vain for a worker.');
  return {
    check: 'unclaimed',
    status: 'serious',
    message: [
      ...(nobody === undefined ? [] : [nobody]),
      ...(waiting.length === 0 ? [] : [`Nobody takes up orphans of ${named(waiting, waiting.length)}.`]),
    ].join(' '),
    advice: 'Start a worker that wraps their functions and calls runStartupRecovery.',
  };
}

/** `rekindle doctor` */
export const examine: Command<DoctorOptions> = async (context, { limit = ENTRIES }) => {
  const { recovery } = context.session;
  const beforeMs = Date.now();
  const health = await healthOf(context);
  const afterMs = Date.now();
  const findings: Finding[] = [
    connectionOf(health),
    ...healthFindings(health),
    ...settingsFindings(health),
    clockFinding(health, beforeMs, afterMs),
    ...(await indexFindings(context, limit)),
    await stuckFinding(recovery, health.stuck_task_count ?? 0),
    await unclaimedFinding(recovery, health),
  ];
  const healthy = findings.every(({ status }) => status !== 'serious');
  return {
    value: { healthy, findings },
    show: (out) => {
      for (const { check, status, message, advice } of findings) {
        out.line(`${status} ${check}: ${message}`);
        if (advice !== null) out.line(`  ${advice}`);
      }
    },
    exitCode: healthy ? EXIT.ok : EXIT.failed,
  };
};
