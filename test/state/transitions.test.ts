import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { INLINE_CHARACTERS } from '../../src/state/head.js';
import { indexes, keys, priorityBase } from '../../src/state/keys.js';
import {
  claimBatch,
  createBatch,
  KEPT_CRASHES,
  orphanBatch,
  quarantineBatch,
} from '../../src/state/transitions.js';
import { endBatch, requeueBatch } from '../../src/state/endings.js';
import type { Batch } from '../../src/storage/storage.js';
import {
  claimOn,
  crashAt,
  create,
  expectConsistent,
  FOREVER,
  hold,
  holder,
  HOME,
  newTask,
  plan,
  taskInMemory,
} from './task-in-memory.js';
import type { TaskInMemory } from './task-in-memory.js';

async function claimOf(
  task: TaskInMemory,
  action: 'resume' | 'restart',
  owner: string,
  fence: number,
): Promise<Batch> {
  const claim = claimOn(await task.head(), { plan: plan(action), crashes: [crashAt(5)] });
  return claimBatch(claim, holder(owner, fence));
}

describe('create', () => {
  it('makes head, lease and event in one batch', async () => {
    const task = taskInMemory();
    await create(task);
    const now = task.clock.wallMs();
    expect((await task.head()).task).toMatchObject({
      status: 'processing',
      owner: 'w1',
      leaseUntilMs: now + 1_000,
      fence: 10,
    });
    expect(await task.scores()).toEqual(
      new Map([
        [indexes.inState('processing', 'n'), now + 1_000],
        [indexes.held('w1'), now + 1_000],
      ]),
    );
    expect(await task.events()).toMatchObject([
      { event: 'task_started', seq: '1', attempt: '1', recovery: 'false' },
    ]);
  });

  it('happens once: another create conflicts, the same one is a duplicate, a late one is expired', async () => {
    const task = taskInMemory();
    await create(task);
    const make = (owner: string, notAfter: number): Batch =>
      createBatch(newTask({ storedInput: '[]' }), { ...holder(owner), notAfter });
    expect(await task.commit(make('w2', FOREVER))).toMatchObject({ status: 'conflict' });
    expect(await task.commit(make('w1', FOREVER))).toMatchObject({ status: 'duplicate' });
    expect(await task.commit(make('w2', task.clock.wallMs() - 1))).toMatchObject({ status: 'expired' });
    expect(await task.events()).toHaveLength(1);
  });

  it('keeps a long input in a record of its own', async () => {
    const task = taskInMemory();
    const storedInput = JSON.stringify(['x'.repeat(INLINE_CHARACTERS)]);
    await task.commit(createBatch(newTask({ storedInput }), holder('w1')));
    expect((await task.head()).input).toBeNull();
    const { records } = await task.storage.read(HOME, [keys.input('t')]);
    expect(records[0]?.get('data')).toBe(storedInput);
  });
});

describe('orphan', () => {
  it('goes into the queue by priority, and voids the token of its owner', async () => {
    const task = taskInMemory();
    await create(task, holder('w1'), { priority: 7 });
    const { write } = await hold(task, holder('w1'));
    const orphaning = { cause: 'owner_dead', crashes: [crashAt(3)], delayMs: 0 } as const;
    expect(await task.commit(orphanBatch(await task.head(), orphaning, 'x', FOREVER))).toMatchObject({
      status: 'applied',
    });
    expect(await task.scores()).toEqual(
      new Map([[indexes.inState('orphaned', 'n'), priorityBase(7) + task.clock.wallMs()]]),
    );
    expect((await task.head()).task).toMatchObject({
      status: 'orphaned',
      orphanCause: 'owner_dead',
      crashes: [crashAt(3)],
      fence: 10,
    });
    expect(await write((draft) => draft.set(keys.head('t'), { progress: '5' }))).toMatchObject({
      status: 'conflict',
    });
  });
});

