import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { settled } from '../support/manual-clock.js';
import { alertsOf, LEASE_MS, trapUnhandledRejections, World } from './harness.js';
import type { Proc } from './harness.js';
import { die, startQuietly, watched } from './lab.js';

trapUnhandledRejections();

describe('a verify that never answers', () => {
  let world: World;
  beforeEach(() => void (world = new World()));
  afterEach(() => world.end());

  let runs = 0;
  const paying = ({ recovery }: Proc, maxSilenceMs?: number) =>
    recovery.withRecovery(
      (ctx) =>
        ctx.step(
          'pay',
          () => {
            runs += 1;
            return new Promise<string>(() => {});
          },
          { verify: () => new Promise(() => {}) },
        ),
      { name: 'n', taskId: () => 't', maxSilenceMs },
    );

  /** The second attempt of a step that is in doubt. */
  async function inDoubt(maxSilenceMs?: number) {
    runs = 0;
    const first = world.proc();
    await startQuietly(paying(first));
    await die(world, first);
    const proc = world.proc();
    const call = watched(paying(proc, maxSilenceMs)());
    await settled();
    return { ...proc, call };
  }

  it('does not keep a shutdown, and its step has not run again', async () => {
    const { recovery, call } = await inDoubt();
    await world.until(recovery.shutdown({ timeoutMs: 1_000 }));
    await settled();
    expect([call.state, runs]).toEqual(['rejected', 1]);
  });

  it('does not keep a cancellation', async () => {
    const { recovery, heard, call } = await inDoubt();
    await expect(recovery.tasks.cancel('t')).resolves.toBe('requested');
    await world.clock.advance(LEASE_MS);
    expect(call).toMatchObject({ state: 'rejected', value: { code: 'TASK_CANCELLED' } });
    expect([alertsOf(heard), runs]).toEqual([['signal_ignored'], 1]);
    await expect(recovery.tasks.get('t')).resolves.toMatchObject({ status: 'cancelled' });
  });

  it('is silence: maxSilenceMs ends it, and the step stays in doubt', async () => {
    const { recovery, call } = await inDoubt(2 * LEASE_MS);
    await world.clock.advance(4 * LEASE_MS);
    expect(call).toMatchObject({ state: 'rejected', value: { code: 'TASK_TIMED_OUT' } });
    await expect(recovery.tasks.get('t')).resolves.toMatchObject({ status: 'failed' });
    expect(runs).toBe(1);
    const asked: string[] = [];
    const fixed = world.proc();
    const task = fixed.recovery.withRecovery(
      (ctx) =>
        ctx.step('pay', () => 'paid again', {
          verify: ({ idempotencyKey }) => {
            asked.push(idempotencyKey);
            return { done: true, result: 'paid once' };
          },
        }),
      { name: 'n', taskId: () => 't' },
    );
    await expect(task()).resolves.toBe('paid once');
    expect(asked).toHaveLength(1);
  });
});
