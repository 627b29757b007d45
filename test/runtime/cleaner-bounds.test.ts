/** A clean-up of many: its bounds, its listeners, its ends, and others beside it. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { CleanupReport } from '../../src/domain/operations.js';
import { indexes, keys } from '../../src/state/keys.js';
import { FaultyStorage } from '../../src/testing/faulty-storage.js';
import { DAY_MS, insideOf, remainsOf } from './cleaner-lab.js';
import type { Inside } from './cleaner-lab.js';
import { away, rejectionOf, trapUnhandledRejections, untilAborted, World } from './harness.js';
import type { Call, Proc } from './harness.js';
import { startQuietly, upTo } from './lab.js';

trapUnhandledRejections();

const NOTHING = { completed: 0, cancelled: 0, failed: 0, dead_letter: 0, counters: 0, more: false };

describe.each([1, 3])('a clean-up of many, on %i partitions', (partitions) => {
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
    if (partitions > 1) return;
    const ids = await many(3);
    const proc = inside.proc();
    // It looks at one first, then at two, of which it may have one.
    const isSecond = ({ kind, keys: of }: Call): boolean =>
      kind === 'commit' && of.includes(keys.head(ids[1] ?? ''));
    const held = proc.line.hold(isSecond);
    const report = proc.recovery.cleanup({ limit: 2 });
    await held.reached;
    await inside.proc().recovery.tasks.remove(ids[1] ?? '');
    held.release();
    expect(await world.until(report)).toMatchObject({ completed: 1, more: true });
    expect(remains(...ids)).toEqual(ids.slice(2));
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