describe('claim', () => {
  it('has one winner of two', async () => {
    const task = taskInMemory();
    await create(task);
    const [a, b] = [await claimOf(task, 'resume', 'w2', 11), await claimOf(task, 'resume', 'w3', 11)];
    const { outcomes } = await task.storage.commit(HOME, [a]);
    expect(outcomes[0]?.status).toBe('applied');
    expect(await task.commit(b)).toMatchObject({ status: 'conflict' });
    expect((await task.head()).task).toMatchObject({ owner: 'w2', attempt: 2, fence: 11, crashedAtMs: [5] });
    await expectConsistent(task);
  });

  it('tells of a resume, and of its checkpoint; a clean restart starts at nothing', async () => {
    const task = taskInMemory();
    await create(task);
    const head = await task.head();
    const resumed = { resumeSeq: 3, resumeName: 'parsed', resumePercent: 40 };
    const claim = claimOn(head, { cause: 'slot_taken_over', plan: plan('resume', 'why'), ...resumed });
    await task.commit(claimBatch(claim, holder('w2', 11)));
    expect((await task.events()).slice(1)).toMatchObject([
      {
        event: 'recovery_started',
        seq: '2',
        cause: 'slot_taken_over',
        decision: 'resume',
        reason: 'why',
        recovery: 'true',
      },
      {
        event: 'processing_resumed',
        seq: '3',
        checkpoint: 'parsed',
        checkpoint_seq: '3',
        progress_percent: '40',
      },
    ]);
    await task.commit(await claimOf(task, 'restart', 'w3', 12));
    expect((await task.events()).slice(3)).toMatchObject([{ event: 'recovery_started', seq: '4' }]);
    expect((await task.head()).task).toMatchObject({ progressPercent: 0, attempt: 3 });
  });

  it('keeps a bounded number of crashes, the newest', async () => {
    const task = taskInMemory();
    await create(task);
    const crashes = Array.from({ length: KEPT_CRASHES + 20 }, (_, index) => crashAt(index));
    await task.commit(claimBatch(claimOn(await task.head(), { crashes }), holder('w2', 11)));
    expect((await task.head()).task.crashes).toEqual(crashes.slice(20));
  });
});

describe('quarantine', () => {
  it('takes the task out of the queues and keeps the reason, once', async () => {
    const task = taskInMemory();
    await create(task);
    const batch = quarantineBatch({ taskId: 't', name: 'n', owner: 'w1', reason: 'broken' }, 'x', FOREVER);
    expect(await task.commit(batch)).toMatchObject({ status: 'applied' });
    expect([...(await task.scores()).keys()]).toEqual([indexes.quarantined('n')]);
    const { records } = await task.storage.read(HOME, [keys.quarantine('t')]);
    expect(records[0]?.get('reason')).toBe('broken');
  });
});

const STEPS = [
  'orphan',
  'resume',
  'restart',
  'bury',
  'withdraw',
  'requeue',
  'release',
  'retry',
  'cancel',
  'complete',
  'fail',
  'stuck',
  'progress',
  'checkpoint',
] as const;

it('property: after any walk through the states, indexes and events agree with the head, and the fence rises', async () => {
  const step = fc.constantFrom(...STEPS);
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 15 }), async (walk) => {
      const task = taskInMemory();
      await create(task);
      let mine = await hold(task, holder('w1'));
      let fence = 10;
      for (const each of walk) {
        await task.clock.advance(7);
        const head = await task.head();
        const running = head.task.status === 'processing';
        const { live, write } = mine;
        const ended = head.task.endedAtMs !== null;
        const orphaning = { cause: 'lease_over', crashes: [], delayMs: fence } as const;
        if (each === 'orphan' && running)
          await task.commit(orphanBatch(head, orphaning, `o${fence}`, FOREVER));
        if ((each === 'resume' || each === 'restart') && (!ended || head.task.status === 'failed')) {
          fence += 1;
          const by = holder(`w${(fence % 3) + 1}`, fence);
          await task.commit(await claimOf(task, each, by.owner, fence));
          mine = await hold(task, by, true);
        }
        const error = { name: 'E', message: 'm', code: null };
        const stamp = { nonce: `${each}${head.eventSeq}`, notAfter: FOREVER };
        const end = { crashes: [crashAt(1)], error, ...stamp } as const;
        if (each === 'bury' && !ended) await task.commit(endBatch(head, { status: 'dead_letter', ...end }));
        if (each === 'withdraw' && !ended) await task.commit(endBatch(head, { status: 'cancelled', ...end }));
        if (each === 'requeue' && !running && head.task.status !== 'completed')
          await task.commit(requeueBatch(head, stamp.nonce, FOREVER));
        if (running && each === 'retry') await write((draft) => live.retry(draft, error, 1, 50));
        if (running && each === 'cancel') await write((draft) => live.cancel(draft, error));
        if (running && each === 'release') await write((draft) => live.release(draft));
        if (running && each === 'complete') await write((draft) => live.complete(draft, { kind: 'none' }));
        if (running && each === 'fail') await write((draft) => live.fail(draft, error));
        if (running && each === 'stuck' && !live.isStuck) await write((draft) => live.stuck(draft, 3));
        if (running && each === 'progress') await write((draft) => live.progress(draft, 10, null, null, 4));
        if (running && each === 'checkpoint') await write((draft) => live.event(draft, 'checkpoint_created'));
        await expectConsistent(task);
        expect((await task.head()).task.fence).toBe(fence);
      }
    }),
    { numRuns: 60 },
  );
});
