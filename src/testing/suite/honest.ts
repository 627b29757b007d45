/** S8: every call ends by its deadline, and says so when it cannot tell what happened. */
import assert from 'node:assert/strict';
import { isRecoveryError, messageOf } from '../../errors.js';
import {
  apply,
  at,
  change,
  creation,
  eventTexts,
  fault,
  idsOf,
  readOne,
  recordOf,
  verdict,
  verdicts,
} from './bench.js';
import type { Bench, LawCase } from './bench.js';
import type { Batch, CommitReply, Storage } from '../../storage/storage.js';

const SHORT = { deadlineMs: 150 } as const;

const COUNTED = {
  increment: [{ key: 'counter', field: 'n', by: 1 }],
  append: [{ kind: 'counted' }],
} as const;

/** What a call came to: its value, or the code it failed with. */
async function ending<T>(call: Promise<T>): Promise<{ value: T } | { unavailable: true }> {
  try {
    return { value: await call };
  } catch (error) {
    if (isRecoveryError(error, 'STORAGE_UNAVAILABLE')) return { unavailable: true };
    throw new Error(`failed, but not with STORAGE_UNAVAILABLE: ${messageOf(error)}`, { cause: error });
  }
}

/** The reply got lost: the call says so, or an adapter that asked again says `duplicate`. */
function assertToldOrApplied(end: { value: CommitReply } | { unavailable: true }): void {
  if ('unavailable' in end) return;
  const given = end.value.outcomes.map(verdict);
  assert.ok(
    given.every((word) => word === 'applied' || word === 'duplicate'),
    `a lost reply was answered with ${given.join(', ')}`,
  );
}

async function lostReply(bench: Bench): Promise<void> {
  const { partition, storage, faults } = bench;
  await apply(bench, creation('head', 't1'));
  const batches = [
    change('head', 't1', 't2', COUNTED),
    creation('other', 'o1', { append: [{ kind: 'other' }] }),
  ];
  assertToldOrApplied(
    await ending(faults.withLostReply(() => storage.commit(partition, batches, { deadlineMs: 500 }))),
  );
  assert.deepEqual(await verdicts(bench, ...batches), ['duplicate', 'duplicate']);
  assert.deepEqual(await readOne(bench, 'counter'), recordOf({ n: '1' }));
  assert.deepEqual(await eventTexts(bench, 'kind'), ['counted', 'other']);
}

async function frozenCalls(bench: Bench): Promise<void> {
  const { partition, storage } = bench;
  await apply(bench, creation('head', 't1'));
  const batch = change('head', 't1', 't2', COUNTED);
  await fault(bench, 'freeze')();
  const reads = [
    ending<unknown>(storage.read(partition, ['head'], undefined, SHORT)),
    ending<unknown>(storage.range(partition, 'i', { limit: 1 }, SHORT)),
    ending<unknown>(storage.count(partition, 'i', {}, SHORT)),
    ending<unknown>(storage.events(partition, { after: null, limit: 1 }, SHORT)),
  ];
  const commit = ending(storage.commit(partition, [batch], SHORT));
  try {
    await Promise.all(reads);
    assert.deepEqual(await commit, { unavailable: true }, 'a commit was answered while the store was frozen');
  } finally {
    await fault(bench, 'thaw')();
  }
  await resend(bench, batch);
}

/** The batch is sent again until the store answers; it must have applied once. */
async function resend(bench: Bench, batch: Batch): Promise<void> {
  for (let tries = 0; ; tries += 1) {
    const end = await ending(bench.storage.commit(bench.partition, [batch]));
    if ('value' in end) {
      const { status } = at(end.value.outcomes, 0);
      assert.ok(status === 'applied' || status === 'duplicate', `sent again: ${status}`);
      break;
    }
    assert.ok(tries < 5, 'the store does not answer after the thaw');
  }
  assert.deepEqual(await verdicts(bench, batch), ['duplicate']);
  assert.deepEqual(await readOne(bench, 'counter'), recordOf({ n: '1' }));
  assert.deepEqual(await eventTexts(bench, 'kind'), ['counted']);
}

async function assertRejects(what: string, call: () => Promise<unknown>): Promise<void> {
  await assert.rejects(call, (error) => isRecoveryError(error), `${what} on a closed storage`);
}

async function assertClosed(storage: Storage, partition: string): Promise<void> {
  await assertRejects('read', () => storage.read(partition, ['head']));
  await assertRejects('commit', () => storage.commit(partition, [creation('head', 't1')]));
  await assertRejects('range', () => storage.range(partition, 'i', { limit: 1 }));
  await assertRejects('count', () => storage.count(partition, 'i'));
  await assertRejects('events', () => storage.events(partition, { after: null, limit: 1 }));
}

/** The cases of S8. */
export const honestCases: readonly LawCase[] = [
  { law: 'S8', title: 'a lost reply is told, and the same batches again are duplicates', run: lostReply },
  {
    law: 'S8',
    title: 'a lost reply of a removal is told, and the same batch again is a duplicate',
    async run(bench) {
      const { partition, storage, faults } = bench;
      await apply(bench, creation('head', 't1'));
      const batch = change('head', 't1', null, COUNTED);
      assertToldOrApplied(
        await ending(faults.withLostReply(() => storage.commit(partition, [batch], { deadlineMs: 500 }))),
      );
      assert.deepEqual(await verdicts(bench, batch), ['duplicate']);
      assert.deepEqual(await readOne(bench, 'counter'), recordOf({ n: '1' }));
    },
  },
  {
    law: 'S8',
    title: 'every call ends by its deadline while the store does not answer, and is safe to repeat',
    run: frozenCalls,
  },
  {
    law: 'S8',
    title: 'close ends while the store does not answer',
    async run(bench) {
      await apply(bench, creation('head', 't1'));
      await fault(bench, 'freeze')();
      const pending = ending(bench.storage.commit(bench.partition, [change('head', 't1', 't2')], SHORT));
      try {
        await bench.storage.close();
        // Whatever the call comes to, it must come to something.
        await pending.catch(() => undefined);
      } finally {
        await fault(bench, 'thaw')();
      }
    },
  },
  {
    law: 'S8',
    title: 'a server that forgets its scripts is taught again',
    async run(bench) {
      const { partition, storage } = bench;
      const flush = fault(bench, 'flushScripts');
      const index = [{ index: 'i', id: 'x', score: 1 }];
      await apply(bench, creation('head', 't1', { ...COUNTED, index }));
      await flush();
      assert.deepEqual(await readOne(bench, 'counter'), recordOf({ n: '1' }));
      await flush();
      assert.deepEqual(await idsOf(bench, 'i'), ['x']);
      await flush();
      assert.deepEqual(await eventTexts(bench, 'kind'), ['counted']);
      await flush();
      assert.equal(await storage.count(partition, 'i'), 1);
      await flush();
      const writes = Array.from({ length: 10 }, (_, i) => apply(bench, creation(`head-${i}`, 't1', COUNTED)));
      await Promise.all([...writes, flush()]);
      assert.deepEqual(await readOne(bench, 'counter'), recordOf({ n: '11' }));
    },
  },
  {
    law: 'S8',
    title: 'calls on a closed storage fail, and closing twice does not',
    async run(bench) {
      const { partition, storage } = bench;
      await apply(bench, creation('head', 't1'));
      await storage.close();
      await storage.close();
      await assertClosed(storage, partition);
    },
  },
];
