import * as fc from 'fast-check';
import { KEPT_CRASHES } from '../../src/domain/task.js';
import { describe, expect, it } from 'vitest';
import { endBatch, requeueBatch } from '../../src/state/endings.js';
import type { Ending } from '../../src/state/endings.js';
import { controlBatch, decodeControl, livedField } from '../../src/state/control.js';
import { indexes, keys, priorityBase } from '../../src/state/keys.js';
import { claimBatch, orphanBatch } from '../../src/state/transitions.js';
import { crashAt } from '../recovery/snapshot.js';
import {
  claimOn,
  create,
  expectConsistent,
  FOREVER,
  hold,
  holder,
  NOW,
  taskInMemory,
} from './task-in-memory.js';
import type { TaskInMemory } from './task-in-memory.js';

const ERROR = { name: 'E', message: 'why', code: 'C' };

function ending(status: Ending['status'], change: Partial<Ending> = {}): Ending {
  return {
    status,
    crashes: [crashAt(1), crashAt(2)],
    error: ERROR,
    reason: 'why',
    nonce: 'end',
    atMs: 0,
    notAfter: FOREVER,
    ...change,
  };
}

/** Brings the new task of a storage into a state. */
const WAYS = {
  processing: async () => {},
  stuck: async (task: TaskInMemory) => {
    const { live, write } = await hold(task, holder('w1'));
    await write((draft) => live.stuck(draft, 5));
  },
  orphaned: async (task: TaskInMemory) => {
    const orphaning = { cause: 'lease_over', crashes: [crashAt(3)], delayMs: 900 } as const;
    await task.commit(orphanBatch(await task.head(), orphaning, 'o', FOREVER));
  },
  retrying: async (task: TaskInMemory) => {
    const { live, write } = await hold(task, holder('w1'));
    await write((draft) => [live.renew(draft, 70), live.retry(draft, ERROR, 4, 5_000, null)]);
  },
  failed: async (task: TaskInMemory) => {
    const { live, write } = await hold(task, holder('w1'));
    await write((draft) => live.fail(draft, ERROR, 1, null, NOW));
  },
  cancelled: async (task: TaskInMemory) => {
    const { live, write } = await hold(task, holder('w1'));
    await write((draft) => live.cancel(draft, ERROR));
  },
  dead_letter: async (task: TaskInMemory) => {
    await task.commit(endBatch(await task.head(), ending('dead_letter', { nonce: 'first' })));
  },
};

async function brought(way: keyof typeof WAYS, priority = 0): Promise<TaskInMemory> {
  const task = taskInMemory();
  await create(task, holder('w1'), { priority });
  await WAYS[way](task);
  await task.clock.advance(11);
  return task;
}

const WAY_NAMES = [
  'processing',
  'stuck',
  'orphaned',
  'retrying',
  'failed',
  'cancelled',
  'dead_letter',
] as const;
const EVENTS = { dead_letter: 'dead_lettered', cancelled: 'task_cancelled', failed: 'task_failed' } as const;
const STATUSES = ['dead_letter', 'cancelled', 'failed'] as const;

describe('endBatch', () => {
  it.each(WAY_NAMES.flatMap((way) => STATUSES.map((status) => [way, status] as const)))(
    'from %s to %s: in that index only, with error, crashes and a numbered event',
    async (way, status) => {
      const task = await brought(way);
      const before = await task.head();
      expect(await task.commit(endBatch(before, ending(status)))).toMatchObject({ status: 'applied' });
      const now = task.clock.wallMs();
      const after = await task.head();
      expect(after.task).toMatchObject({
        status,
        endedAtMs: now,
        error: ERROR,
        crashes: [crashAt(1), crashAt(2)],
        stuckSinceMs: null,
        dueAtMs: null,
        leaseUntilMs: null,
        attempt: 1,
        fence: 10,
      });
      expect(await task.scores()).toEqual(new Map([[indexes.inState(status, 'n'), now]]));
      expect((await task.events()).at(-1)).toMatchObject({
        event: EVENTS[status],
        seq: String(before.eventSeq + 1),
        reason: 'why',
        crashes: '2',
        recovery: 'true',
      });
      await expectConsistent(task);
    },
  );

  it.each(STATUSES)('%s: only on the head that was looked at, once, and in time', async (status) => {
    const task = await brought('processing');
    const head = await task.head();
    const late = ending(status, { notAfter: task.clock.wallMs() - 1 });
    expect(await task.commit(endBatch(head, late))).toMatchObject({ status: 'expired' });
    const { live, write } = await hold(task, holder('w1'));
    await write((draft) => live.progress(draft, 10, null, null, 1));
    expect(await task.commit(endBatch(head, ending(status)))).toMatchObject({ status: 'conflict' });
    const batch = endBatch(await task.head(), ending(status));
    expect(await task.commit(batch)).toMatchObject({ status: 'applied' });
    expect(await task.commit(batch)).toMatchObject({ status: 'duplicate' });
    expect(await write((draft) => live.progress(draft, 20, null, null, 1))).toMatchObject({
      status: 'conflict',
    });
    expect(await task.events()).toHaveLength(2);
  });

  it('keeps a bounded number of crashes, the newest', async () => {
    const task = await brought('orphaned');
    const crashes = Array.from({ length: KEPT_CRASHES + 9 }, (_, at) => crashAt(at));
    await task.commit(endBatch(await task.head(), ending('dead_letter', { crashes })));
    expect((await task.head()).task.crashes).toEqual(crashes.slice(9));
  });
});

