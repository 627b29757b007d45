/** Whose registry the metrics are in. */
import { Counter, Registry } from 'prom-client';
import type { OpenMetricsContentType } from 'prom-client';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { prometheusMetrics } from '../../src/integrations/prometheus/index.js';
import { trapUnhandledRejections, World } from '../runtime/harness.js';
import { define, observed, Scrape } from './scrape.js';

trapUnhandledRejections();

let world: World;
beforeEach(() => {
  world = new World();
});
afterEach(() => world.end());

describe('registries', () => {
  it('it has one of its own, which is that of no other', async () => {
    const [one, two] = [observed(world), observed(world)];
    expect(one.metrics.register).not.toBe(two.metrics.register);
    expect(one.metrics.contentType).toBe(Registry.PROMETHEUS_CONTENT_TYPE);
    await world.until(define(one, () => 1)('t'));
    expect((await two.scrape()).value('rekindle_tasks_completed_total', { task: 'import' })).toBeNull();
  });

  it('one that is given is used as it is, with what is in it', async () => {
    const register = new Registry();
    register.setDefaultLabels({ app: 'a' });
    new Counter({ name: 'mine_total', help: 'Mine.', registers: [register] }).inc(3);
    const proc = observed(world, { register });
    const scrape = await proc.scrape();
    expect(proc.metrics.register).toBe(register);
    expect(scrape.value('mine_total', { app: 'a' })).toBe(3);
    expect(scrape.value('rekindle_up', { app: 'a' })).toBe(1);
    // Scraped by whoever has it, it reads all the same.
    expect(await world.until(register.metrics())).toContain('rekindle_up{app="a"} 1');
  });

  it('in OpenMetrics, too', async () => {
    const register = new Registry<OpenMetricsContentType>();
    register.setContentType(Registry.OPENMETRICS_CONTENT_TYPE);
    const { metrics, scrape } = observed(world, { register });
    const { text } = await scrape();
    expect(metrics.contentType).toBe(Registry.OPENMETRICS_CONTENT_TYPE);
    expect(text).toContain('rekindle_recovery_jobs_created_total 0');
    expect(text.endsWith('# EOF\n')).toBe(true);
    metrics.stop();
    expect(register.getMetricsAsArray()).toEqual([]);
  });

  it('a second one under the same names is refused, and replaces the first one after `stop`', async () => {
    const register = new Registry();
    const first = observed(world, { register });
    expect(() => observed(world, { register })).toThrow(
      expect.objectContaining({ code: 'INVALID_OPTION', message: expect.stringContaining('stop()') }),
    );
    observed(world, { register, prefix: 'second_' });
    const task = define(first, () => 1);
    first.metrics.stop();
    first.metrics.stop();
    await world.until(task('t'));
    const third = observed(world, { register });
    expect((await third.scrape()).value('rekindle_tasks_completed_total', { task: 'import' })).toBeNull();
    expect((await third.scrape()).value('second_up')).toBe(1);
  });

  it('one that has a metric of any of the names is left as it was', async () => {
    const { recovery } = world.proc();
    for (const name of ['check_up', 'tasks_started_total', 'checkpoint_size_bytes']) {
      const register = new Registry();
      const mine = new Counter({ name: `rekindle_${name}`, help: 'Mine.', registers: [register] });
      const [off, unhook] = [vi.fn(), vi.fn()];
      const source = { ...recovery, on: () => off, instrument: () => unhook };
      expect(() => prometheusMetrics(source, { register })).toThrow(
        expect.objectContaining({ code: 'INVALID_OPTION', message: expect.stringContaining(name) }),
      );
      expect(register.getMetricsAsArray()).toEqual([mine]);
      expect([off.mock.calls.length, unhook.mock.calls.length]).toEqual([1, 1]);
    }
  });

  it.each([[undefined], [null], [{}], ['rekindle'], [{ health: () => null }]])(
    'refuses %j for a Recovery',
    (given) => {
      expect(() => Reflect.apply(prometheusMetrics, null, [given])).toThrow(
        expect.objectContaining({
          code: 'INVALID_OPTION',
          message: expect.stringContaining('needs a Recovery'),
        }),
      );
    },
  );

  it('figures that can be none are left out; the others are told', async () => {
    const { recovery } = world.proc();
    const metrics = prometheusMetrics({
      ...recovery,
      health: async () => ({ ...(await recovery.health()), last_recovery_run: Number.POSITIVE_INFINITY }),
      metrics: async () => ({
        ...(await recovery.metrics()),
        recovery_jobs_created: -5,
        recovery_jobs_succeeded: Number.NaN,
        recovery_jobs_failed: 3,
        task_state_distribution: {
          ...(await recovery.metrics()).task_state_distribution,
          failed: Number.NaN,
        },
      }),
    });
    const scrape = new Scrape(await world.until(metrics.text()));
    expect(scrape.value('rekindle_last_run_timestamp_seconds')).toBeNull();
    expect(scrape.value('rekindle_recovery_jobs_created_total')).toBeNull();
    expect(scrape.value('rekindle_recovery_jobs_succeeded_total')).toBeNull();
    expect(scrape.value('rekindle_recovery_jobs_failed_total')).toBe(3);
    expect(scrape.value('rekindle_tasks', { state: 'failed' })).toBeNull();
    expect(scrape.value('rekindle_tasks', { state: 'completed' })).toBe(0);
  });

  it('after `stop` nobody listens or watches any more', () => {
    const { recovery } = world.proc();
    const [off, unhook] = [vi.fn(), vi.fn()];
    const metrics = prometheusMetrics({ ...recovery, on: () => off, instrument: () => unhook });
    expect([off.mock.calls.length, unhook.mock.calls.length]).toEqual([0, 0]);
    metrics.stop();
    expect([off.mock.calls.length, unhook.mock.calls.length]).toEqual([1, 1]);
    expect(metrics.register.getMetricsAsArray()).toEqual([]);
  });

  it.each([
    [{ register: {} }],
    [{ prefix: '1' }],
    [{ prefix: 'a-b' }],
    [{ prefix: 7 }],
    [{ labels: [] }],
    [null],
  ])('refuses %j', (given) => {
    const { recovery } = world.proc();
    expect(() => Reflect.apply(prometheusMetrics, null, [recovery, given])).toThrow(
      expect.objectContaining({ code: 'INVALID_OPTION' }),
    );
  });
});
