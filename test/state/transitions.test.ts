import * as fc from 'fast-check';
import { KEPT_CRASHES } from '../../src/domain/task.js';
import { describe, expect, it } from 'vitest';
import { INLINE_CHARACTERS } from '../../src/state/head.js';
import { indexes, keys, priorityBase } from '../../src/state/keys.js';
import { claimBatch, createBatch, orphanBatch, quarantineBatch } from '../../src/state/transitions.js';
import { cancelField, controlBatch, decodeControl } from '../../src/state/control.js';
import type { Batch } from '../../src/storage/storage.js';
import { crashAt } from '../recovery/snapshot.js';
import {
  claimOn,
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
        [indexes.held('w1'), 0],
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

  it('keeps version and context, and begins with whole budgets', async () => {
    const task = taskInMemory();
    await create(task, holder('w1'), { version: '2026-01', userContext: '{"user":7}' });
    expect(await task.head()).toMatchObject({
      userContext: '{"user":7}',
      began: 0,
      suspect: false,
      claimedAtMs: task.clock.wallMs(),
      ranMs: 0,
      task: { version: '2026-01', errorCount: 0, crashes: [], dueAtMs: null, items: null },
    });
    const other = taskInMemory();
    await create(other);
    expect((await other.record(keys.head('t')))?.has('user')).toBe(false);
    expect((await other.head()).userContext).toBeNull();
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

describe('an orphan that has to wait', () => {
  it('property: is due when its score says, whatever its priority', async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(10), fc.nat(400_000), async (priority, delayMs) => {
        const task = taskInMemory();
        await create(task, holder('w1'), { priority });
        const orphaning = { cause: 'lease_over', crashes: [], delayMs } as const;
        await task.commit(orphanBatch(await task.head(), orphaning, 'x', FOREVER));
        const dueMs = task.clock.wallMs() + delayMs;
        expect((await task.head()).task.dueAtMs).toBe(dueMs);
        expect(await task.scores()).toEqual(
          new Map([[indexes.inState('orphaned', 'n'), priorityBase(priority) + dueMs]]),
        );
      }),
      { numRuns: 40 },
    );
  });

  it('keeps the newest of its crashes, and is not stuck any more', async () => {
    const task = taskInMemory();
    await create(task);
    const { live, write } = await hold(task, holder('w1'));
    await write((draft) => live.stuck(draft, 5));
    const crashes = Array.from({ length: KEPT_CRASHES + 1 }, (_, index) => crashAt(index));
    const orphaning = { cause: 'lease_over', crashes, delayMs: 5 } as const;
    await task.commit(orphanBatch(await task.head(), orphaning, 'x', FOREVER));
    expect((await task.head()).task).toMatchObject({ crashes: crashes.slice(1), stuckSinceMs: null });
    await expectConsistent(task);
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

  const CAUSES = ['lease_over', 'owner_dead', 'released', 'own', 'retried', 'retry_due', 'requeued'] as const;
  it.each(CAUSES)(
    '%s: gives back errors, time and a wish to cancel only if it was called again',
    async (cause) => {
      const task = taskInMemory();
      await create(task);
      const { live, write } = await hold(task, holder('w1'));
      const error = { name: 'E', message: 'm', code: null };
      await write((draft) => [live.renew(draft, 700), live.retry(draft, error, 2, 0, null)]);
      const stamp = { nonce: 'c', notAfter: FOREVER };
      await task.commit(controlBatch('t', cancelField('no'), decodeControl(null), stamp));
      await task.commit(claimBatch(claimOn(await task.head(), { cause }), holder('w2', 11)));
      const head = await task.head();
      const again = cause === 'retried';
      expect([head.task.errorCount, head.ranMs]).toEqual(again ? [0, 0] : [2, 700]);
      expect((await task.record(keys.control('t'))) === null).toBe(again);
      expect(head.task).toMatchObject({ orphanCause: cause, error: null });
      expect(await task.record(keys.head('t'))).toContainEqual(['error', '']);
      await expectConsistent(task);
    },
  );

  it('has the version of the code that takes it, and tells of a change', async () => {
    const task = taskInMemory();
    await create(task, holder('w1'), { version: '1' });
    await task.commit(claimBatch(claimOn(await task.head(), { version: '2' }), holder('w2', 11)));
    expect((await task.head()).task.version).toBe('2');
    await task.commit(claimBatch(claimOn(await task.head(), { version: '2' }), holder('w3', 12)));
    const started = (await task.events()).filter(({ event }) => event === 'recovery_started');
    expect(started[0]).toMatchObject({ version_from: '1', version_to: '2' });
    expect(Object.keys(started[1] ?? {})).not.toContain('version_from');
  });

  it('notes when it began, whether under suspicion, and how often it crashed', async () => {
    const task = taskInMemory();
    await create(task);
    await task.clock.advance(50);
    const crashes = [crashAt(1), crashAt(2)];
    await task.commit(claimBatch(claimOn(await task.head(), { crashes, suspect: true }), holder('w2', 11)));
    expect(await task.head()).toMatchObject({ suspect: true, claimedAtMs: task.clock.wallMs(), began: 0 });
    expect((await task.events())[1]).toMatchObject({ event: 'recovery_started', crashes: '2' });
    await task.clock.advance(50);
    await task.commit(claimBatch(claimOn(await task.head()), holder('w3', 12)));
    expect(await task.head()).toMatchObject({ suspect: false, claimedAtMs: task.clock.wallMs() });
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
