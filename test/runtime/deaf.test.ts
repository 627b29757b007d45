import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { RecoveryContext } from '../../src/runtime/context.js';
import type { Proc } from './harness.js';
import { alertsOf, away, gate, LEASE_MS, trapUnhandledRejections, World } from './harness.js';
import { die, startQuietly, watched } from './lab.js';
import { byId, hang, minutes, statesOf, suspects } from './suspect-lab.js';

trapUnhandledRejections();

/** The storage is away for so long that all leases are lost. */
async function loseLeases(world: World, { line }: Proc): Promise<void> {
  line.down = away();
  await world.clock.advance(2 * LEASE_MS);
  line.down = null;
}

describe('a function that takes no notice of its signal, once its lease is lost', () => {
  let world: World;
  beforeEach(() => void (world = new World()));
  afterEach(() => world.end());

  it('is not waited for: the caller hears, and an alert tells so', async () => {
    const proc = world.proc();
    const call = watched(proc.recovery.withRecovery(hang, { name: 'n', taskId: () => 't' })());
    await world.clock.advance(100);
    proc.line.down = away();
    await world.clock.advance(LEASE_MS - 200);
    expect(call.state).toBe('open');
    await world.clock.advance(200 + LEASE_MS / 3);
    expect(call).toMatchObject({ state: 'rejected', value: { code: 'LEASE_UNCERTAIN' } });
    const alerts = proc.heard.filter(({ event }) => event === 'alert').map(({ details }) => details);
    expect(alerts.filter(({ kind }) => kind === 'signal_ignored')).toMatchObject([
      { task_id: 't', name: 'n' },
    ]);
  });

  it('its process takes the task back by itself, and ends it by its time limit', async () => {
    const proc = world.proc();
    const runs: number[] = [];
    const fn = (ctx: RecoveryContext): Promise<never> => {
      runs.push(ctx.attempt);
      return hang();
    };
    const task = proc.recovery.withRecovery(fn, { name: 'n', taskId: () => 't', maxDurationMs: 60_000 });
    await world.until(proc.recovery.runStartupRecovery());
    const call = watched(task());
    await world.clock.advance(1_000);
    await loseLeases(world, proc);
    await world.clock.advance(LEASE_MS);
    expect(runs).toEqual([1, 2]);
    expect(call.state).toBe('rejected');
    await minutes(world, 3);
    await expect(proc.recovery.tasks.get('t')).resolves.toMatchObject({
      status: 'failed',
      error: { code: 'TASK_TIMED_OUT' },
    });
    expect(runs).toEqual([1, 2]);
  });

  it('one that was told to end, and lost its lease then', async () => {
    const proc = world.proc();
    const elsewhere = world.proc();
    const task = proc.recovery.withRecovery(hang, { name: 'n', taskId: () => 't' });
    await world.until(proc.recovery.runStartupRecovery());
    const call = watched(task());
    await world.clock.advance(100);
    await world.until(elsewhere.recovery.tasks.cancel('t'));
    // The next renewal hears of it; the end can't be written.
    const heard = proc.line.hold(({ kind }) => kind === 'commit');
    await world.until(heard.reached);
    proc.line.down = null;
    heard.release();
    await world.clock.advance(1);
    await loseLeases(world, proc);
    await world.clock.advance(LEASE_MS);
    expect(call.state).toBe('rejected');
    await minutes(world, 3);
    await expect(elsewhere.recovery.tasks.get('t')).resolves.toMatchObject({ status: 'cancelled' });
  });

  it('one that is cancelled while its process cannot hear of it', async () => {
    const proc = world.proc();
    const elsewhere = world.proc();
    const task = proc.recovery.withRecovery(hang, { name: 'n', taskId: () => 't' });
    await world.until(proc.recovery.runStartupRecovery());
    const call = watched(task());
    await world.clock.advance(100);
    proc.line.down = away();
    await expect(world.until(elsewhere.recovery.tasks.cancel('t'))).resolves.toBe('requested');
    await world.clock.advance(2 * LEASE_MS);
    proc.line.down = null;
    expect(call.state).toBe('rejected');
    await minutes(world, 3);
    await expect(elsewhere.recovery.tasks.get('t')).resolves.toMatchObject({ status: 'cancelled' });
  });

  it('its slot is free for others', async () => {
    const old = world.proc();
    const before = old.recovery.withRecovery((_ctx, _id: string) => hang(), byId('n'));
    for (const id of ['deaf', 'fine']) await startQuietly(before, id);
    await die(world, old);
    const proc = world.proc({ concurrency: 1 });
    const runs: string[] = [];
    proc.recovery.withRecovery(
      (_ctx, id: string) => {
        runs.push(id);
        return id === 'deaf' ? hang() : id;
      },
      { ...byId('n'), maxDurationMs: 60_000 },
    );
    await world.until(proc.recovery.runStartupRecovery());
    await world.clock.advance(500);
    expect(runs).toEqual(['deaf']);
    await loseLeases(world, proc);
    await minutes(world, 5);
    await expect(statesOf(proc.recovery)).resolves.toEqual({ deaf: 'failed', fine: 'completed' });
  });

  it('as a suspect on trial, it lets the others have their turns', async () => {
    await suspects(world, ['a', 'b']);
    const proc = world.proc();
    const deaf = { yes: true };
    const suspect = proc.recovery.withRecovery(
      (_ctx, id: string) => (id === 'a' && deaf.yes ? hang() : id),
      byId('s'),
    );
    const first = watched(suspect('a'));
    await world.clock.advance(50);
    await loseLeases(world, proc);
    await world.clock.advance(LEASE_MS);
    expect(first.state).toBe('rejected');
    deaf.yes = false;
    await expect(world.until(suspect('b'))).resolves.toBe('b');
    await expect(world.until(suspect('a'))).resolves.toBe('a');
    expect(alertsOf(proc.heard)).toContain('signal_ignored');
  });

  it('one that ends within the grace is no news', async () => {
    const proc = world.proc();
    const last = gate();
    const task = proc.recovery.withRecovery(() => last.passed, { name: 'n', taskId: () => 't' });
    const call = watched(task());
    await world.clock.advance(100);
    proc.line.down = away();
    await world.clock.advance(LEASE_MS);
    last.open();
    await world.clock.advance(LEASE_MS);
    proc.line.down = null;
    expect(call).toMatchObject({ state: 'rejected', value: { code: 'LEASE_UNCERTAIN' } });
    expect(alertsOf(proc.heard)).not.toContain('signal_ignored');
  });
});
