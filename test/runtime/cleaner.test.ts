/** Retention: what goes, when, and that nothing is left of it. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { CleanupReport, Retention } from '../../src/domain/operations.js';
import { settled } from '../support/manual-clock.js';
import { DAY_MS, HOUR_MS, insideOf, remainsOf } from './cleaner-lab.js';
import type { Inside } from './cleaner-lab.js';
import { trapUnhandledRejections, untilAborted, World } from './harness.js';
import type { Proc } from './harness.js';

trapUnhandledRejections();

const NOTHING = { completed: 0, cancelled: 0, failed: 0, dead_letter: 0, counters: 0, more: false };

describe.each([1, 3])('clean-up, on %i partitions', (partitions) => {
  let inside: Inside;
  let world: World;
  beforeEach(() => {
    inside = insideOf(partitions);
    ({ world } = inside);
  });
  afterEach(() => world.end());

  const cleaned = (
    { recovery }: Proc,
    ...given: Parameters<Proc['recovery']['cleanup']>
  ): Promise<CleanupReport> => world.until(recovery.cleanup(...given));
  const remains = (...ids: readonly string[]): string[] =>
    ids.filter((id) => remainsOf(inside.partitions, id).length > 0);

  /** One task of each end, by their ids. */
  async function ended(): Promise<void> {
    const { recovery } = inside.proc();
    const named = (name: string) => ({ name, taskId: () => name });
    const fails = (): never => {
      throw new Error('no');
    };
    await recovery.withRecovery(() => 1, named('completed'))();
    await recovery
      .withRecovery(fails, named('failed'))()
      .catch(() => {});
    const stopped = await recovery.withRecovery(untilAborted, named('cancelled')).start();
    stopped.result.catch(() => {});
    await recovery.tasks.cancel('cancelled');
    const decide = () => ({ action: 'dead_letter' as const, reason: 'because', evidence: {} });
    const dead = recovery.withRecovery(fails, {
      ...named('dead_letter'),
      strategies: [{ name: 's', decide }],
    });
    for (let calls = 0; calls < 2; calls += 1) await dead().catch(() => {});
    await settled();
    const { tasks } = await recovery.tasks.list();
    expect(tasks.map(({ status }) => status).toSorted()).toEqual(ENDS.toSorted());
  }

  const ENDS = ['completed', 'cancelled', 'failed', 'dead_letter'] as const;

  it('keeps each end for as long as is said', async () => {
    await ended();
    const proc = inside.proc();
    const times = [
      [7 * DAY_MS - 1, {}],
      [1, { completed: 1, cancelled: 1 }],
      [23 * DAY_MS - 1, {}],
      [1, { failed: 1, dead_letter: 1 }],
    ] as const;
    for (const [afterMs, gone] of times) {
      world.clock.stepWall(afterMs);
      expect(await cleaned(proc)).toMatchObject({ ...NOTHING, ...gone, counters: expect.anything() });
    }
    expect(remains(...ENDS)).toEqual([]);
  });

  it.each([
    ['completed', { completedMs: HOUR_MS }],
    ['cancelled', { cancelledMs: HOUR_MS }],
    ['failed', { failedMs: HOUR_MS }],
    ['dead_letter', { deadLetterMs: HOUR_MS }],
  ] as const)('%s has a time of its own', async (end, time) => {
    await ended();
    const never: Retention = { completedMs: null, cancelledMs: null, failedMs: null, deadLetterMs: null };
    const proc = inside.proc({ retention: { ...never, ...time } });
    world.clock.stepWall(HOUR_MS);
    expect(await cleaned(proc)).toMatchObject({ ...NOTHING, [end]: 1 });
    world.clock.stepWall(365 * DAY_MS);
    expect(await cleaned(proc)).toMatchObject({ ...NOTHING, counters: expect.anything() });
    expect(remains(...ENDS)).toEqual(ENDS.filter((each) => each !== end));
  });

  it('forgets at once where nothing is to be kept', async () => {
    await ended();
    const proc = inside.proc({ retention: { completedMs: 0 } });
    expect(await cleaned(proc)).toMatchObject({ ...NOTHING, completed: 1 });
  });

  it.each([
    [{ completedMs: -1 }, 'completedMs must be a whole number from 0 to 3155760000000, or null'],
    [{ completed: 1 }, 'has no "completed" (known: completedMs, '],
    [{ countersMs: DAY_MS }, 'countersMs must be a whole number from 172800000 to '],
    [{ countersMs: null }, 'countersMs must be a whole number'],
    [[], 'must be an object'],
  ])('%j is no retention', (given, problem) => {
    expect(() => world.proc(Object({ retention: given }))).toThrow(`"retention" ${problem}`);
  });

  const oneOf = async (proc: Proc, name: string, retentionMs: number | null | undefined): Promise<void> => {
    const task = proc.recovery.withRecovery((_ctx, _id: string) => 1, {
      name,
      taskId: (id) => id,
      ...(retentionMs === undefined ? {} : { retentionMs }),
    });
    await task(name);
  };

  it('goes by what a name says, in a process that has no such function, too', async () => {
    await oneOf(inside.proc(), 'hour', HOUR_MS);
    await oneOf(inside.proc(), 'ever', null);
    await oneOf(inside.proc(), 'plain', undefined);
    const other = inside.proc();
    world.clock.stepWall(HOUR_MS);
    expect(await cleaned(other)).toMatchObject({ ...NOTHING, completed: 1 });
    expect(remains('hour', 'ever', 'plain')).toEqual(['ever', 'plain']);
    world.clock.stepWall(1_000 * DAY_MS);
    expect(await cleaned(other)).toMatchObject({ completed: 1 });
    expect(remains('hour', 'ever', 'plain')).toEqual(['ever']);
  });

  it('goes by what the last worker said of a name, and by the own function first', async () => {
    await oneOf(inside.proc(), 'n', null);
    await oneOf(inside.proc(), 'n', HOUR_MS);
    const own = inside.proc();
    own.recovery.withRecovery(() => 1, { name: 'n', retentionMs: DAY_MS });
    world.clock.stepWall(HOUR_MS);
    expect(await cleaned(own)).toMatchObject(NOTHING);
    expect(await cleaned(inside.proc())).toMatchObject({ completed: 1 });
    // Code that says nothing of it, such as an old version in a deploy, changes nothing.
    await oneOf(inside.proc(), 'n', undefined);
    world.clock.stepWall(HOUR_MS);
    expect(await cleaned(inside.proc())).toMatchObject({ completed: 1 });
  });

  it('is known of documents that are reported by hand as well', async () => {
    const { recovery } = inside.proc();
    recovery.withRecovery((_ctx, path: string) => path, { name: 'read', retentionMs: HOUR_MS });
    await recovery.failures.record({ documentPath: 'doc', name: 'read', error: new Error('no') });
    world.clock.stepWall(HOUR_MS);
    expect(await cleaned(inside.proc())).toMatchObject({ failed: 1 });
    expect(remains('doc')).toEqual([]);
    expect(await recovery.failures.count()).toBe(0);
  });
});
