/** The Prometheus text: its figures, and what it does not tell. */
import { readFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { prometheusMetrics } from '../../src/integrations/prometheus/index.js';
import { away, LEASE_MS, rejectionOf, trapUnhandledRejections, World } from '../runtime/harness.js';
import { die, startQuietly, swept } from '../runtime/lab.js';
import { define, observed, Scrape } from './scrape.js';

trapUnhandledRejections();

const CANARY = 'c4n4ry-s3cr3t';

let world: World;
beforeEach(() => {
  world = new World();
});
afterEach(() => world.end());

describe('the figures', () => {
  it('are those of what happened, over a crash', async () => {
    const dying = observed(world);
    const first = define(dying, (_ctx, id) => {
      if (id === 'good') return 1;
      if (id === 'bad') throw new Error('no');
      return new Promise(() => {});
    });
    await world.until(first('good'));
    await rejectionOf(world.until(first('bad')));
    await startQuietly(first, 'hangs 1');
    await startQuietly(first, 'hangs 2');
    const before = await dying.scrape();
    expect(before.value('rekindle_up')).toBe(1);
    expect(before.value('rekindle_tasks', { state: 'processing' })).toBe(2);
    expect(before.value('rekindle_processing_tasks')).toBe(2);
    expect(before.value('rekindle_tasks_started_total', { task: 'import' })).toBe(4);
    expect(before.value('rekindle_tasks_completed_total', { task: 'import' })).toBe(1);
    expect(before.value('rekindle_tasks_failed_total', { task: 'import' })).toBe(1);
    expect(before.value('rekindle_recovery_jobs_created_total')).toBe(0);
    // Nothing was taken back so far.
    expect(before.text).not.toMatch(/^rekindle_recovery_duration_seconds_count/m);
    await die(world, dying);

    const next = observed(world);
    define(next, async (ctx, id) => {
      await ctx.createCheckpoint({ name: 'c', progressPercent: 50, recoverableData: 'é' });
      if (id === 'hangs 2') throw new Error('no');
    });
    await swept(world, next);
    // When it ran last is told with the worker's next renewal.
    await world.clock.advance(LEASE_MS);
    const after = await next.scrape();
    const task = { task: 'import' };
    expect(after.value('rekindle_tasks', { state: 'completed' })).toBe(2);
    expect(after.value('rekindle_tasks', { state: 'failed' })).toBe(2);
    expect(after.value('rekindle_tasks', { state: 'processing' })).toBe(0);
    expect(after.value('rekindle_recoveries_started_total', task)).toBe(2);
    expect(after.value('rekindle_recoveries_succeeded_total', task)).toBe(1);
    expect(after.value('rekindle_recoveries_failed_total', task)).toBe(1);
    expect(after.value('rekindle_recovery_jobs_created_total')).toBe(2);
    expect(after.value('rekindle_recovery_jobs_succeeded_total')).toBe(1);
    expect(after.value('rekindle_recovery_jobs_failed_total')).toBe(1);
    expect(after.value('rekindle_success_ratio_24h')).toBe(0.5);
    expect(after.value('rekindle_failures_24h')).toBe(2);
    expect(after.value('rekindle_health', { status: 'healthy' })).toBe(0);
    expect(after.value('rekindle_health', { status: 'degraded' })).toBe(1);
    expect(after.value('rekindle_check_up', { check: 'storage' })).toBe(1);
    expect(after.value('rekindle_last_run_timestamp_seconds')).toBeLessThanOrEqual(
      world.clock.wallMs() / 1000,
    );
    expect(after.histogram('rekindle_recovery_duration_seconds', 'task="import",outcome="returned"')[0]).toBe(
      1,
    );
    expect(after.histogram('rekindle_recovery_duration_seconds', 'task="import",outcome="threw"')[0]).toBe(1);
    const [resumed, silence] = after.histogram('rekindle_time_to_resume_seconds', 'task="import"');
    expect([resumed, silence / 2]).toEqual([2, expect.closeTo(3, 0)]);
    // "é" and null, as UTF-8.
    expect(after.histogram('rekindle_checkpoint_size_bytes', 'task="import"')).toEqual([2, 16]);
    expect(after.histogram('rekindle_checkpoint_latency_seconds', 'task="import"')[0]).toBe(2);
  });

  it('are the same as those of health() and metrics()', async () => {
    const proc = observed(world, { proc: { checks: { database: () => 1 } } });
    const task = define(proc, () => {
      throw new Error('no');
    });
    for (const id of ['a', 'b', 'c']) await rejectionOf(world.until(task(id)));
    const [health, figures] = [await proc.recovery.health(), await proc.recovery.metrics()];
    const scrape = await proc.scrape();
    for (const [state, count] of Object.entries(figures.task_state_distribution))
      expect(scrape.value('rekindle_tasks', { state })).toBe(count);
    expect(scrape.value('rekindle_queue_tasks')).toBe(health.recovery_queue_depth);
    expect(scrape.value('rekindle_orphaned_tasks')).toBe(health.orphaned_task_count);
    expect(scrape.value('rekindle_stalled_tasks')).toBe(health.stuck_task_count);
    expect(scrape.value('rekindle_oldest_processing_seconds')).toBeNull();
    expect(scrape.value('rekindle_success_ratio_24h')).toBeNull();
    expect(scrape.value('rekindle_failed_documents')).toBe(figures.documents.total_failed_documents);
    expect(scrape.value('rekindle_document_retries_total')).toBe(figures.documents.recovery_attempts);
    expect(scrape.value('rekindle_check_up', { check: 'database' })).toBe(1);
  });

  it('tell of failed documents and their retries', async () => {
    const proc = observed(world);
    const state = { mended: false };
    const task = proc.recovery.withRecovery(
      (_ctx, path: string) => {
        if (!state.mended || path === 'bad') throw new Error('no');
      },
      { name: 'document', taskId: (path) => path, document: (path) => path },
    );
    for (const path of ['good', 'bad']) await rejectionOf(world.until(task(path)));
    expect((await proc.scrape()).value('rekindle_failed_documents')).toBe(2);
    state.mended = true;
    await rejectionOf(world.until(task('bad')));
    await world.until(task('good'));
    const scrape = await proc.scrape();
    expect(scrape.value('rekindle_failed_documents')).toBe(1);
    expect(scrape.value('rekindle_document_retries_total')).toBe(2);
    expect(scrape.value('rekindle_document_retries_succeeded_total')).toBe(1);
    expect(scrape.value('rekindle_document_retries_failed_total')).toBe(1);
  });

  it('count alerts by kind, and tasks that were given up', async () => {
    const dying = observed(world);
    await startQuietly(
      define(dying, () => new Promise(() => {})),
      't',
    );
    await die(world, dying);
    const proc = observed(world, { proc: { maxCrashes: 1 } });
    define(proc, () => 1);
    await swept(world, proc);
    // Those of thresholds are told with a look, which a scrape is, and counted with the next one.
    await proc.scrape();
    const scrape = await proc.scrape();
    expect(scrape.value('rekindle_dead_letters_total', { task: 'import' })).toBe(1);
    expect(scrape.value('rekindle_tasks', { state: 'dead_letter' })).toBe(1);
    const alerts = proc.heard.filter(({ event }) => event === 'alert');
    expect(scrape.value('rekindle_alerts_total', { kind: 'threshold_crossed' })).toBe(alerts.length);
    expect(alerts.length).toBeGreaterThan(0);
  });

  it('tell how long a checkpoint took, in seconds', async () => {
    const proc = observed(world);
    const task = define(proc, (ctx) => ctx.createCheckpoint({ name: 'c', progressPercent: 1 }));
    const write = proc.line.hold(({ batches }) =>
      batches.some(({ set = [] }) => set.some(({ fields }) => 'r:c' in fields)),
    );
    const done = task('t');
    await write.reached;
    await world.clock.advance(400);
    write.release();
    await world.until(done);
    const scrape = await proc.scrape();
    expect(scrape.histogram('rekindle_checkpoint_latency_seconds', 'task="import"')).toEqual([1, 0.4]);
  });

  it('are read once a scrape, by however many scrapers at a time', async () => {
    const proc = world.proc();
    const health = vi.fn(proc.recovery.health);
    const figures = vi.fn(proc.recovery.metrics);
    const { text } = prometheusMetrics({ ...proc.recovery, health, metrics: figures });
    const [one, two] = await world.until(Promise.all([text(), text()]));
    expect(one).toBe(two);
    expect([health.mock.calls.length, figures.mock.calls.length]).toEqual([1, 1]);
    await world.until(text());
    expect([health.mock.calls.length, figures.mock.calls.length]).toEqual([2, 2]);
  });
});

describe('a scrape while the storage is away', () => {
  it('succeeds, says so, and has no figure that could be taken for a zero', async () => {
    const proc = observed(world);
    const task = define(proc, () => 1);
    await world.until(task('a'));
    expect((await proc.scrape()).value('rekindle_queue_tasks')).toBe(0);
    proc.line.down = away();
    const scrape = await proc.scrape();
    expect(scrape.value('rekindle_up')).toBe(0);
    expect(scrape.value('rekindle_health', { status: 'unhealthy' })).toBe(1);
    expect(scrape.value('rekindle_check_up', { check: 'storage' })).toBe(0);
    const mine = scrape.text.split('\n').filter((line) => /^rekindle_(?!up|health|check_up)/.test(line));
    // What this process counted itself is still there.
    expect(mine).toContain('rekindle_tasks_completed_total{task="import"} 1');
    for (const line of mine) expect(line).toMatch(/^rekindle_\w+\{.*(task|kind)=/);
    proc.line.down = null;
    expect((await proc.scrape()).value('rekindle_queue_tasks')).toBe(0);
    expect((await proc.scrape()).value('rekindle_up')).toBe(1);
  });

  it('says so when only some of it could be read', async () => {
    const { recovery } = world.proc();
    const report = await recovery.health();
    const health = async () => ({ ...report, recovery_queue_depth: null });
    const { text } = prometheusMetrics({ ...recovery, health });
    const scrape = new Scrape(await world.until(text()));
    expect([scrape.value('rekindle_up'), scrape.value('rekindle_queue_tasks')]).toEqual([0, null]);
  });

  it('also when health and metrics reject', async () => {
    const proc = world.proc();
    const gone = (): Promise<never> => Promise.reject(new Error(CANARY));
    const { text } = prometheusMetrics({ ...proc.recovery, health: gone, metrics: gone });
    const scrape = new Scrape(await world.until(text()));
    expect(scrape.value('rekindle_up')).toBe(0);
    expect(scrape.value('rekindle_health', { status: 'unhealthy' })).toBeNull();
    expect(scrape.text).not.toContain(CANARY);
  });

  it('after a shutdown, too', async () => {
    const proc = observed(world);
    await world.until(proc.recovery.shutdown());
    expect((await proc.scrape()).names).toContain('rekindle_up');
  });
});

describe('names and labels', () => {
  it('follow the conventions', async () => {
    const { types, text } = await observed(world).scrape();
    expect(types.size).toBeGreaterThan(30);
    for (const [name, type] of types) {
      expect(name).toMatch(/^rekindle_[a-z\d_]+$/);
      expect([name, name.endsWith('_total')]).toEqual([name, type === 'COUNTER']);
      if (type === 'HISTOGRAM') expect(name).toMatch(/_(seconds|bytes)$/);
      expect(name).not.toMatch(/_(ms|percent|count)(_|$)/);
    }
    for (const line of text.split('\n').filter((each) => each.startsWith('# HELP')))
      expect(line).toMatch(/\.$/);
  });

  it('are all in the documents, with their types and labels', async () => {
    const { types } = await observed(world).scrape();
    const rows = readFileSync('docs/observability.md', 'utf8').matchAll(
      /^\| `(\w+)(?:\{[\w,]+\})?` +\| (\w+) /gm,
    );
    const told = [...rows].filter(([, name]) => name?.startsWith('rekindle_'));
    expect(new Map(told.map(([, name, type]) => [name, type?.toUpperCase()]))).toEqual(types);
  });

  it('tell no ids, payloads, messages or user contexts', async () => {
    const proc = observed(world, { proc: { checks: { mine: () => Promise.reject(new Error(CANARY)) } } });
    const task = proc.recovery.withRecovery(
      async (ctx, secret: string) => {
        await ctx.createCheckpoint({ name: secret, progressPercent: 1, recoverableData: secret });
        await ctx.step(secret, () => secret);
        throw Object.assign(new Error(secret), { code: secret });
      },
      {
        name: 'n',
        taskId: (secret) => secret,
        document: (secret) => secret,
        userContext: (secret) => ({ secret }),
      },
    );
    await rejectionOf(world.until(task(CANARY)));
    const { text } = await proc.scrape();
    expect(text).toContain('rekindle_tasks_failed_total{task="n"} 1');
    expect(text).not.toContain(CANARY);
  });

  it('are bounded: the two hundred and first task counts as another one', async () => {
    const proc = observed(world);
    for (let n = 0; n < 203; n += 1) await world.until(define(proc, () => 1, `task ${n}`)(`t${n}`));
    const scrape = await proc.scrape();
    expect(scrape.value('rekindle_tasks_completed_total', { task: 'task 199' })).toBe(1);
    expect(scrape.value('rekindle_tasks_completed_total', { task: 'task 200' })).toBeNull();
    expect(scrape.value('rekindle_tasks_completed_total', { task: 'other' })).toBe(3);
  });

  it('are escaped', async () => {
    const proc = observed(world);
    const name = 'odd "name" \\ here';
    await world.until(define(proc, () => 1, name)('t'));
    const { text } = await proc.scrape();
    expect(text).toContain('rekindle_tasks_completed_total{task="odd \\"name\\" \\\\ here"} 1');
  });
});
