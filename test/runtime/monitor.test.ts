/** The last phase of start: looks again and again, cleans up, and is in nobody's way. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { keys } from '../../src/state/keys.js';
import { recoveryOf } from '../../src/runtime/create-recovery.js';
import { systemProcessTable } from '../../src/runtime/identity.js';
import { memoryStorage } from '../../src/storage/memory.js';
import { ManualClock, settled } from '../support/manual-clock.js';
import { alertsOf, away, trapUnhandledRejections, untilAborted, World } from './harness.js';
import type { Proc, ProcOptions } from './harness.js';
import { startQuietly, watched } from './lab.js';

trapUnhandledRejections();

const EVERY_MS = 10_000;

describe('the monitor', () => {
  let world: World;
  beforeEach(() => void (world = new World()));
  afterEach(() => world.end());

  /** A process whose looks are counted: each reads once when recovery ran last. */
  function looking(options: ProcOptions = {}): Proc & { readonly looks: () => number } {
    const proc = world.proc({ monitorIntervalMs: EVERY_MS, ...options });
    const { storage } = proc.line;
    const { read } = storage;
    let looks = 0;
    storage.read = (partition, wanted, ...rest) => {
      if (wanted.includes(keys.recoveryRun)) looks += 1;
      return read(partition, wanted, ...rest);
    };
    return { ...proc, looks: () => looks };
  }

  const started = async (proc: Proc): Promise<void> =>
    void (await world.until(proc.recovery.runStartupRecovery()));

  it('starts with start-up recovery, not before, and looks once an interval however often that is called', async () => {
    const proc = looking();
    await proc.recovery.recover();
    await world.clock.advance(3 * EVERY_MS);
    expect(proc.looks()).toBe(0);
    await started(proc);
    await started(proc);
    await world.clock.advance(EVERY_MS - 1);
    expect(proc.looks()).toBe(0);
    await world.clock.advance(1);
    expect(proc.looks()).toBe(1);
    await world.clock.advance(5 * EVERY_MS);
    expect(proc.looks()).toBe(6);
  });

  it('starts as well where start goes on without the storage', async () => {
    const proc = looking();
    proc.line.down = away();
    await world.until(proc.recovery.runStartupRecovery({ onUnavailable: 'continue' }));
    proc.line.down = null;
    await world.clock.advance(2 * EVERY_MS);
    expect(proc.looks()).toBeGreaterThan(0);
  });

  it('varies its interval by a tenth', async () => {
    for (const [fraction, dueMs] of [
      [0, EVERY_MS * 0.9],
      [0.999_999, EVERY_MS * 1.1],
    ] as const) {
      let nonces = 0;
      const random = { nonce: () => `f${fraction}${(nonces += 1)}`, fraction: () => fraction };
      const proc = looking({ random });
      await started(proc);
      await world.clock.advance(dueMs - 10);
      expect(proc.looks()).toBe(0);
      await world.clock.advance(10);
      expect(proc.looks()).toBe(1);
    }
  });

  it('does not begin a look while one is under way', async () => {
    const proc = looking();
    await started(proc);
    const held = proc.line.hold(({ keys: wanted }) => wanted.includes(keys.recoveryRun));
    await world.clock.advance(5 * EVERY_MS);
    expect(proc.looks()).toBe(1);
    held.release();
    await settled();
    await world.clock.advance(EVERY_MS);
    expect(proc.looks()).toBe(2);
  });

  it('goes on after an error', async () => {
    const proc = looking({ thresholds: { processing: 0 }, leaseMs: 3 * EVERY_MS });
    await started(proc);
    await startQuietly(proc.recovery.withRecovery(untilAborted, { name: 'n', taskId: () => 't' }));
    proc.line.down = away();
    await world.clock.advance(EVERY_MS);
    expect(alertsOf(proc.heard)).not.toContain('threshold_crossed');
    proc.line.down = null;
    await world.clock.advance(EVERY_MS);
    expect(alertsOf(proc.heard)).toContain('threshold_crossed');
  });

  it('cleans up what is out of its retention', async () => {
    const proc = looking({ retention: { completedMs: EVERY_MS } });
    await started(proc);
    await proc.recovery.withRecovery(() => 1, { name: 'n', taskId: () => 't' })();
    await world.clock.advance(EVERY_MS - 1);
    expect(await proc.recovery.tasks.get('t')).toMatchObject({ status: 'completed' });
    await world.clock.advance(EVERY_MS + 1);
    expect(await proc.recovery.tasks.get('t')).toBeNull();
  });

  it('removes nothing by a clock that has jumped, and says so', async () => {
    const proc = looking({ retention: { completedMs: 30 * 24 * 3_600_000 } });
    await proc.recovery.withRecovery(() => 1, { name: 'n', taskId: () => 't' })();
    await started(proc);
    await world.clock.advance(EVERY_MS);
    world.clock.stepWall(40 * 24 * 3_600_000);
    await world.clock.advance(EVERY_MS);
    world.clock.stepWall(-40 * 24 * 3_600_000);
    await world.clock.advance(2 * EVERY_MS);
    expect(await proc.recovery.tasks.get('t')).not.toBeNull();
    expect(alertsOf(proc.heard)).toContain('clock_jump');
    // It believes it in the end.
    world.clock.stepWall(40 * 24 * 3_600_000);
    await world.clock.advance(15 * EVERY_MS);
    expect(await proc.recovery.tasks.get('t')).toBeNull();
  });

  it('stops with the shutdown, which waits for what is under way', async () => {
    const proc = looking();
    await started(proc);
    const held = proc.line.hold(({ keys: wanted }) => wanted.includes(keys.recoveryRun));
    await world.clock.advance(EVERY_MS);
    await held.reached;
    const ended = watched(proc.recovery.shutdown({ timeoutMs: 5_000 }));
    await world.clock.advance(1_000);
    expect(ended.state).toBe('open');
    held.release();
    await settled();
    expect(ended.state).toBe('resolved');
    await world.clock.advance(10 * EVERY_MS);
    expect(proc.looks()).toBe(1);
    expect(world.clock.pendingTimers).toBe(0);
  });

  it('is waited for no longer than the shutdown may take', async () => {
    const proc = looking();
    await started(proc);
    const held = proc.line.hold(({ keys: wanted }) => wanted.includes(keys.recoveryRun));
    await world.clock.advance(EVERY_MS);
    const ended = watched(proc.recovery.shutdown({ timeoutMs: 5_000 }));
    await world.clock.advance(5_000);
    expect(ended.state).toBe('resolved');
    held.release();
    await world.clock.advance(10 * EVERY_MS);
    expect(proc.looks()).toBe(1);
  });

  it('does not start any more in a process that is shut down', async () => {
    const proc = looking();
    const held = proc.line.hold(({ kind }) => kind === 'range');
    const start = watched(proc.recovery.runStartupRecovery());
    await held.reached;
    await world.until(proc.recovery.shutdown({ timeoutMs: 100 }));
    held.release();
    await world.clock.advance(10 * EVERY_MS);
    expect(start.state).not.toBe('open');
    expect(proc.looks()).toBe(0);
  });

  it('stops when another worker takes the slot', async () => {
    const proc = looking({ slot: 's' });
    await started(proc);
    await world.proc({ slot: 's' }).recovery.recover();
    await world.clock.advance(10 * EVERY_MS);
    expect(proc.looks()).toBe(0);
  });
});

it('the monitor does not keep the process alive', async () => {
  const clock = new ManualClock();
  const kept: (boolean | undefined)[] = [];
  const recovery = recoveryOf(
    {
      storage: memoryStorage({ clock }),
      monitorIntervalMs: 54_321,
      random: { nonce: () => 'nonce', fraction: () => 0.5 },
      clock: {
        wallMs: () => clock.wallMs(),
        monotonicMs: () => clock.monotonicMs(),
        schedule: (delayMs, fn, ...rest: readonly (boolean | undefined)[]) => {
          if (delayMs === 54_321) kept.push(...(rest.length === 0 ? [false] : rest));
          return clock.schedule(delayMs, fn);
        },
        defer: (fn) => clock.defer(fn),
      },
    },
    systemProcessTable,
  );
  await recovery.runStartupRecovery();
  await clock.advance(3 * 54_321);
  expect(kept).toEqual([false, false, false, false]);
  const ended = recovery.shutdown({ timeoutMs: 0 });
  await clock.advance(1);
  await ended;
});
