import { describe, expect, it } from 'vitest';
import { createRecovery, memoryStorage } from '../../src/index.js';
import { ManualClock } from '../../src/testing/index.js';

describe('ManualClock', () => {
  it('fires each timer when it is due, in order, those that timers set as well', async () => {
    const clock = new ManualClock();
    const fired: [string, number][] = [];
    const at = (name: string) => () => void fired.push([name, clock.monotonicMs()]);
    clock.schedule(20, at('b'));
    clock.schedule(10, () => {
      at('a')();
      clock.schedule(5, at('set by a'));
    });
    clock.schedule(31, at('late'));
    clock.schedule(15, at('cancelled'))();
    await clock.advance(30);
    expect(fired).toEqual([
      ['a', 10],
      ['set by a', 15],
      ['b', 20],
    ]);
    expect([clock.monotonicMs(), clock.pendingTimers]).toEqual([30, 1]);
  });

  it('fires late what was due while the process was frozen', async () => {
    const clock = new ManualClock();
    const fired: number[] = [];
    clock.schedule(10, () => void fired.push(clock.monotonicMs()));
    await clock.freeze(1_000);
    expect(fired).toEqual([1_000]);
  });

  it('steps the wall clock alone', () => {
    const clock = new ManualClock(5_000);
    clock.stepWall(-1_000);
    expect([clock.wallMs(), clock.monotonicMs()]).toEqual([4_000, 0]);
  });

  it('runs a Recovery: a retry comes when its backoff has passed, not before', async () => {
    const clock = new ManualClock();
    const recovery = createRecovery({ storage: memoryStorage({ clock }), clock });
    let tries = 0;
    const task = recovery.withRecovery(
      async () => {
        tries += 1;
        if (tries === 1) throw new Error('not yet');
        return tries;
      },
      { name: 'twice', taskId: () => 't', maxAttempts: 2 },
    );
    const result = task();
    await clock.advance(1);
    expect(tries).toBe(1);
    await clock.advance(600_000);
    expect(await result).toBe(2);
    const closing = recovery.shutdown();
    await clock.advance(10_000);
    await closing;
  });
});
