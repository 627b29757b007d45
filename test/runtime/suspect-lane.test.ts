import { describe, expect, it } from 'vitest';
import type { CrashEvidence } from '../../src/domain/task.js';
import type { Attempt } from '../../src/runtime/attempt.js';
import { deferred } from '../../src/runtime/deferred.js';
import { SuspectLane } from '../../src/runtime/suspects.js';
import { ManualClock, settled } from '../support/manual-clock.js';
import { crashAt } from '../recovery/snapshot.js';
import { engineWith, settingsWith } from './fakes.js';
import { away, trapUnhandledRejections } from './harness.js';

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
  const engine = engineWith({ clock, worker, closing: null, settings: settingsWith({ leaseMs: LEASE_MS }) });
  return { clock, told, state, lane: new SuspectLane(engine) };
}

/** A suspect's crashes: `null`: it has not been on trial yet. */
const crashed = (suspects: number | null): CrashEvidence[] => [crashAt(1), crashAt(2, { suspects })];

describe('turns', () => {
  /** Asks for turns, and notes who gets one. */
  function asking(lane: SuspectLane, ids: readonly string[], suspects: number | null = null) {
    const leave = new Map<string, () => void>();
    const refused: string[] = [];
    for (const id of ids) {
      lane.turn(id, crashed(suspects)).then(
        (out) => leave.set(id, out),
        () => refused.push(id),
      );
    }
    return { leave, refused, inside: () => [...leave.keys()] };
  }

  it('go to a half of those that come in a moment, once that many are written down', async () => {
    const { lane, told } = laneOf();
    const { leave, inside } = asking(lane, ['a', 'b', 'c', 'd', 'e']);
    expect([lane.has('a'), lane.has('x')]).toEqual([true, false]);
    expect([inside(), told]).toEqual([[], []]);
    await settled();
    expect([inside(), told]).toEqual([['a', 'b', 'c'], [3]]);
    expect([lane.has('a'), lane.has('d')]).toEqual([false, true]);
    leave.get('a')?.();
    leave.get('a')?.();
    leave.get('b')?.();
    await settled();
    expect([inside(), told]).toEqual([['a', 'b', 'c'], [3]]);
    leave.get('c')?.();
    await settled();
    expect([inside(), told]).toEqual([
      ['a', 'b', 'c', 'd'],
      [3, 'none', 1],
    ]);
    leave.get('d')?.();
    await settled();
    expect([inside(), told]).toEqual([
      ['a', 'b', 'c', 'd', 'e'],
      [3, 'none', 1, 'none', 1],
    ]);
  });

  it('never go to two trials at once, whenever they are asked for', async () => {
    const { lane, clock } = laneOf();
    const first = asking(lane, ['a']);
    await settled();
    const second = asking(lane, ['b', 'c'], 2);
    await clock.advance(60_000);
    expect([first.inside(), second.inside()]).toEqual([['a'], []]);
    first.leave.get('a')?.();
    await settled();
    expect(second.inside()).toEqual(['b']);
  });

  it('are refused when they could not be written down, and the next ones are not', async () => {
    const { lane, told, state } = laneOf();
    state.down = away();
    const { refused } = asking(lane, ['a', 'b']);
    await settled();
    // One after the other: each is refused, and nobody is left to wait.
    expect(refused).toEqual(['a', 'b']);
    state.down = null;
    asking(lane, ['c']);
    await settled();
    expect(told.filter((each) => each !== 'none')).toEqual([1]);
  });

  it('are refused in a shutdown', async () => {
    const { lane } = laneOf();
    const { refused, inside } = asking(lane, ['a', 'b']);
    lane.close(away());
    await settled();
    expect([refused, inside()]).toEqual([['a', 'b'], []]);
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
    lane.watch(attempt, ended.promise, lastRanMs, leave);
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
    expect(seen).toEqual(['cleared', 'left']);
  });

  it.each(['ends', 'fails'])('that %s leaves at once, and its timer with it', async (how) => {
    const { clock, seen, ended } = passing(0);
    if (how === 'ends') ended.resolve();
    else ended.reject(new Error('failed'));
    await settled();
    expect(seen).toEqual(['left']);
    expect(clock.pendingTimers).toBe(0);
  });

  it('that could not be cleared stays until it ends', async () => {
    const { clock, seen, state, ended } = passing(0);
    state.down = away();
    await clock.advance(10 * LEASE_MS);
    expect(seen).toEqual([]);
    ended.resolve();
    await settled();
    expect(seen).toEqual(['left']);
  });
});
