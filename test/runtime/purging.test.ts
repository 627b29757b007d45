/** Removal in pages: whoever dies in between, and whoever else wants the task at the same time. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { RecoveryContext } from '../../src/runtime/context.js';
import { keys } from '../../src/state/keys.js';
import { FaultyStorage } from '../../src/testing/faulty-storage.js';
import { settled } from '../support/manual-clock.js';
import { busy, DAY_MS, insideOf, remainsOf } from './cleaner-lab.js';
import type { Inside } from './cleaner-lab.js';
import { broken } from './documents-lab.js';
import { rejectionOf, trapUnhandledRejections, World } from './harness.js';
import type { Proc } from './harness.js';

trapUnhandledRejections();

const ID = 't';
const OLD_MS = 31 * DAY_MS;

/** A document with steps, items and checkpoints that fails at the end, or not. */
function task(
  { recovery }: Proc,
  size: Parameters<typeof busy>[1],
  work: (ctx: RecoveryContext) => unknown = broken,
) {
  const ran: { attempt: number; fresh: boolean }[] = [];
  const call = recovery.withRecovery(
    async (ctx: RecoveryContext, _long: string) => {
      let fresh = false;
      await ctx.step('first', async () => void (fresh = true));
      ran.push({ attempt: ctx.attempt, fresh });
      await busy(ctx, size);
      return work(ctx);
    },
    { name: 'n', taskId: () => ID, document: () => '/in/t' },
  );
  return { ran, call: () => call('x'.repeat(5_000)) };
}

const LARGE = { steps: 1_200, items: 3_000, checkpoints: 7 };

