import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { keys } from '../../src/state/keys.js';
import { settled } from '../support/manual-clock.js';
import {
  alertsOf,
  away,
  gate,
  LEASE_MS,
  rejectionOf,
  trapUnhandledRejections,
  untilAborted,
  World,
} from './harness.js';

trapUnhandledRejections();

describe.each([1, 3])('an attempt and its lease, on %i partitions', (partitions) => {
  let world: World;
  beforeEach(() => void (world = new World(partitions)));
  afterEach(() => world.end());

  it('LEASE_LOST: a zombie is told by its first write, its signal aborts, and nothing of it is kept', async () => {
    const wake = gate();
    const seen: unknown[] = [];
    const zombie = world.proc();
    const task = zombie.recovery.withRecovery(
      async (ctx) => {
        if (ctx.attempt > 1) return 'new owner';
        await wake.passed;
        seen.push(await rejectionOf(ctx.createCheckpoint({ name: 'late', progressPercent: 90 })));
        seen.push(ctx.signal.reason, await rejectionOf(ctx.updateProgress(91)));
        return 'zombie';
      },
      { name: 'n', taskId: () => 't' },
    );
    const { result } = await task.start();
    // It is frozen, so that it can't notice: another process finds its lease over on the storage's clock.
    world.clock.stepWall(LEASE_MS + 1);
    const { recovery } = world.proc();
    await expect(world.until(task.with(recovery)())).resolves.toBe('new owner');
    wake.open();
    const error = await rejectionOf(result);
    expect(error).toMatchObject({ code: 'LEASE_LOST', details: { taskId: 't' } });
    expect(seen).toEqual([error, error, error]);
    expect(await recovery.tasks.get('t')).toMatchObject({ status: 'completed', attempt: 2 });
    expect(await recovery.checkpoints.list('t')).toEqual([]);
    expect(zombie.heard.filter(({ event }) => event === 'lease_lost')).toHaveLength(1);
  });

  it('LEASE_UNCERTAIN: exactly a lease after the last renewal that was acknowledged; then it is taken back uncharged', async () => {
    const { recovery, line, heard } = world.proc();
    const task = recovery.withRecovery((ctx) => (ctx.attempt > 1 ? ctx.attempt : untilAborted(ctx)), {
      name: 'n',
      taskId: () => 't',
    });
    await recovery.runStartupRecovery();
    const { result } = await task.start();
    const ended = rejectionOf(result);
    line.down = away();
    await world.clock.advance(LEASE_MS - 1);
    expect(heard.map(({ event }) => event)).not.toContain('lease_lost');
    await world.clock.advance(1);
    expect(await ended).toMatchObject({ code: 'LEASE_UNCERTAIN', retryable: true });
    line.down = null;
    await world.clock.advance(5 * LEASE_MS);
    await expect(recovery.tasks.get('t')).resolves.toMatchObject({
      status: 'completed',
      attempt: 2,
      crashedAtMs: [],
    });
  });

  it('is stuck after stuckAfterMs without progress, and not any more when it moves', async () => {
    const { recovery, heard } = world.proc({ stuckAfterMs: 10_000 });
    const move = gate();
    const task = recovery.withRecovery(
      async (ctx) => {
        await move.passed;
        await ctx.updateProgress(5);
        await untilAborted(ctx);
      },
      { name: 'n', taskId: () => 't' },
    );
    const startedAtMs = world.clock.wallMs();
    const { result } = await task.start();
    const ended = rejectionOf(result);
    await world.clock.advance(9_000);
    expect(await recovery.tasks.get('t')).toMatchObject({ stuckSinceMs: null });
    await world.clock.advance(4_000);
    expect(await recovery.tasks.get('t')).toMatchObject({ status: 'processing', stuckSinceMs: startedAtMs });
    await world.clock.advance(20_000);
    expect(alertsOf(heard)).toEqual(['stuck']);
    move.open();
    await settled();
    await world.clock.advance(LEASE_MS);
    expect(await recovery.tasks.get('t')).toMatchObject({
      status: 'processing',
      stuckSinceMs: null,
      progressPercent: 5,
    });
    await world.until(recovery.shutdown());
    await ended;
  });

  it('keeps the lease alive for hours, one renewal a third of it', async () => {
    const { recovery, line } = world.proc();
    const task = recovery.withRecovery(untilAborted, { name: 'n', taskId: () => 't' });
    const { result } = await task.start();
    const ended = rejectionOf(result);
    const before = line.commits.length;
    await world.clock.advance(20 * LEASE_MS);
    const renewals = line.commits.slice(before).filter(({ guard }) => guard.key === keys.head('t'));
    expect(renewals.length).toBeGreaterThanOrEqual(40);
    expect(renewals.length).toBeLessThanOrEqual(60);
    expect((await recovery.tasks.get('t'))?.leaseUntilMs).toBeGreaterThan(world.clock.wallMs());
    await world.until(recovery.shutdown());
    await ended;
  });
});
