/** Health, metrics, history and clean-up against the real thing, with a process that dies. */
import { expect, test } from 'vitest';
import { KINDS, endWithEachTest, makeWorld } from './support/world.js';

endWithEachTest();

const DAY_MS = 86_400_000;

test.each(KINDS)('figures, history and clean-up over processes: %s', async (kind) => {
  const world = await makeWorld(kind);
  const { observer } = world;
  expect(await observer.health()).toMatchObject({ overall_health: 'healthy', processing_task_count: 0 });
  const ids = Array.from({ length: 12 }, (_, at) => `task-${at}`);
  const first = await world.worker({ hold: true });
  await first.call('startup');
  await Promise.all(ids.map((id) => first.call('start', 'together', { id, count: ids.length })));
  await Promise.all(ids.map((id) => first.heard({ type: 'running', id })));
  expect(await observer.health()).toMatchObject({
    overall_health: 'healthy',
    processing_task_count: ids.length,
    orphaned_task_count: 0,
    recovery_success_rate_24h: null,
    checks: { storage: { status: 'up' } },
  });
  await expect
    .poll(async () => (await observer.health()).oldest_processing_seconds, { timeout: 20_000 })
    .toBeGreaterThan(0);
  await first.kill();
  const second = await world.worker({ concurrency: ids.length });
  await second.call('startup');
  await second.heard({ type: 'finished' });
  const failed = await observer.failures.record({ documentPath: 'doc', error: new Error('seen') });
  const metrics = await observer.metrics();
  expect(metrics).toMatchObject({
    task_state_distribution: { processing: 0, orphaned: 0, completed: ids.length, failed: 1, dead_letter: 0 },
    recovery_success_rate_24h: 100,
    total_recovery_attempts_24h: ids.length,
    successful_recoveries_24h: ids.length,
    failed_recoveries_24h: 0,
    recent_failure_count: 1,
    recovery_jobs_created: ids.length,
    recovery_jobs_succeeded: ids.length,
    recovery_jobs_failed: 0,
    documents: { total_failed_documents: 1 },
  });
  expect(metrics.average_recovery_time_seconds).toBeCloseTo(metrics.recovery_job_run_seconds / ids.length, 6);
  await expect
    .poll(async () => (await observer.health()).last_recovery_run, { timeout: 20_000 })
    .toBeGreaterThan(metrics.timestamp - 60_000);
  for (const id of ids) {
    const { attempts, truncated } = await observer.tasks.history(id);
    expect(attempts).toMatchObject([
      { attempt: 1, cause: null, end: null },
      { attempt: 2, cause: 'owner_dead', end: 'task_completed' },
    ]);
    expect(truncated).toBe(false);
  }
  await second.call('shutdown');
  await second.kill();
  // Nothing is old yet; then all is, but one failure.
  expect(await observer.cleanup()).toMatchObject({ completed: 0, failed: 0, more: false });
  const pair = [
    world.recovery({ retention: { completedMs: 0, failedMs: DAY_MS } }),
    world.recovery({ retention: { completedMs: 0, failedMs: DAY_MS } }),
  ];
  const reports = await Promise.all(pair.map((recovery) => recovery.cleanup()));
  expect(reports.reduce((sum, { completed }) => sum + completed, 0)).toBe(ids.length);
  expect(await observer.tasks.counts()).toMatchObject({ completed: 0, failed: 1 });
  for (const partition of world.partitions) {
    const wanted = ids.flatMap((id) => ['h', 'n', 'o', 'x', 'f', 'c0', 'c1'].map((kept) => `${kept}:${id}`));
    const { records } = await world.storage.read(partition, wanted);
    expect(records.filter((record) => record !== null)).toEqual([]);
  }
  expect(await observer.tasks.get(failed)).toMatchObject({ status: 'failed' });
  // Counters outlive the tasks.
  expect(await observer.metrics()).toMatchObject({
    recovery_jobs_succeeded: ids.length,
    recent_failure_count: 1,
  });
});
