import { describe, expect, it } from 'vitest';
import type { Attempt } from '../../src/runtime/attempt.js';
import { deferred } from '../../src/runtime/deferred.js';
import { SuspectLane } from '../../src/runtime/suspects.js';
import { ManualClock, settled } from '../support/manual-clock.js';
import { engineWith, settingsWith } from './fakes.js';
import { away, rejectionOf, trapUnhandledRejections } from './harness.js';

trapUnhandledRejections();

const LEASE_MS = 2_000;

function laneOf() {
  const clock = new ManualClock();
  const told: (number | 'none')[] = [];
  const state: { down: Error | null } = { down: null };
  const declareSuspects = async (count: number): Promise<void> => {
    if (state.down !== null) throw state.down;
    told.push(count);
  };
  const worker = { declareSuspects, noSuspects: () => void told.push('none') };
  const engine = engineWith({ clock, worker, settings: settingsWith({ leaseMs: LEASE_MS }) });
  return { clock, told, state, lane: new SuspectLane(engine) };
}

describe('how many suspects run', () => {
  it('is written down before they do, and again only for more', async () => {
    const { lane, told } = laneOf();
    await lane.expect(3);
    expect(told).toEqual([3]);
    const leave = [await lane.enter(), await lane.enter(), await lane.enter()];
    expect(told).toEqual([3]);
    leave.push(await lane.enter());
    expect(told).toEqual([3, 4]);
    for (const each of leave.slice(1)) each();
    expect(told).toEqual([3, 4]);
    leave[0]?.();
    expect(told).toEqual([3, 4, 'none']);
    await lane.enter();
    expect(told).toEqual([3, 4, 'none', 1]);
  });

  it('counts those that run already', async () => {
    const { lane, told } = laneOf();
    await lane.enter();
    await lane.expect(4);
    expect(told).toEqual([1, 5]);
  });

  it('one leaves once, whoever says so how often', async () => {
    const { lane, told } = laneOf();
    const [first] = [await lane.enter(), await lane.enter()];
    first();
    first();
    expect(told).toEqual([1, 2]);
  });

  it('what could not be written does not count: nobody enters, and it is tried again', async () => {
    const { lane, told, state } = laneOf();
    state.down = away();
    expect(await rejectionOf(lane.enter())).toBe(state.down);
    expect(await rejectionOf(lane.expect(2))).toBe(state.down);
    state.down = null;
    const leave = await lane.enter();
    expect(told).toEqual([1]);
    leave();
    expect(told).toEqual([1, 'none']);
  });
});

describe('a suspect that runs', () => {
  /** One that ran for so long before it crashed. */
  function passing(lastRanMs: number) {
    const { clock, lane, state } = laneOf();
    const seen: string[] = [];
    const ended = deferred<void>();
    const clear = async (): Promise<void> => {
      if (state.down !== null) throw state.down;
      seen.push('cleared');
    };
    const attempt: Attempt = Object.assign(Object.create(null), { clear });
    const leave = (): void => void seen.push('left');
    void lane.passed(attempt, ended.promise, lastRanMs, leave).then(() => seen.push('passed'));
    return { clock, state, seen, ended };
  }

  it.each([
    [0, LEASE_MS],
    [LEASE_MS / 2, LEASE_MS],
    [LEASE_MS, 2 * LEASE_MS],
    [60_000, 120_000],
  ])('that ran for %i ms before is cleared after %i ms, durably before it leaves', async (ranMs, afterMs) => {
    const { clock, seen } = passing(ranMs);
    await clock.advance(afterMs - 1);
    expect(seen).toEqual([]);
    await clock.advance(1);
    expect(seen).toEqual(['cleared', 'left', 'passed']);
  });

  it.each(['ends', 'fails'])('that %s leaves at once, and its timer with it', async (how) => {
    const { clock, seen, ended } = passing(0);
    if (how === 'ends') ended.resolve();
    else ended.reject(new Error('failed'));
    await settled();
    expect(seen).toEqual(['left', 'passed']);
    expect(clock.pendingTimers).toBe(0);
  });

  it('that could not be cleared stays until it ends', async () => {
    const { clock, seen, state, ended } = passing(0);
    state.down = away();
    await clock.advance(10 * LEASE_MS);
    expect(seen).toEqual([]);
    ended.resolve();
    await settled();
    expect(seen).toEqual(['left', 'passed']);
  });
});
