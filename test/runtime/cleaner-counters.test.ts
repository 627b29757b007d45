/** Counters of which windows are made: removed when no window reaches them any more, and never before. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { keys } from '../../src/state/keys.js';
import { DAY_MS, HOUR_MS, insideOf } from './cleaner-lab.js';
import type { Inside } from './cleaner-lab.js';
import { trapUnhandledRejections } from './harness.js';
import { swept } from './lab.js';

trapUnhandledRejections();

describe('counters of recoveries', () => {
  let inside: Inside;
  beforeEach(() => void (inside = insideOf(3)));
  afterEach(() => inside.world.end());

  const hours = (): number =>
    inside.partitions.flatMap(({ records }) => [...records.keys()].filter((key) => key.startsWith('t:')))
      .length;
  const fails = (): never => {
    throw new Error('no');
  };
  const fail = async (id: string): Promise<void> => {
    const task = inside.proc().recovery.withRecovery(fails, { name: 'n', taskId: () => id });
    await task().catch(() => {});
  };
  const counters = async (options: Parameters<Inside['proc']>[0] = {}): Promise<number> =>
    (await inside.world.until(inside.proc(options).recovery.cleanup())).counters;

  /** The first ones look back for long, a part at a time. */
  const begun = async (): Promise<void> => {
    for (let rounds = 0; rounds < 3; rounds += 1) await counters();
  };

  it('are removed after 8 days, whole hours only, and windows never change by it', async () => {
    const { clock } = inside.world;
    const retention = { failedMs: null };
    const failures = async (): Promise<number> =>
      (await inside.proc().recovery.metrics()).recent_failure_count;
    clock.stepWall(HOUR_MS - (clock.wallMs() % HOUR_MS));
    await begun();
    for (const id of ['a', 'b', 'c']) await fail(id);
    const made = hours();
    expect(made).toBeGreaterThan(0);
    clock.stepWall(HOUR_MS);
    await fail('d');
    const before = await failures();
    expect(await counters({ retention })).toBe(0);
    expect(await failures()).toBe(before);
    expect(before).toBe(4);
    // The hour of the first ones ended a moment less than 8 days ago.
    clock.stepWall(8 * DAY_MS - 1);
    expect(await counters({ retention })).toBe(0);
    expect(hours()).toBe(made + 1);
    clock.stepWall(1);
    await fail('e');
    const last = await failures();
    expect(await counters({ retention })).toBe(made);
    expect(await failures()).toBe(last);
    expect(last).toBe(1);
    clock.stepWall(HOUR_MS);
    expect(await counters({ retention })).toBe(1);
    expect(hours()).toBe(1);
    // Totals are for ever.
    expect((await inside.proc().recovery.metrics()).recovery_jobs_failed).toBe(0);
  });

  it('can be kept for a shorter time, and are removed once by two at once', async () => {
    const { clock } = inside.world;
    await begun();
    await fail('a');
    clock.stepWall(2 * DAY_MS + HOUR_MS);
    const retention = { countersMs: 2 * DAY_MS };
    expect(await counters()).toBe(0);
    const both = await Promise.all([counters({ retention }), counters({ retention })]);
    expect(both.toSorted()).toEqual([0, 1]);
  });

  it('of a namespace that was left alone for long go over several clean-ups', async () => {
    const { clock } = inside.world;
    await fail('a');
    clock.stepWall(8 * DAY_MS + HOUR_MS);
    const retention = { failedMs: null };
    const removed = [
      await counters({ retention }),
      await counters({ retention }),
      await counters({ retention }),
    ];
    expect(removed.reduce((sum, each) => sum + each, 0)).toBe(1);
    expect(hours()).toBe(0);
    // From there on only what is new is looked at.
    await fail('b');
    clock.stepWall(400 * DAY_MS);
    let rounds = 0;
    for (; hours() > 0 && rounds < 50; rounds += 1) await counters({ retention });
    expect(rounds).toBeLessThan(25);
  });

  it('stay while something is in the way of knowing what was removed', async () => {
    await fail('a');
    inside.world.clock.stepWall(9 * DAY_MS);
    for (const partition of inside.partitions)
      partition.records.set(keys.removedCounters, new Map([['until', 'x']]));
    expect(await counters()).toBe(0);
    const [first] = (await inside.proc().recovery.tasks.list({ status: 'failed' })).tasks;
    expect(first).toMatchObject({ taskId: 'a' });
    await swept(inside.world, inside.proc());
  });
});