describe('a task of 1,200 steps and a large map', () => {
  const world = new World();
  const storage = new FaultyStorage({ clock: world.clock });
  const proc = (): Proc => world.proc({ over: storage });
  let whole: ReturnType<FaultyStorage['snapshot']> | null = null;

  beforeEach(async () => {
    if (whole === null) {
      await task(proc(), LARGE)
        .call()
        .catch(() => {});
      world.clock.stepWall(OLD_MS);
      whole = storage.snapshot();
    }
    storage.rollback(whole);
  });
  afterEach(() => world.end());

  /** What the storage has under keys of the task; asked for key by key, of those that it can have. */
  async function left(): Promise<number> {
    const wanted = [
      ...Array.from({ length: LARGE.steps }, (_, at) => keys.step(ID, `step-${at}`)),
      ...Array.from({ length: 64 }, (_, bucket) => keys.ledger(ID, 'map', bucket)),
      ...Array.from({ length: 5 }, (_, seq) => keys.checkpoint(ID, seq)),
      keys.step(ID, 'first'),
      keys.head(ID),
      keys.input(ID),
      keys.result(ID),
      keys.failure(ID),
      keys.control(ID),
    ];
    const { records } = await storage.read('rekindle:0', wanted);
    return records.filter((record) => record !== null).length;
  }

  /** A clean-up whose process dies with the answer to this many of its commits. */
  async function killedAfter(pages: number): Promise<void> {
    const killed = proc();
    const { storage: line } = killed.line;
    const { commit } = line;
    let commits = 0;
    line.commit = async (...call) => {
      const reply = await commit(...call);
      commits += 1;
      if (commits < pages) return reply;
      killed.crash();
      return new Promise(() => {});
    };
    void killed.recovery.cleanup();
    await world.clock.advance(1_000);
    expect(killed.line.dead).toBe(true);
  }

  it('goes in pages of bounded size, and nothing of it is left', async () => {
    const cleaner = proc();
    const before = await left();
    expect(before).toBeGreaterThan(600);
    const report = await world.until(cleaner.recovery.cleanup());
    expect(report).toMatchObject({ failed: 1, more: false });
    expect(await left()).toBe(0);
    const pages = cleaner.line.commits.filter(({ guard }) => guard.key === keys.head(ID));
    expect(pages.length).toBeGreaterThanOrEqual(3);
    for (const { remove = [] } of pages) expect(remove.length).toBeLessThanOrEqual(504);
    expect(pages.map(({ guard }) => guard.next === null)).toEqual(
      pages.map((_, at) => at === pages.length - 1),
    );
    const removed = pages.flatMap(({ remove = [] }) => remove);
    expect(new Set(removed).size).toBe(removed.length);
  });

  describe.each([1, 2])('whose removal was killed after page %i', (pages) => {
    beforeEach(() => killedAfter(pages));

    it('is not there for anybody', async () => {
      expect(await left()).toBeGreaterThan(0);
      const { recovery } = proc();
      const { tasks, failures, checkpoints, documents } = recovery;
      task({ ...proc(), recovery }, LARGE);
      const gone = { code: 'TASK_NOT_FOUND' };
      expect(await tasks.get(ID)).toBeNull();
      expect((await tasks.list()).tasks).toEqual([]);
      expect(await rejectionOf(tasks.requeue(ID))).toMatchObject(gone);
      expect(await rejectionOf(failures.requeue(ID))).toMatchObject(gone);
      expect(await rejectionOf(tasks.cancel(ID))).toMatchObject(gone);
      expect(await failures.remove(ID)).toBe(false);
      expect(await failures.get(ID)).toBeNull();
      expect((await failures.list()).documents).toEqual([]);
      expect(await checkpoints.list(ID)).toEqual([]);
      expect(await checkpoints.latest(ID)).toBeNull();
      expect(await tasks.findDuplicates('n')).toMatchObject({
        tasks: 0,
        items: 0,
        miscounted: [],
        documents: 0,
      });
      expect(await world.until(documents.recover())).toMatchObject({ attempted: 0, expired: 0 });
      expect(await world.until(documents.recover({ taskIds: [ID] }))).toMatchObject({ attempted: 0 });
      const run = await world.until(recovery.recover());
      expect(await world.until(run.finished)).toMatchObject({ recovered: 0, failed: 0 });
      // None of them has changed anything.
      expect(await world.until(proc().recovery.cleanup())).toMatchObject({ failed: 1 });
      expect(await left()).toBe(0);
    });

    it('is removed to its end by hand', async () => {
      expect(await world.until(proc().recovery.tasks.remove(ID))).toBe(true);
      expect(await left()).toBe(0);
    });

    it('goes on where it was with the next clean-up', async () => {
      const next = proc();
      expect(await world.until(next.recovery.cleanup())).toMatchObject({ failed: 1, more: false });
      expect(await left()).toBe(0);
      const removed = next.line.commits.flatMap(({ guard, remove = [] }) =>
        guard.key === keys.head(ID) ? remove : [],
      );
      expect(removed.length).toBeLessThan(1_300 - 500 * pages);
    });

    it('begins afresh when it is called again', async () => {
      const next = proc();
      const again = task(next, { steps: 2 }, () => 'done');
      expect(await world.until(again.call())).toBe('done');
      expect(again.ran).toEqual([{ attempt: 1, fresh: true }]);
      expect(await next.recovery.failures.get(ID)).toBeNull();
      expect(await next.recovery.tasks.get(ID)).toMatchObject({
        status: 'completed',
        attempt: 1,
        items: null,
      });
      world.clock.stepWall(OLD_MS);
      expect(await world.until(proc().recovery.cleanup())).toMatchObject({ completed: 1 });
      expect(await left()).toBe(0);
    });

    it('begins afresh as a document when a failure is reported', async () => {
      const { recovery } = proc();
      const report = { taskId: ID, documentPath: '/in/other', name: 'n', error: new Error('seen') };
      await world.until(recovery.failures.record(report));
      expect(await recovery.failures.get(ID)).toMatchObject({ documentPath: '/in/other', retryCount: 0 });
      expect(await recovery.tasks.get(ID)).toMatchObject({ status: 'failed', attempt: 0, items: null });
      expect(await left()).toBeLessThan(5);
    });
  });

  it('is removed by hand in pages as well, and counted once by two at once', async () => {
    const results = await Promise.all([
      world.until(proc().recovery.cleanup()),
      world.until(proc().recovery.cleanup()),
      world.until(proc().recovery.tasks.remove(ID)),
    ]);
    const [one, two, byHand] = results;
    expect(one.failed + two.failed + (byHand ? 1 : 0)).toBe(1);
    expect(await left()).toBe(0);
  });
});

