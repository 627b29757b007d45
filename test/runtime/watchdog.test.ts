import { describe, expect, it } from 'vitest';
import type { RecoveryError } from '../../src/errors.js';
import type { Handler } from '../../src/runtime/engine.js';
import { Watchdog } from '../../src/runtime/watchdog.js';
import { ManualClock } from '../support/manual-clock.js';
import { engineWith, handlerWith } from './fakes.js';

async function watching(limits: Partial<Handler>, ranMs = 0) {
  const clock = new ManualClock();
  await clock.advance(5_000);
  const halts: { reason: RecoveryError; status: string; atMs: number }[] = [];
  const journal = { movedMs: clock.monotonicMs() };
  const startMs = clock.monotonicMs();
  const atMs = (): number => clock.monotonicMs() - startMs;
  const watched = {
    taskId: 'task-7',
    journal,
    halt: (reason: RecoveryError, status: 'failed') => void halts.push({ reason, status, atMs: atMs() }),
  };
  const dog = Watchdog.of(engineWith({ clock }), handlerWith(limits), watched, ranMs);
  const move = (): void => void (journal.movedMs = clock.monotonicMs());
  return { clock, halts, dog, move };
}

describe('a watchdog', () => {
  it('is not kept where there is nothing to watch', async () => {
    const { dog, clock } = await watching({});
    expect(dog).toBeNull();
    expect(clock.pendingTimers).toBe(0);
  });

  it('halts after maxDurationMs, progress or not, once', async () => {
    const { clock, halts, move } = await watching({ maxDurationMs: 1_000 });
    await clock.advance(999);
    move();
    expect(halts).toEqual([]);
    await clock.advance(1);
    expect(halts).toEqual([
      {
        reason: expect.objectContaining({
          code: 'TASK_TIMED_OUT',
          message: expect.stringMatching(/"task-7".*maxDurationMs of 1000 ms, over all its attempts/),
          details: { taskId: 'task-7', limit: 'maxDurationMs', limitMs: 1_000 },
        }),
        status: 'failed',
        atMs: 1_000,
      },
    ]);
    await clock.advance(60_000);
    expect(halts).toHaveLength(1);
    expect(clock.pendingTimers).toBe(0);
  });

  it.each([
    [0, 1_000],
    [400, 600],
    [999, 1],
    [1_000, 0],
    [7_000, 0],
  ])('counts what it ran before: %i ms', async (ranMs, leftMs) => {
    const { clock, halts, dog } = await watching({ maxDurationMs: 1_000 }, ranMs);
    expect(dog?.ranMs).toBe(ranMs);
    if (leftMs > 0) await clock.advance(leftMs - 1);
    expect(halts).toHaveLength(leftMs > 0 ? 0 : 1);
    await clock.advance(1);
    expect(halts.map(({ atMs }) => atMs)).toEqual([leftMs]);
  });

  it('tells how long it has run in all', async () => {
    const { clock, dog } = await watching({ maxSilenceMs: 9_000 }, 250);
    await clock.advance(1_000);
    expect(dog?.ranMs).toBe(1_250);
  });

  it('halts after maxSilenceMs without a move; each move begins it anew', async () => {
    const { clock, halts, move } = await watching({ maxSilenceMs: 1_000 }, 50_000);
    await clock.advance(600);
    move();
    await clock.advance(999);
    expect(halts).toEqual([]);
    move();
    await clock.advance(999);
    expect(halts).toEqual([]);
    await clock.advance(1);
    expect(halts).toEqual([
      {
        reason: expect.objectContaining({
          code: 'TASK_TIMED_OUT',
          message: expect.stringMatching(/"task-7".*no progress for its maxSilenceMs of 1000 ms/),
          details: { taskId: 'task-7', limit: 'maxSilenceMs', limitMs: 1_000 },
        }),
        status: 'failed',
        atMs: 2_599,
      },
    ]);
  });

  it.each([
    [1_000, 400, 'maxSilenceMs', 400],
    [400, 1_000, 'maxDurationMs', 400],
  ])('of %i ms in all and %i ms of silence, the first counts', async (duration, silence, limit, atMs) => {
    const { clock, halts } = await watching({ maxDurationMs: duration, maxSilenceMs: silence });
    await clock.advance(5_000);
    expect(halts.map((halt) => [halt.reason.details['limit'], halt.atMs])).toEqual([[limit, atMs]]);
  });

  it('that is stopped stays quiet', async () => {
    const { clock, halts, dog, move } = await watching({ maxDurationMs: 1_000, maxSilenceMs: 500 });
    await clock.advance(400);
    move();
    await clock.advance(200);
    dog?.stop();
    expect(clock.pendingTimers).toBe(0);
    dog?.stop();
    await clock.advance(5_000);
    expect(halts).toEqual([]);
  });

  it('halts at the end of a freeze', async () => {
    const { clock, halts } = await watching({ maxSilenceMs: 1_000 });
    await clock.freeze(30_000);
    expect(halts).toHaveLength(1);
  });
});
