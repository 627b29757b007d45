/** S3: a batch that has applied never applies again; one that comes after its time never applies. */
import assert from 'node:assert/strict';
import {
  FAR,
  apply,
  applyOrFind,
  at,
  change,
  commitOne,
  creation,
  eventTexts,
  idsOf,
  observed,
  readOne,
  recordOf,
  timePassed,
  verdict,
  verdicts,
} from './bench.js';
import type { Bench, LawCase } from './bench.js';
import type { Batch } from '../../storage/storage.js';

/** How long a creation in a late-duplicate case may still apply; ample for the first try, which must arrive. */
const SHORT_LIFE_MS = 1500;
const HELD_DEADLINE_MS = 150;

const COUNTED = {
  observe: ['head', 'counter'],
  increment: [{ key: 'counter', field: 'n', by: 1 }],
  append: [{ kind: 'counted' }],
} as const;

async function assertCountedOnce(bench: Bench): Promise<void> {
  assert.deepEqual(await readOne(bench, 'counter'), recordOf({ n: '1' }), 'an increment applied twice');
  assert.deepEqual(await eventTexts(bench, 'kind'), ['counted'], 'an event was appended twice');
}

/** Sends a batch that is held on its way; returns what delivers it late. */
function held(bench: Bench, batch: Batch): Promise<() => Promise<void>> {
  return bench.faults.withHeldRequest(() =>
    bench.storage.commit(bench.partition, [batch], { deadlineMs: HELD_DEADLINE_MS }),
  );
}

async function lateCreation(bench: Bench): Promise<void> {
  const { nowMs } = await bench.storage.read(bench.partition, ['head']);
  const notAfter = nowMs + SHORT_LIFE_MS;
  const batch: Batch = { guard: { key: 'head', expect: null, next: 't1' }, notAfter, ...COUNTED };
  const deliver = await held(bench, batch);
  await applyOrFind(bench, batch);
  assert.deepEqual(await verdicts(bench, change('head', 't1', null)), ['applied']);
  await timePassed(bench, notAfter);
  await deliver();
  assert.equal(await readOne(bench, 'head'), null, 'a late duplicate brought a removed record back');
  await assertCountedOnce(bench);
}

async function lateChange(bench: Bench): Promise<void> {
  await apply(bench, creation('head', 't1'));
  const batch = change('head', 't1', 't2', COUNTED);
  const deliver = await held(bench, batch);
  await applyOrFind(bench, batch);
  await apply(bench, change('head', 't2', 't3', { set: [{ key: 'head', fields: { x: '3' } }] }));
  await deliver();
  assert.deepEqual(await readOne(bench, 'head'), recordOf({ token: 't3', x: '3' }));
  await assertCountedOnce(bench);
}

/** A head at token t2, reached from t1, and a counter that is none. */
async function atSecondToken(bench: Bench): Promise<void> {
  await apply(bench, creation('head', 't1', { set: [{ key: 'text', fields: { n: 'seven' } }] }));
  await apply(bench, change('head', 't1', 't2'));
}

const IMPOSSIBLE = { increment: [{ key: 'text', field: 'n', by: 1 }] } as const;

