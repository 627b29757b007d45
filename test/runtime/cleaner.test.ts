/** Retention: what goes, when, and that nothing is left of it. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { CleanupReport, Retention } from '../../src/domain/operations.js';
import { indexes, keys } from '../../src/state/keys.js';
import { FaultyStorage } from '../../src/testing/faulty-storage.js';
import { settled } from '../support/manual-clock.js';
import { DAY_MS, HOUR_MS, insideOf, remainsOf } from './cleaner-lab.js';
import type { Inside } from './cleaner-lab.js';
import { away, rejectionOf, trapUnhandledRejections, untilAborted, World } from './harness.js';
import type { Call, Proc } from './harness.js';
import { startQuietly, swept, upTo } from './lab.js';

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
    await oneOf(inside.proc(), 'n', undefined);
    world.clock.stepWall(HOUR_MS);
    expect(await cleaned(inside.proc())).toMatchObject({ completed: 0 });
    world.clock.stepWall(7 * DAY_MS);
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

  /** So many old tasks. */
  async function many(count: number): Promise<string[]> {
    const ids = upTo(count).map((at) => `t${String(at).padStart(3, '0')}`);
    const task = inside
      .proc()
      .recovery.withRecovery((_ctx, _id: string) => 1, { name: 'n', taskId: (id) => id });
    await Promise.all(ids.map((id) => task(id)));
    world.clock.stepWall(8 * DAY_MS);
    return ids;
  }

  it('removes no more than it is told, and says that there is more', async () => {
    const ids = await many(130);
    const proc = inside.proc();
    for (const left of [70, 10]) {
      expect(await cleaned(proc, { limit: 60 })).toMatchObject({ completed: 60, more: true });
      expect(remains(...ids)).toHaveLength(left);
    }
    expect(await cleaned(proc, { limit: 60 })).toMatchObject({ completed: 10, more: false });
    expect(remains(...ids)).toEqual([]);
  });

  it('knows that there is more when somebody else took a part of what it was about to', async () => {
    const ids = await many(4);
    const proc = inside.proc();
    const isFirst = ({ kind, keys: of }: Call): boolean =>
      kind === 'commit' && of.includes(keys.head(ids[0] ?? ''));
    const held = proc.line.hold(isFirst);
    const report = proc.recovery.cleanup({ limit: ids.length - 1 });
    const inTime = Promise.race([held.reached, report]);
    await inTime;
    await inside.proc().recovery.tasks.remove(ids[0] ?? '');
    held.release();
    const { completed, more } = await world.until(report);
    if (partitions === 1) expect({ completed, more }).toEqual({ completed: 2, more: true });
    else expect(completed).toBeLessThanOrEqual(3);
  });

  it('gets past records that can not be read, whatever the limit', async () => {
    const ids = await many(8);
    const spoilt = [...inside.partitions].flatMap(({ records }) =>
      [...records].filter(([key]) => key.startsWith('h:') && ids.indexOf(key.slice(2)) < 5),
    );
    for (const [, record] of spoilt) record.set('status', 'odd');
    const proc = inside.proc();
    const gone: number[] = [];
    for (let rounds = 0; rounds < 9; rounds += 1) {
      const { completed, more } = await cleaned(proc, { limit: 1 });
      gone.push(completed);
      if (!more) break;
    }
    expect(gone).toEqual([1, 1, 1, 0]);
    expect(remains(...ids)).toEqual(ids.slice(0, 5));
  });

  it('leaves an entry alone that stands in an index where it does not belong', async () => {
    const proc = inside.proc();
    const task = proc.recovery.withRecovery(untilAborted, { name: 'n', taskId: () => 't' });
    await startQuietly(task);
    for (const partition of inside.partitions)
      if (partition.records.has('h:t')) partition.index(indexes.inState('completed', 'n')).put('t', 1);
    inside.partitions[0]?.index(indexes.inState('failed', 'n')).put('nobody', 1);
    const before = remainsOf(inside.partitions, 't');
    expect(await cleaned(proc)).toMatchObject(NOTHING);
    expect(remainsOf(inside.partitions, 't')).toEqual(before);
  });

  it('ends early when its signal aborts', async () => {
    const ids = await many(120);
    const abort = new AbortController();
    const onProgress = ({ removed }: { removed: number }): void => {
      if (removed === 5) abort.abort();
    };
    const report = await cleaned(inside.proc(), { signal: abort.signal, onProgress });
    expect(report.more).toBe(true);
    expect(report.completed).toBeLessThan(120);
    expect(remains(...ids)).toHaveLength(120 - report.completed);
    const aborted = await cleaned(inside.proc(), { signal: AbortSignal.abort() });
    expect(aborted).toMatchObject({ ...NOTHING, more: true });
  });

  it('tells how far it is, whatever the listener does', async () => {
    await many(7);
    const told: number[] = [];
    const onProgress = ({ removed }: { removed: number }): unknown => {
      told.push(removed);
      if (removed === 2) throw new Error('no');
      return Promise.reject(new Error('no'));
    };
    expect(await cleaned(inside.proc(), { onProgress })).toMatchObject({ completed: 7, more: false });
    expect(told).toEqual([1, 2, 3, 4, 5, 6, 7]);
  });

  it('ends with the shutdown', async () => {
    const ids = await many(120);
    const proc = inside.proc();
    const held = proc.line.hold(({ kind }) => kind === 'commit');
    const report = proc.recovery.cleanup();
    await held.reached;
    const shutdown = proc.recovery.shutdown({ timeoutMs: 1_000 });
    held.release();
    const { completed, more } = await world.until(report);
    await world.until(shutdown);
    expect(more).toBe(true);
    expect(completed).toBeLessThanOrEqual(50);
    expect(remains(...ids)).toHaveLength(120 - completed);
    expect(await rejectionOf(proc.recovery.cleanup())).toMatchObject({ code: 'SHUT_DOWN' });
  });

  it('refuses options that are none, and says when the storage is away', async () => {
    const { recovery, line } = inside.proc();
    for (const given of [{ limit: 0 }, { limit: 1.5 }, { signal: {} }, { onProgress: 1 }, { all: true }])
      expect(await rejectionOf(recovery.cleanup(Object(given)))).toMatchObject({ code: 'INVALID_OPTION' });
    line.down = away();
    expect(await rejectionOf(recovery.cleanup())).toMatchObject({ code: 'STORAGE_UNAVAILABLE' });
  });

  it('counts a removal whose answer got lost, and one that somebody else made not', async () => {
    const storage = new FaultyStorage({ clock: world.clock, partitions });
    const [one, two] = [world.proc({ over: storage }), world.proc({ over: storage })];
    const task = one.recovery.withRecovery((_ctx, _id: string) => 1, { name: 'n', taskId: (id) => id });
    await task('a');
    world.clock.stepWall(8 * DAY_MS);
    storage.failNext('lose-reply', 'commit');
    expect(await cleaned(one)).toMatchObject({ completed: 1 });
    await task('b');
    world.clock.stepWall(8 * DAY_MS);
    const held = two.line.hold(({ kind, keys: [key] }) => kind === 'commit' && key === keys.head('b'));
    const second = two.recovery.cleanup();
    await held.reached;
    expect(await cleaned(one)).toMatchObject({ completed: 1 });
    held.release();
    expect(await world.until(second)).toMatchObject({ completed: 0 });
  });

  it('two at once count each task once', async () => {
    const ids = await many(150);
    const pair = [inside.proc(), inside.proc()];
    const reports = await Promise.all(pair.map((proc) => cleaned(proc)));
    expect(reports.reduce((sum, { completed }) => sum + completed, 0)).toBe(150);
    expect(remains(...ids)).toEqual([]);
  });
});

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
