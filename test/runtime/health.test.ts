/** What `health` says, and that it says something whatever happens. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { RecoveryError } from '../../src/errors.js';
import type { HealthReport } from '../../src/domain/operations.js';
import { FaultyStorage } from '../../src/testing/faulty-storage.js';
import { keys } from '../../src/state/keys.js';
import { settled } from '../support/manual-clock.js';
import {
  alertsOf,
  away,
  LEASE_MS,
  rejectionOf,
  trapUnhandledRejections,
  untilAborted,
  World,
} from './harness.js';
import type { Proc } from './harness.js';
import { die, startQuietly } from './lab.js';
import { writeOver } from './documents-lab.js';

trapUnhandledRejections();

const CANARY = 'c4n4ry';

describe.each([1, 3])('health, on %i partitions', (partitions) => {
  let world: World;
  beforeEach(() => void (world = new World(partitions)));
  afterEach(() => world.end());

  const healthOf = (proc: Proc, ...options: Parameters<Proc['recovery']['health']>): Promise<HealthReport> =>
    world.until(proc.recovery.health(...options));

  it('of a namespace that nobody has written to is good', async () => {
    const proc = world.proc();
    expect(await healthOf(proc)).toEqual({
      overall_health: 'healthy',
      reasons: [],
      warnings: [],
      durability: null,
      recovery_queue_depth: 0,
      recent_failure_count: 0,
      orphaned_task_count: 0,
      stuck_task_count: 0,
      processing_task_count: 0,
      oldest_processing_seconds: null,
      recovery_success_rate_24h: null,
      last_recovery_run: null,
      checks: { storage: { status: 'up', error: null, durationMs: 0 } },
      timestamp: world.clock.wallMs(),
    });
    expect(proc.line.commits).toEqual([]);
  });

  it('tells what the storage says of itself, and copes when it can not', async () => {
    const inspect = async (): Promise<{ durability: string; warnings: string[] }> => ({
      durability: 'all',
      warnings: ['w'],
    });
    const told = world.proc();
    Object.assign(told.line.storage, { inspect });
    expect(await healthOf(told)).toMatchObject({
      overall_health: 'healthy',
      durability: 'all',
      warnings: ['w'],
    });
    const silent = world.proc();
    Object.assign(silent.line.storage, { inspect: () => Promise.reject(new Error(CANARY)) });
    const report = await healthOf(silent);
    expect(report).toMatchObject({ overall_health: 'healthy', durability: 'unknown' });
    expect(report.warnings).toEqual(["The storage's settings could not be read."]);
    const gone = world.proc();
    Object.assign(gone.line.storage, { inspect: () => Promise.reject(away()) });
    expect(await healthOf(gone)).toMatchObject({ durability: null, warnings: [] });
  });

  it('is bad while the storage is away, and good again when it is back', async () => {
    const proc = world.proc({ thresholds: { processing: 0 } });
    proc.line.down = away();
    const report = await healthOf(proc);
    expect(report).toMatchObject({
      overall_health: 'unhealthy',
      reasons: [{ code: 'storage_unavailable', severity: 'unhealthy', value: null, threshold: null }],
      recovery_queue_depth: null,
      processing_task_count: null,
      oldest_processing_seconds: null,
      last_recovery_run: null,
      checks: { storage: { status: 'down', error: 'STORAGE_UNAVAILABLE' } },
    });
    expect(report.timestamp).toBe(world.clock.wallMs());
    proc.line.down = null;
    expect(await healthOf(proc)).toMatchObject({ overall_health: 'healthy', recovery_queue_depth: 0 });
  });

  it('is bad when the storage can be reached, but figures can not be read', async () => {
    const proc = world.proc();
    Object.assign(proc.line.storage, {
      count: () => Promise.reject(new RecoveryError('STORAGE_REFUSED', 'no')),
    });
    await world.proc().recovery.withRecovery(() => 1, { name: 'n' })();
    expect(await healthOf(proc)).toMatchObject({
      overall_health: 'unhealthy',
      reasons: [{ code: 'storage_unavailable', message: "the storage can't be read (STORAGE_REFUSED)." }],
      checks: { storage: { status: 'up' } },
      processing_task_count: null,
    });
  });

  it('ends by the deadline of a call when nothing is answered any more', async () => {
    const storage = new FaultyStorage({ clock: world.clock, partitions, fault: () => 'lose-request' });
    const proc = world.proc({ over: storage });
    const startedMs = world.clock.monotonicMs();
    expect(await healthOf(proc)).toMatchObject({ overall_health: 'unhealthy', recovery_queue_depth: null });
    expect(world.clock.monotonicMs() - startedMs).toBeLessThanOrEqual(LEASE_MS / 4 + 100);
    // It knows the namespace by then: each look still begins with a call that is not answered.
    const known = new FaultyStorage({ clock: world.clock, partitions });
    const other = world.proc({ over: known });
    await healthOf(other);
    known.failNext('lose-request', 'range');
    for (let calls = 0; calls < 10; calls += 1) known.failNext('lose-request', 'read');
    const againMs = world.clock.monotonicMs();
    expect(await healthOf(other)).toMatchObject({ overall_health: 'unhealthy' });
    expect(world.clock.monotonicMs() - againMs).toBeLessThanOrEqual(LEASE_MS / 4 + 100);
  });

  it('names the checks that fail, whatever they fail with', async () => {
    const checks = {
      well: () => 1,
      soon: () => Promise.resolve(false),
      throws: () => {
        throw new Error(CANARY);
      },
      rejects: () => Promise.reject(new RecoveryError('STORAGE_FULL', CANARY)),
      odd: () => Promise.reject({ code: CANARY, toString: () => CANARY }),
      hangs: () => new Promise(() => {}),
      ['__proto__']: () => Promise.reject(new Error(CANARY)),
    };
    const proc = world.proc({ checks });
    const startedMs = world.clock.monotonicMs();
    const report = await healthOf(proc);
    expect(world.clock.monotonicMs() - startedMs).toBeLessThanOrEqual(5_100);
    expect(report.overall_health).toBe('unhealthy');
    const failing = ['__proto__', 'hangs', 'odd', 'rejects', 'throws'];
    expect(report.reasons.map(({ message }) => message).toSorted()).toEqual(
      failing.map((name) => `the check "${name}" failed (CHECK_FAILED).`),
    );
    for (const [name, { status, error }] of Object.entries(report.checks)) {
      const fails = failing.includes(name);
      expect([name, status, error]).toEqual([name, fails ? 'down' : 'up', fails ? 'CHECK_FAILED' : null]);
    }
    expect(Object.keys(report.checks).toSorted()).toEqual([...failing, 'soon', 'storage', 'well'].toSorted());
    expect(report.checks['hangs']?.durationMs).toBe(5_000);
    expect(JSON.stringify(report)).not.toContain(CANARY);
    // The figures are there all the same.
    expect(report.recovery_queue_depth).toBe(0);
  });

  it("does not take a check under the name of the storage's own", () => {
    const message = 'createRecovery: "checks" has a "storage", which is Rekindle\'s own: name it otherwise.';
    const make = (): unknown => world.proc({ checks: { storage: () => 1 } });
    expect(make).toThrow(message);
  });

  it('is bad in a namespace with another layout', async () => {
    await world.proc().recovery.recover();
    const proc = world.proc({ over: { ...world.memory, partitions: partitions + 1 } });
    expect(await healthOf(proc)).toMatchObject({
      overall_health: 'unhealthy',
      reasons: [{ code: 'storage_unavailable', message: "the storage can't be read (LAYOUT_MISMATCH)." }],
      checks: { storage: { status: 'down', error: 'LAYOUT_MISMATCH' } },
      processing_task_count: null,
    });
    expect(await rejectionOf(proc.recovery.metrics())).toMatchObject({ code: 'LAYOUT_MISMATCH' });
  });

  it('is bad after a shutdown', async () => {
    const proc = world.proc();
    await world.until(proc.recovery.shutdown());
    expect(await healthOf(proc)).toMatchObject({
      overall_health: 'unhealthy',
      reasons: [{ code: 'worker_stopped', message: 'this worker is shut down (SHUT_DOWN).' }],
    });
  });

  it('is bad after another worker took the slot', async () => {
    const first = world.proc({ slot: 's' });
    await first.recovery.recover();
    await world.proc({ slot: 's' }).recovery.recover();
    await world.clock.advance(LEASE_MS);
    expect(await healthOf(first)).toMatchObject({
      overall_health: 'unhealthy',
      reasons: [{ code: 'worker_stopped', message: 'this worker is shut down (SLOT_CONFLICT).' }],
    });
  });

  it('holds no message of a user', async () => {
    const proc = world.proc({ checks: { [`named`]: () => Promise.reject(new Error(CANARY)) } });
    const task = proc.recovery.withRecovery(
      (): never => {
        throw Object.assign(new Error(CANARY), { code: CANARY });
      },
      { name: 'n', taskId: () => 't', document: () => CANARY, userContext: () => ({ by: CANARY }) },
    );
    await task().catch(() => {});
    const report = await healthOf(proc);
    expect(report.recent_failure_count).toBe(1);
    expect(JSON.stringify([report, await proc.recovery.metrics()])).not.toContain(CANARY);
  });

  it('takes other thresholds for one look, and tells nobody of those', async () => {
    const proc = world.proc({ thresholds: { queue: 5 } });
    await startQuietly(proc.recovery.withRecovery(untilAborted, { name: 'n', taskId: () => 't' }));
    const crossed = { code: 'processing', severity: 'degraded', value: 1, threshold: 0 };
    expect(await healthOf(proc, { thresholds: { processing: 0 } })).toMatchObject({
      overall_health: 'degraded',
      reasons: [crossed],
    });
    expect(await healthOf(proc)).toMatchObject({ overall_health: 'healthy', processing_task_count: 1 });
    expect(alertsOf(proc.heard)).toEqual([]);
  });

  it('refuses options that are none', async () => {
    const { recovery } = world.proc();
    const invalid = { code: 'INVALID_OPTION' };
    expect(await rejectionOf(recovery.health({ thresholds: { queue: -1 } }))).toMatchObject(invalid);
    expect(await rejectionOf(recovery.health(Object({ threshold: {} })))).toMatchObject(invalid);
    for (const given of [{ queue: Infinity }, { depth: 1 }, 3])
      expect(() => world.proc(Object({ thresholds: given }))).toThrow('createRecovery: "thresholds"');
  });

  it('tells when recovery ran last, anywhere, a beat later', async () => {
    const [proc, other] = [world.proc(), world.proc()];
    await world.until(proc.recovery.runStartupRecovery());
    const ranMs = world.clock.wallMs();
    expect(await healthOf(other)).toMatchObject({ last_recovery_run: null });
    await world.clock.advance(LEASE_MS / 3);
    expect(await healthOf(other)).toMatchObject({ last_recovery_run: ranMs + LEASE_MS / 3 });
    await writeOver(world, keys.recoveryRun, { endedAt: 'x' });
    expect(await healthOf(other)).toMatchObject({ last_recovery_run: null });
  });

  it('counts what is running, overdue and waiting', async () => {
    const dead = world.proc();
    const body = { name: 'n', taskId: (id: string) => id };
    const deadTask = dead.recovery.withRecovery((ctx, _id: string) => untilAborted(ctx), body);
    await startQuietly(deadTask, 'a');
    await startQuietly(deadTask, 'b');
    await die(world, dead);
    const proc = world.proc();
    const task = proc.recovery.withRecovery((ctx, _id: string) => untilAborted(ctx), body);
    await startQuietly(task, 'c');
    const running = { processing_task_count: 1, orphaned_task_count: 2, recovery_queue_depth: 0 };
    expect(await healthOf(proc)).toMatchObject(running);
    await proc.recovery.tasks.cancel('a').catch(() => {});
    await settled();
    expect(await healthOf(proc)).toMatchObject({ ...running, orphaned_task_count: 1 });
  });
});