/** What somebody else wants of the task at the same time, and what it comes to. */
const WANTS: Readonly<Record<string, (proc: Proc) => Promise<unknown>>> = {
  requeue: ({ recovery }) => recovery.tasks.requeue(ID),
  call: (proc) => task(proc, { steps: 3, items: 3, checkpoints: 2 }, () => 'done').call(),
  retry: (proc) => {
    task(proc, { steps: 3 }, () => 'done');
    return proc.recovery.documents.recover();
  },
  redrive: (proc) => {
    task(proc, { steps: 3 }, () => 'done');
    return proc.recovery.documents.recover({ taskIds: [ID] });
  },
  record: ({ recovery }) =>
    recovery.failures.record({ taskId: ID, documentPath: '/in/t', name: 'n', error: new Error('again') }),
  forget: ({ recovery }) => recovery.failures.remove(ID),
  remove: ({ recovery }) => recovery.tasks.remove(ID),
};

describe.each([1, 3])('a clean-up beside somebody else, on %i partitions', (partitions) => {
  let inside: Inside;
  let world: World;
  beforeEach(async () => {
    inside = insideOf(partitions);
    ({ world } = inside);
    await task(inside.proc(), { steps: 620, items: 5, checkpoints: 3 })
      .call()
      .catch(() => {});
    // Old enough for a clean-up by this retention, and due, but not too old for document recovery.
    world.clock.stepWall(2 * DAY_MS);
  });
  afterEach(() => world.end());

  const cleaner = (): Proc => inside.proc({ retention: { failedMs: DAY_MS, completedMs: null } });
  const isOfHead = ({ kind, keys: [key] }: { kind: string; keys: readonly string[] }): boolean =>
    kind === 'commit' && key === keys.head(ID);

  /** Either all of it is there, or nothing. */
  async function neverHalf(): Promise<'there' | 'gone'> {
    const { recovery } = inside.proc();
    const found = await recovery.tasks.get(ID);
    const remains = remainsOf(inside.partitions, ID).map((line) => line.split(' ')[0] ?? '');
    if (found === null) {
      expect(remains).toEqual([]);
      return 'gone';
    }
    expect(remains.filter((line) => line.startsWith('h:'))).toHaveLength(1);
    const duplicates = await recovery.tasks.findDuplicates('n');
    expect(duplicates).toMatchObject({ miscounted: [], duplicateItems: [], unreadable: 0 });
    // A step with a long result has a record of its own.
    const head = inside.partitions.flatMap(({ records }) => [...(records.get(keys.head(ID)) ?? [])]);
    const elsewhere = head.filter(([field, value]) => field.startsWith('s:') && value === 'r').length;
    const steps = remains.filter((line) => /^p\d+:/.test(line)).length;
    expect(steps).toBeGreaterThanOrEqual(elsewhere);
    expect(head.some(([field]) => field === 'purging')).toBe(false);
    // What is known of its failure is there, or all of it is gone.
    await recovery.failures.get(ID);
    return 'there';
  }

  describe.each(Object.entries(WANTS))('%s', (what, want) => {
    const makes = what === 'call' || what === 'record';
    it.each([0, 1])('when that comes before page %i', async (page) => {
      const cleans = cleaner();
      for (let at = 0; at < page; at += 1) cleans.line.hold(isOfHead).release();
      const held = cleans.line.hold(isOfHead);
      const report = cleans.recovery.cleanup();
      await held.reached;
      const wanted = world.until(want(inside.proc()).catch((error: unknown) => error));
      await wanted;
      held.release();
      const { failed } = await world.until(report);
      await settled();
      // Whoever comes before the first page keeps it alive; later it is gone, and may be made anew.
      const stays = page === 0 ? what !== 'remove' : makes;
      expect([await neverHalf(), failed]).toEqual([
        stays ? 'there' : 'gone',
        page === 0 || makes || what === 'remove' ? 0 : 1,
      ]);
    });

    it('when the removal comes in between', async () => {
      const other = inside.proc();
      const held = other.line.hold(isOfHead);
      const wanted = want(other).catch((error: unknown) => error);
      await Promise.race([held.reached, wanted]);
      expect(await world.until(cleaner().recovery.cleanup())).toMatchObject({ failed: 1 });
      expect(remainsOf(inside.partitions, ID)).toEqual([]);
      held.release();
      await world.until(wanted);
      await settled();
      expect(await neverHalf()).toBe(makes ? 'there' : 'gone');
    });
  });
});
