import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Recovery } from '../../src/runtime/recovery.js';
import { keys } from '../../src/state/keys.js';
import { settled } from '../support/manual-clock.js';
import {
  alertsOf,
  away,
  gate,
  LEASE_MS,
  rejectionOf,
  SWEEP_MS,
  trapUnhandledRejections,
  untilAborted,
  World,
} from './harness.js';
import type { Proc } from './harness.js';

trapUnhandledRejections();

describe.each([1, 3])('the sweeper, on %i partitions', (partitions) => {
  let world: World;
  beforeEach(() => void (world = new World(partitions)));
  afterEach(() => world.end());

  const define = (recovery: Recovery) =>
    recovery.withRecovery((ctx, id: string) => (ctx.attempt > 1 ? id : untilAborted(ctx)), {
      name: 'n',
      taskId: (id) => id,
    });

  const startIn = async ({ recovery }: Proc, id: string): Promise<void> => {
    (await define(recovery).start(id)).result.catch(() => {});
    await settled();
  };

  const statusOf = async (id: string): Promise<string | undefined> =>
    (await world.proc().recovery.tasks.get(id))?.status;

  async function watching(options: Parameters<World['proc']>[0] = {}): Promise<Proc> {
    const proc = world.proc(options);
    define(proc.recovery);
    await (
      await proc.recovery.runStartupRecovery()
    ).finished;
    return proc;
  }

  it('finds at each interval what died since', async () => {
    const watcher = await watching();
    await world.clock.advance(LEASE_MS * 2);
    for (const id of ['a', 'b']) {
      const victim = world.proc();
      await startIn(victim, id);
      victim.crash();
      await world.clock.advance(SWEEP_MS + LEASE_MS);
      expect(await statusOf(id)).toBe('completed');
    }
    expect(watcher.heard.filter(({ event }) => event === 'recovery_completed')).toHaveLength(2);
  });

  it.each([
    ['finds what dies as soon as its lease is over, however long the interval', 4, 'completed'],
    // About 16 of them look, and this one does not: its random number is 0.5.
    ['leaves that to others where there are many', 40, 'processing'],
  ])('%s', async (_, others, status) => {
    for (let other = 0; other < others; other += 1) await world.proc().recovery.recover();
    const victim = world.proc();
    await startIn(victim, 'a');
    await watching({ sweepIntervalMs: 100 * LEASE_MS });
    await world.clock.advance(7.5 * LEASE_MS);
    expect(await statusOf('a')).toBe('processing');
    const { leaseUntilMs = 0 } = (await world.proc().recovery.tasks.get('a')) ?? {};
    victim.crash();
    await world.clock.advance((leaseUntilMs ?? 0) - world.clock.wallMs() - 1);
    expect(await statusOf('a')).toBe('processing');
    await world.clock.advance(200);
    expect(await statusOf('a')).toBe(status);
  });

  it.each([
    ['a moment after it', (leaseEndMs: number) => leaseEndMs - 20, false],
    ['while it goes on', (leaseEndMs: number) => leaseEndMs - 5, true],
  ])('finds what dies before a look, and whose lease is over %s', async (_, lookAtMs, slow) => {
    const victim = world.proc();
    await startIn(victim, 'a');
    victim.crash();
    const { leaseUntilMs = 0 } = (await world.proc().recovery.tasks.get('a')) ?? {};
    await world.clock.advance(lookAtMs(leaseUntilMs ?? 0) - world.clock.wallMs());
    const watcher = world.proc({ sweepIntervalMs: 100 * LEASE_MS });
    define(watcher.recovery);
    // Leases have been looked at by then.
    const names = slow
      ? watcher.line.hold(({ kind, keys: [index] }) => kind === 'range' && index === 'names')
      : null;
    const started = watcher.recovery.runStartupRecovery();
    if (names !== null) {
      await names.reached;
      await world.clock.advance(10);
      names.release();
    }
    await (
      await started
    ).finished;
    expect(await statusOf('a')).toBe('processing');
    await world.clock.advance(250);
    expect(await statusOf('a')).toBe('completed');
  });

  it.each([
    ['', false],
    [', and a wake-up does not put that off', true],
  ])('takes early what an old process gives back right after the first look%s', async (_, woken) => {
    const old = world.proc();
    await startIn(old, 'a');
    const { recovery } = await watching();
    if (woken) recovery.withRecovery(() => null, { name: 'later' });
    await world.clock.advance(LEASE_MS / 10);
    await world.until(old.recovery.shutdown({ timeoutMs: 100 }));
    await world.clock.advance(LEASE_MS / 4);
    expect(await statusOf('a')).toBe('completed');
  });

  it('nothing is swept before runStartupRecovery', async () => {
    const victim = world.proc();
    await startIn(victim, 'a');
    victim.crash();
    const idle = world.proc();
    define(idle.recovery);
    await world.clock.advance(3 * SWEEP_MS);
    expect(await statusOf('a')).toBe('processing');
    expect(idle.line.commits).toEqual([]);
  });

  it('judges no lease for a whole lease after it was frozen', async () => {
    const victim = world.proc();
    const watcher = await watching();
    await world.clock.advance(LEASE_MS * 2);
    await startIn(victim, 'a');
    // All processes are frozen, as in a suspended machine: the lease of "a" looks over when they wake.
    await world.clock.freeze(SWEEP_MS + LEASE_MS);
    expect(alertsOf(watcher.heard)).toContain('clock_jump');
    expect(watcher.heard.map(({ event }) => event)).not.toContain('recovery_started');
    await world.clock.advance(LEASE_MS / 2);
    expect(watcher.heard.map(({ event }) => event)).not.toContain('recovery_started');
  });

  it("does not believe a storage's clock that jumped: a renewal comes first, and the task stays where it is", async () => {
    const owner = world.proc();
    const watcher = await watching();
    await world.clock.advance(LEASE_MS * 2);
    await startIn(owner, 'a');
    world.clock.stepWall(10 * LEASE_MS);
    const { finished } = await watcher.recovery.recover();
    await expect(finished).resolves.toMatchObject({ discovered: 0 });
    expect(alertsOf(watcher.heard)).toEqual(['clock_jump']);
    await world.clock.advance(2 * SWEEP_MS);
    await expect(watcher.recovery.tasks.get('a')).resolves.toMatchObject({
      status: 'processing',
      attempt: 1,
    });
    owner.crash();
    await world.clock.advance(SWEEP_MS + 2 * LEASE_MS);
    expect(await statusOf('a')).toBe('completed');
  });

  it('leaves a lease that is renewed while it reads', async () => {
    const owner = world.proc();
    await startIn(owner, 'a');
    world.clock.stepWall(LEASE_MS + 1);
    const { recovery, line } = world.proc();
    define(recovery);
    const held = line.hold(({ kind, keys: read }) => kind === 'read' && read.includes(keys.head('a')));
    const recovering = recovery.recover();
    await held.reached;
    await world.clock.advance(LEASE_MS / 2);
    held.release();
    const { finished } = await recovering;
    await expect(finished).resolves.toMatchObject({ discovered: 0 });
    await expect(recovery.tasks.get('a')).resolves.toMatchObject({ status: 'processing', attempt: 1 });
  });

  it('a sweep that fails says so, and the next one makes up for it', async () => {
    const watcher = await watching();
    await world.clock.advance(LEASE_MS * 2);
    const victim = world.proc();
    await startIn(victim, 'a');
    victim.crash();
    watcher.line.down = away();
    await world.clock.advance(SWEEP_MS);
    expect(alertsOf(watcher.heard)).toContain('sweep_failed');
    watcher.line.down = null;
    await world.clock.advance(3 * LEASE_MS);
    expect(await statusOf('a')).toBe('completed');
  });

  it('does not adopt a task that this process takes back while a sweep is reading', async () => {
    const proc = await watching();
    const release = gate();
    const task = proc.recovery.withRecovery(
      async (ctx) => {
        if (ctx.attempt === 1) return untilAborted(ctx);
        await release.passed;
        return ctx.attempt;
      },
      { name: 'own', taskId: () => 't' },
    );
    // It loses the task, not its life.
    const { result } = await task.start();
    const lost = rejectionOf(result);
    proc.line.down = away();
    await world.clock.advance(LEASE_MS);
    await lost;
    proc.line.down = null;
    const held = proc.line.hold(({ kind, keys: read }) => kind === 'read' && read.includes(keys.head('t')));
    await Promise.race([held.reached, world.clock.advance(SWEEP_MS)]);
    const call = task();
    await settled();
    held.release();
    await world.clock.advance(LEASE_MS);
    release.open();
    await expect(world.until(call)).resolves.toBe(2);
    await expect(proc.recovery.tasks.get('t')).resolves.toMatchObject({ status: 'completed', attempt: 2 });
  });

  it('a task waits for a free slot, and does not lose its place', async () => {
    const victim = world.proc();
    const task = define(victim.recovery);
    for (const id of ['a', 'b', 'c']) (await task.start(id)).result.catch(() => {});
    victim.crash();
    await world.clock.advance(LEASE_MS + 1);
    const turn = [gate(), gate(), gate()];
    let running = 0;
    const { recovery } = world.proc({ concurrency: 1 });
    recovery.withRecovery(
      async (_ctx, _id: string) => {
        const mine = running;
        running += 1;
        await turn[mine]?.passed;
      },
      { name: 'n', taskId: (id) => id },
    );
    const run = await recovery.runStartupRecovery();
    for (const [index, gateOf] of turn.entries()) {
      await world.clock.advance(SWEEP_MS);
      expect(running).toBe(index + 1);
      gateOf.open();
    }
    await expect(world.until(run.finished)).resolves.toMatchObject({ recovered: 3 });
  });
});