describe('requeueBatch', () => {
  const waiting = ['orphaned', 'retrying', 'failed', 'cancelled', 'dead_letter'] as const;

  it('property: from every state it is due now, at its priority, with whole budgets and no wish to cancel', async () => {
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...waiting), fc.nat(10), async (way, priority) => {
        const task = await brought(way, priority);
        const stamp = { nonce: 'c', notAfter: FOREVER, atMs: 0 };
        await task.commit(
          controlBatch('t', { cancel: '"no"', ...livedField(3) }, decodeControl(null), stamp),
        );
        const before = await task.head();
        expect(await task.commit(requeueBatch(before, 'again', FOREVER))).toMatchObject({
          status: 'applied',
        });
        const now = task.clock.wallMs();
        const after = await task.head();
        expect(after.task).toMatchObject({
          status: 'orphaned',
          orphanCause: 'requeued',
          dueAtMs: now,
          crashes: [],
          errorCount: 0,
          endedAtMs: null,
          fence: 10,
          attempt: 1,
        });
        expect(after.ranMs).toBe(0);
        expect(await task.scores()).toEqual(
          new Map([[indexes.inState('orphaned', 'n'), priorityBase(priority) + now]]),
        );
        expect(await task.record(keys.control('t'))).toBeNull();
        expect((await task.events()).at(-1)).toMatchObject({
          event: 'task_requeued',
          seq: String(before.eventSeq + 1),
          status: before.task.status,
          crashes: String(before.task.crashes.length),
        });
        await expectConsistent(task);
      }),
      { numRuns: 40 },
    );
  });

  it.each(waiting)('%s: only on the head that was looked at, once, and in time', async (way) => {
    const task = await brought(way);
    const head = await task.head();
    const late = requeueBatch(head, 'late', task.clock.wallMs() - 1);
    expect(await task.commit(late)).toMatchObject({ status: 'expired' });
    const batch = requeueBatch(head, 'a', FOREVER);
    expect(await task.commit(batch)).toMatchObject({ status: 'applied' });
    expect(await task.commit(batch)).toMatchObject({ status: 'duplicate' });
    expect(await task.commit(requeueBatch(head, 'b', FOREVER))).toMatchObject({ status: 'conflict' });
  });

  it('keeps what was done: checkpoints, steps, items, arguments and context', async () => {
    const task = taskInMemory();
    await create(task, holder('w1'), { userContext: '{"user":7}', version: '4' });
    const { live, write } = await hold(task, holder('w1'));
    await write((draft) => {
      live.step(draft, 'a', 'j1');
      live.item(draft, 'm', { buckets: 1, total: 2, done: 1, failed: 0 }, 'k', 'j1');
      live.automaticCheckpoint(draft, 40, null, 3);
      live.fail(draft, ERROR, 1, null, NOW);
    });
    const before = await task.head();
    await task.commit(requeueBatch(before, 'again', FOREVER));
    const { pieces, automatic, input, userContext, task: record } = await task.head();
    expect({ pieces, automatic, input, userContext }).toEqual({
      pieces: before.pieces,
      automatic: before.automatic,
      input: '[1]',
      userContext: '{"user":7}',
    });
    expect(record).toMatchObject({ version: '4', items: { done: 1, total: 2 } });
    await task.commit(claimBatch(claimOn(await task.head(), { cause: 'requeued' }), holder('w2', 11)));
    expect((await task.head()).task).toMatchObject({ status: 'processing', attempt: 2, error: null });
    await expectConsistent(task);
  });
});

it.each([
  ['orphaned', 'dead_letter', 1],
  ['processing', 'dead_letter', 1],
  // Its failure was counted when it came.
  ['failed', 'dead_letter', 0],
  ['orphaned', 'cancelled', 0],
] as const)('a retry that is %s and becomes %s has failed %i times', async (status, end, times) => {
  const failure = {
    retryCount: 1,
    attempts: 1,
    fingerprint: 'f',
    category: 'other',
    worker: 'w',
    queryPattern: null,
    version: '1',
  };
  const task = taskInMemory();
  await create(task);
  const head = await task.head();
  const known = { ...head, task: { ...head.task, status }, failed: { failure, failedAtMs: 5, openAtMs: 5 } };
  const { increment = [] } = endBatch(known, ending(end));
  const retries = increment.filter(({ key }) => key === keys.retryCounters);
  expect(retries).toEqual(times === 0 ? [] : [{ key: keys.retryCounters, field: 'failed', by: times }]);
  const totals = increment.filter(({ key }) => key === keys.recoveryTotals).map(({ field }) => field);
  expect(totals).toEqual(times === 0 ? [] : ['failed', 'failures']);
  const never = endBatch({ ...known, failed: null }, ending(end)).increment ?? [];
  expect(never.filter(({ key }) => key === keys.retryCounters)).toEqual([]);
});