/** The cases of S3. */
export const idempotentCases: readonly LawCase[] = [
  {
    law: 'S3',
    title: 'the same creation again is a duplicate and applies nothing',
    async run(bench) {
      const batch = creation('head', 't1', COUNTED);
      await apply(bench, batch);
      assert.deepEqual(await verdicts(bench, batch), ['duplicate']);
      await assertCountedOnce(bench);
    },
  },
  {
    law: 'S3',
    title: 'the same change again is a duplicate, observes, and applies nothing',
    async run(bench) {
      await apply(bench, creation('head', 't1'));
      const batch = change('head', 't1', 't2', {
        ...COUNTED,
        set: [{ key: 'note', fields: { text: 'mine' } }],
        index: [{ index: 'i', id: 'x', score: 1 }],
      });
      await apply(bench, batch);
      const theirs = creation('other', 'o1', {
        set: [{ key: 'note', fields: { text: 'theirs' } }],
        index: [{ index: 'i', id: 'x', score: null }],
      });
      await apply(bench, theirs);
      const { outcome } = await commitOne(bench, batch);
      assert.equal(verdict(outcome), 'duplicate');
      assert.deepEqual(observed(outcome), [recordOf({ token: 't2' }), recordOf({ n: '1' })]);
      assert.deepEqual(await readOne(bench, 'note'), recordOf({ text: 'theirs' }));
      assert.deepEqual(await idsOf(bench, 'i'), []);
      await assertCountedOnce(bench);
    },
  },
  {
    law: 'S3',
    title: 'a removal of a record that is absent is a duplicate',
    async run(bench) {
      await apply(bench, creation('head', 't1'));
      const batch = change('head', 't1', null, COUNTED);
      await apply(bench, batch);
      const { outcome } = await commitOne(bench, batch);
      assert.equal(verdict(outcome), 'duplicate');
      assert.deepEqual(observed(outcome), [null, recordOf({ n: '1' })]);
      await assertCountedOnce(bench);
    },
  },
  {
    law: 'S3',
    title: 'a duplicate beside new batches of one call',
    async run(bench) {
      const first = creation('head', 't1', COUNTED);
      await apply(bench, first);
      const given = await verdicts(bench, creation('a', 'a1'), first, creation('b', 'b1'));
      assert.deepEqual(given, ['applied', 'duplicate', 'applied']);
      await assertCountedOnce(bench);
    },
  },
  {
    law: 'S3',
    title: 'a late duplicate of a creation does not bring a removed record back',
    run: lateCreation,
  },
  { law: 'S3', title: 'a late duplicate of a change does not undo a later one', run: lateChange },
  {
    law: 'S3',
    title: 'a request that arrives late for the first time applies once',
    async run(bench) {
      const batch = creation('head', 't1', COUNTED);
      const deliver = await held(bench, batch);
      await deliver();
      assert.deepEqual(await verdicts(bench, batch), ['duplicate']);
      await assertCountedOnce(bench);
    },
  },
  {
    law: 'S3',
    title: 'concurrent copies of a batch apply once',
    async run(bench) {
      const { partition } = bench;
      const batch = creation('head', 't1', COUNTED);
      const replies = await Promise.all(
        Array.from({ length: 6 }, (_, i) =>
          (i % 2 === 0 ? bench.storage : bench.second).commit(partition, [batch]),
        ),
      );
      const given = replies.map(({ outcomes }) => verdict(at(outcomes, 0))).toSorted();
      assert.deepEqual(given, ['applied', ...Array.from({ length: 5 }, () => 'duplicate')]);
      await assertCountedOnce(bench);
    },
  },
  {
    law: 'S3',
    title: 'a batch after its notAfter is expired and writes nothing',
    async run(bench) {
      const { nowMs } = await bench.storage.read(bench.partition, ['head']);
      const late = { ...creation('head', 't1', COUNTED), notAfter: nowMs - 1 };
      assert.deepEqual(await verdicts(bench, late), ['expired']);
      assert.equal(await readOne(bench, 'head'), null);
      assert.equal(await readOne(bench, 'counter'), null);
      assert.deepEqual(await eventTexts(bench, 'kind'), []);
      await apply(bench, creation('head', 't1'));
      assert.deepEqual(await verdicts(bench, { ...change('head', 't1', 't2'), notAfter: 1 }), ['expired']);
      assert.deepEqual(await readOne(bench, 'head'), recordOf({ token: 't1' }));
    },
  },
  {
    law: 'S3',
    title: 'a creation without notAfter is refused',
    async run(bench) {
      const open: Batch = { guard: { key: 'head', expect: null, next: 't1' } };
      assert.deepEqual(await verdicts(bench, open), ['refused INVALID']);
      assert.equal(await readOne(bench, 'head'), null);
    },
  },
  {
    law: 'S3',
    title: 'duplicate comes before expired, conflict and refused',
    async run(bench) {
      await atSecondToken(bench);
      const batch = { ...change('head', 't1', 't2', IMPOSSIBLE), notAfter: 1 };
      assert.deepEqual(await verdicts(bench, batch), ['duplicate']);
      assert.deepEqual(await verdicts(bench, change('head', 'other', 't2')), ['duplicate']);
    },
  },
  {
    law: 'S3',
    title: 'expired comes before conflict and refused',
    async run(bench) {
      await atSecondToken(bench);
      assert.deepEqual(await verdicts(bench, { ...change('head', 'other', 't3'), notAfter: 1 }), ['expired']);
      const impossible = change('head', 't2', 't3', IMPOSSIBLE);
      assert.deepEqual(await verdicts(bench, { ...impossible, notAfter: 1 }), ['expired']);
    },
  },
  {
    law: 'S3',
    title: 'conflict comes before refused',
    async run(bench) {
      await atSecondToken(bench);
      const impossible = { ...change('head', 'other', 't3', IMPOSSIBLE), notAfter: FAR };
      assert.deepEqual(await verdicts(bench, impossible), ['conflict with t2']);
    },
  },
];
