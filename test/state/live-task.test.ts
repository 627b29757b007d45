import { Draft } from '../../src/state/draft.js';
import { describe, expect, it } from 'vitest';
import { decodeCheckpoint } from '../../src/state/checkpoint-store.js';
import { INLINE_CHARACTERS } from '../../src/state/head.js';
import { indexes, keys, priorityBase } from '../../src/state/keys.js';
import type { MapMark } from '../../src/state/ledger.js';
import { Payloads } from '../../src/state/payloads.js';
import { claimBatch } from '../../src/state/transitions.js';
import {
  claimOn,
  create,
  expectConsistent,
  hold,
  holder,
  HOME,
  NOW,
  taskInMemory,
} from './task-in-memory.js';

async function running(recovered = false, priority = 0) {
  const task = taskInMemory();
  await create(task, holder('w1'), { priority });
  return { task, ...(await hold(task, holder('w1'), recovered)) };
}

const eventsOf = async ({ task }: Awaited<ReturnType<typeof running>>): Promise<(string | undefined)[]> =>
  (await task.events()).slice(1).map(({ event }) => event);

describe('LiveTask', () => {
  it('renews the lease in the head and in the index that is read for it, and asks to see the control record', async () => {
    const { task, live, write } = await running();
    await task.clock.advance(400);
    let observed: readonly string[] = [];
    await write((draft) => (observed = live.renew(draft, null)));
    const until = task.clock.wallMs() + 1_000;
    expect(observed).toEqual([keys.control('t')]);
    expect((await task.head()).task.leaseUntilMs).toBe(until);
    expect(await task.scores()).toEqual(
      new Map([
        [indexes.inState('processing', 'n'), until],
        [indexes.held('w1'), 0],
      ]),
    );
  });

  it('a renewal says how long it ran, where that is asked for, in whole ms', async () => {
    const { task, live, write } = await running();
    await write((draft) => live.renew(draft, 1_234.6));
    expect((await task.head()).ranMs).toBe(1_235);
    await write((draft) => live.renew(draft, null));
    expect((await task.head()).ranMs).toBe(1_235);
  });

  it('notes in which attempt user code began, and that it is no suspect any more', async () => {
    const task = taskInMemory();
    await create(task);
    const before = await task.head();
    expect([before.began, before.suspect]).toEqual([0, false]);
    await task.commit(claimBatch(claimOn(before, { suspect: true }), holder('w2', 11)));
    const claimed = await task.head();
    expect([claimed.began, claimed.suspect]).toEqual([0, true]);
    const { live, write } = await hold(task, holder('w2', 11), true);
    await write((draft) => live.began(draft));
    const begun = await task.head();
    expect([begun.began, begun.suspect]).toEqual([2, true]);
    await write((draft) => live.cleared(draft));
    expect((await task.head()).suspect).toBe(false);
    await expectConsistent(task);
  });

  it('progress keeps step and description until new ones come', async () => {
    const { task, live, write } = await running();
    await write((draft) => live.progress(draft, 10, 'one', 'first', 5));
    await write((draft) => live.progress(draft, 20.5, null, null, 6));
    expect((await task.head()).task).toMatchObject({
      progressPercent: 20.5,
      step: 'one',
      description: 'first',
      progressAtMs: 6,
    });
  });

  it('a checkpoint is a record, a name reached, and progress', async () => {
    const { task, live, write } = await running();
    const seq = live.nextCheckpointSeq();
    const text = {
      name: 'a',
      seq,
      progressPercent: 30,
      stepDescription: 'd',
      dataText: '1',
      stateText: '2',
      createdAtMs: 9,
      version: '1',
    };
    await write((draft) => live.automaticCheckpoint(draft, 20, null, 8));
    await write((draft) => live.checkpoint(draft, text, null));
    const head = await task.head();
    expect(head).toMatchObject({ checkpointSeq: 1, automatic: null });
    expect(head.task).toMatchObject({ progressPercent: 30, description: 'd', progressAtMs: 9 });
    expect([...head.reached]).toEqual([['a', 1]]);
    const { records } = await task.storage.read(HOME, [keys.checkpoint('t', 1)]);
    expect(decodeCheckpoint('t', 1, records[0] ?? null, new Payloads(null, 'ns'))).toMatchObject({
      recoverableData: 1,
      databaseState: 2,
    });
  });

  it('is stuck until it moves', async () => {
    const { task, live, write } = await running();
    await write((draft) => live.stuck(draft, 77));
    expect(live.isStuck).toBe(true);
    expect((await task.scores()).get(indexes.stuck('n'))).toBe(77);
    await write((draft) => live.progress(draft, 1, null, null, 80));
    expect((await task.head()).task.stuckSinceMs).toBeNull();
    expect(live.isStuck).toBe(false);
    await expectConsistent(task);
  });

  it.each([
    ['undefined', { kind: 'none' as const }, 'none', null, false],
    ['not storable', { kind: 'unstorable' as const }, 'unstorable', null, false],
    ['short', { kind: 'text' as const, text: '"x"' }, 'inline', '"x"', false],
    [
      'at the limit',
      { kind: 'text' as const, text: 'x'.repeat(INLINE_CHARACTERS) },
      'inline',
      'x'.repeat(INLINE_CHARACTERS),
      false,
    ],
    ['long', { kind: 'text' as const, text: 'x'.repeat(INLINE_CHARACTERS + 1) }, 'record', null, true],
  ])('keeps a result that is %s', async (_what, result, resultKind, inline, elsewhere) => {
    const { task, live, write } = await running();
    await write((draft) => live.complete(draft, result, NOW));
    expect(await task.head()).toMatchObject({
      resultKind,
      result: inline,
      task: { status: 'completed', progressPercent: 100 },
    });
    const { records } = await task.storage.read(HOME, [keys.result('t')]);
    expect(records[0] !== null).toBe(elsewhere);
    await expectConsistent(task);
  });

  it('ends with one event, or with two when it was recovered', async () => {
    const plain = await running();
    await plain.write((draft) => plain.live.complete(draft, { kind: 'none' }, NOW));
    expect(await eventsOf(plain)).toEqual(['task_completed']);
    const recovered = await running(true);
    await recovered.write((draft) => recovered.live.complete(draft, { kind: 'none' }, NOW));
    expect(await eventsOf(recovered)).toEqual(['recovery_completed', 'task_completed']);
  });

  it('numbers the events of a refused batch again, so that none is missing', async () => {
    const set = await running();
    const refused = new Draft();
    set.live.event(refused, 'checkpoint_created');
    set.live.prepare(refused);
    set.live.refused();
    await set.write((draft) => set.live.complete(draft, { kind: 'none' }, NOW));
    await expectConsistent(set.task);
  });

  it('fails with its error, but tells only name and code in events', async () => {
    const set = await running(true);
    await set.write((draft) =>
      set.live.fail(draft, { name: 'TypeError', message: 'secret', code: 'E1' }, 1, null, NOW),
    );
    expect((await set.task.head()).task).toMatchObject({ status: 'failed', error: { message: 'secret' } });
    expect((await set.task.events()).slice(1)).toMatchObject([
      { event: 'recovery_failed', error_name: 'TypeError', error_code: 'E1' },
      { event: 'task_failed', error_name: 'TypeError', error_code: 'E1' },
    ]);
    expect(JSON.stringify(await set.task.events())).not.toContain('secret');
    await expectConsistent(set.task);
  });

  it('is released into the queue at its priority, not as a crash', async () => {
    const set = await running(false, 9);
    await set.write((draft) => set.live.release(draft, null));
    expect((await set.task.head()).task).toMatchObject({
      status: 'orphaned',
      orphanCause: 'released',
      crashedAtMs: [],
      dueAtMs: set.task.clock.wallMs(),
      errorCount: 0,
    });
    expect(await set.task.scores()).toEqual(
      new Map([[indexes.inState('orphaned', 'n'), priorityBase(9) + set.task.clock.wallMs()]]),
    );
    expect(await eventsOf(set)).toEqual(['task_released']);
  });

  it.each([0, 9])('waits for another try, priority %i: due when its score says', async (priority) => {
    const set = await running(false, priority);
    await set.task.clock.advance(17);
    const error = { name: 'TypeError', message: 'secret', code: 'E1' };
    await set.write((draft) => set.live.retry(draft, error, 3, 4_000, null));
    const dueMs = set.task.clock.wallMs() + 4_000;
    expect((await set.task.head()).task).toMatchObject({
      status: 'orphaned',
      orphanCause: 'retry_due',
      dueAtMs: dueMs,
      errorCount: 3,
      error,
      crashes: [],
      endedAtMs: null,
    });
    expect(await set.task.scores()).toEqual(
      new Map([[indexes.inState('orphaned', 'n'), priorityBase(priority) + dueMs]]),
    );
    expect((await set.task.events()).slice(1)).toMatchObject([
      { event: 'task_retrying', error_name: 'TypeError', error_code: 'E1', errors: '3', delay_ms: '4000' },
    ]);
    expect(JSON.stringify(await set.task.events())).not.toContain('secret');
    await expectConsistent(set.task);
  });

  it.each([false, true])('is cancelled with its reason, and one event; recovered: %s', async (recovered) => {
    const set = await running(recovered);
    await set.write((draft) => set.live.stuck(draft, 3));
    const error = { name: 'RecoveryError', message: 'withdrawn', code: 'TASK_CANCELLED' };
    await set.write((draft) => set.live.cancel(draft, error));
    const now = set.task.clock.wallMs();
    expect((await set.task.head()).task).toMatchObject({ status: 'cancelled', error, endedAtMs: now });
    expect(await set.task.scores()).toEqual(new Map([[indexes.inState('cancelled', 'n'), now]]));
    expect((await set.task.events()).slice(1)).toMatchObject([
      { event: 'task_cancelled', reason: 'withdrawn' },
    ]);
    await expectConsistent(set.task);
  });

  it('remembers how far each of its maps is, once it has marked it', async () => {
    const { live } = await running();
    expect(live.maps).toBeNull();
    const mark = (done: number): MapMark => ({ buckets: 1, total: 9, done, failed: 0 });
    const draft = new Draft();
    live.item(draft, 'unmarked', mark(1), 'k', 'j1', false);
    expect(live.maps).toBeNull();
    live.item(draft, 'a', mark(1), 'k', 'j1');
    live.item(draft, 'b', mark(4), 'k', 'j1');
    live.item(draft, 'a', mark(2), 'l', 'j1');
    expect(live.maps).toEqual(
      new Map([
        ['a', mark(2)],
        ['b', mark(4)],
      ]),
    );
  });

  it('restart voids checkpoints, progress and the automatic mark', async () => {
    const { task, live, write } = await running();
    await write((draft) => live.automaticCheckpoint(draft, 50, null, 1));
    await write((draft) => live.restart(draft, 4));
    expect(await task.head()).toMatchObject({
      checkpointBase: 4,
      automatic: null,
      task: { progressPercent: 0 },
    });
  });
});
