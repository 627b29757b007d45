/** S1: a batch applies whole or not at all. */
import assert from 'node:assert/strict';
import {
  apply,
  at,
  change,
  commitOne,
  creation,
  eventTexts,
  fault,
  idsOf,
  observed,
  pause,
  readOne,
  recordOf,
  verdict,
  verdicts,
} from './bench.js';
import type { Bench, LawCase } from './bench.js';
import type { Batch } from '../../storage/storage.js';

/** A batch with something in every part, that is refused because a counter holds a text. */
function refusedBatch(key: string, expect: string, next: string): Batch {
  return change(key, expect, next, {
    remove: ['to-remove'],
    unset: [{ key: 'to-unset', fields: ['x'] }],
    set: [{ key: 'to-set', fields: { x: '2' } }],
    increment: [
      { key: 'counter', field: 'n', by: 1 },
      { key: 'no-counter', field: 'n', by: 1 },
    ],
    index: [{ index: 'by-score', id: 'late', score: 1 }],
    append: [{ kind: 'late' }],
  });
}

async function seedForRefusal(bench: Bench, key: string, token: string): Promise<void> {
  await apply(
    bench,
    creation(key, token, {
      set: [
        { key: 'to-remove', fields: { x: '1' } },
        { key: 'to-unset', fields: { x: '1', y: '1' } },
        { key: 'to-set', fields: { x: '1' } },
        { key: 'no-counter', fields: { n: 'seven' } },
      ],
      index: [{ index: 'by-score', id: 'early', score: 1 }],
      append: [{ kind: 'early' }],
    }),
  );
}

async function snapshot(bench: Bench, keys: readonly string[]): Promise<unknown[]> {
  const { records } = await bench.storage.read(bench.partition, keys);
  return [records, await idsOf(bench, 'by-score'), await eventTexts(bench, 'kind')];
}

async function everyPart(bench: Bench): Promise<void> {
  await apply(
    bench,
    creation('head', 't1', {
      set: [
        { key: 'gone', fields: { x: '1' } },
        { key: 'kept', fields: { x: '1', y: '2', z: '3' } },
      ],
      index: [{ index: 'by-score', id: 'out', score: 5 }],
    }),
  );
  const reply = await apply(
    bench,
    change('head', 't1', 't2', {
      observe: ['head', 'gone', 'kept', 'counter', 'never'],
      remove: ['gone'],
      unset: [{ key: 'kept', fields: ['x', 'absent'] }],
      set: [
        { key: 'kept', fields: { y: 'two' } },
        { key: 'head', fields: { state: 'on' } },
      ],
      increment: [
        { key: 'counter', field: 'n', by: 5 },
        { key: 'counter', field: 'n', by: -7 },
      ],
      index: [
        { index: 'by-score', id: 'out', score: null },
        { index: 'by-score', id: 'in', score: 7 },
      ],
      append: [{ kind: 'first' }, { kind: 'second' }],
    }),
  );
  const expected = [
    recordOf({ token: 't2', state: 'on' }),
    null,
    recordOf({ y: 'two', z: '3' }),
    recordOf({ n: '-2' }),
    null,
  ];
  assert.deepEqual(observed(at(reply.outcomes, 0)), expected, 'observed is the state after the batch');
  const { records } = await bench.storage.read(bench.partition, ['head', 'gone', 'kept', 'counter', 'never']);
  assert.deepEqual(records, expected);
  assert.deepEqual(await idsOf(bench, 'by-score'), ['in']);
  assert.deepEqual(await eventTexts(bench, 'kind'), ['first', 'second']);
}

async function noHalves(bench: Bench): Promise<void> {
  const { partition } = bench;
  await apply(bench, creation('head', 't0', { set: pair(0) }));
  const writer = { done: false };
  const write = async (): Promise<void> => {
    for (let n = 1; n <= 40; n += 1)
      await apply(bench, change('head', `t${n - 1}`, `t${n}`, { set: pair(n) }));
  };
  const look = async (): Promise<void> => {
    while (!writer.done) {
      const { records } = await bench.second.read(partition, ['left', 'right', 'head']);
      const [left, right, head] = records;
      assert.equal(left?.get('n'), right?.get('n'), 'a read saw half of a batch');
      assert.equal(head?.get('token'), `t${left?.get('n') ?? ''}`, 'a read saw half of a batch');
      await pause(0);
    }
  };
  const writing = write().finally(() => {
    writer.done = true;
  });
  await Promise.all([writing, look()]);
}

function pair(n: number): { key: string; fields: Record<string, string> }[] {
  return ['left', 'right'].map((key) => ({ key, fields: { n: String(n) } }));
}

async function wrongType(bench: Bench, second: (key: string) => Batch): Promise<void> {
  await apply(bench, creation('a', 'a1'), creation('b', 'b1'), creation('c', 'c1'));
  await fault(bench, 'corrupt')(bench.partition, 'broken');
  const counted = { increment: [{ key: 'counter', field: 'n', by: 1 }], append: [{ kind: 'counted' }] };
  const given = await verdicts(
    bench,
    change('a', 'a1', 'a2', counted),
    second('broken'),
    change('c', 'c1', 'c2', counted),
  );
  assert.deepEqual(given, ['applied', 'refused WRONG_TYPE', 'applied']);
  assert.deepEqual(await readOne(bench, 'counter'), recordOf({ n: '2' }));
  assert.deepEqual(await readOne(bench, 'b'), recordOf({ token: 'b1' }), 'the refused batch wrote');
  assert.equal(await readOne(bench, 'before'), null, 'the refused batch wrote');
  assert.deepEqual(await eventTexts(bench, 'kind'), ['counted', 'counted']);
}

/** The cases of S1. */
export const atomicCases: readonly LawCase[] = [
  { law: 'S1', title: 'every part of a batch applies, and observe sees the state after it', run: everyPart },
  {
    law: 'S1',
    title: 'a refused batch writes nothing in any of its parts',
    async run(bench) {
      await seedForRefusal(bench, 'head', 't1');
      const keys = ['head', 'to-remove', 'to-unset', 'to-set', 'counter', 'no-counter'];
      const before = await snapshot(bench, keys);
      const { outcome } = await commitOne(bench, refusedBatch('head', 't1', 't2'));
      assert.equal(verdict(outcome), 'refused NOT_A_NUMBER');
      assert.deepEqual(await snapshot(bench, keys), before);
    },
  },
  {
    law: 'S1',
    title: 'a refused batch leaves its neighbours alone',
    async run(bench) {
      await seedForRefusal(bench, 'b', 'b1');
      const given = await verdicts(
        bench,
        creation('a', 'a1', { append: [{ kind: 'a' }] }),
        refusedBatch('b', 'b1', 'b2'),
        change('d', 'd1', 'd2'),
        creation('c', 'c1', { append: [{ kind: 'c' }], increment: [{ key: 'counter', field: 'n', by: 1 }] }),
      );
      assert.deepEqual(given, ['applied', 'refused NOT_A_NUMBER', 'conflict with nothing', 'applied']);
      assert.deepEqual(await readOne(bench, 'counter'), recordOf({ n: '1' }));
      assert.deepEqual(await eventTexts(bench, 'kind'), ['early', 'a', 'c']);
    },
  },
  {
    law: 'S1',
    title: 'a record of a wrong type in the second batch of three',
    run: (bench) =>
      wrongType(bench, (broken) =>
        change('b', 'b1', 'b2', {
          set: [
            { key: 'before', fields: { x: '1' } },
            { key: broken, fields: { x: '1' } },
          ],
          append: [{ kind: 'never' }],
        }),
      ),
  },
  {
    law: 'S1',
    title: 'a guard of a wrong type in the second batch of three',
    run: (bench) =>
      wrongType(bench, (broken) =>
        creation(broken, 'x1', { set: [{ key: 'before', fields: { x: '1' } }], append: [{ kind: 'never' }] }),
      ),
  },
  {
    law: 'S1',
    title: 'a counter of a wrong type in the second batch of three',
    run: (bench) =>
      wrongType(bench, (broken) =>
        change('b', 'b1', 'b2', {
          set: [{ key: 'before', fields: { x: '1' } }],
          increment: [{ key: broken, field: 'n', by: 1 }],
          append: [{ kind: 'never' }],
        }),
      ),
  },
  { law: 'S1', title: 'a reader never sees half a batch', run: noHalves },
  {
    law: 'S1',
    title: 'remove applies before unset, unset before set',
    async run(bench) {
      await apply(
        bench,
        creation('head', 't1', {
          set: [
            { key: 'a', fields: { old: '1', x: '1' } },
            { key: 'b', fields: { old: '1', x: '1' } },
          ],
        }),
      );
      await apply(
        bench,
        change('head', 't1', 't2', {
          set: [
            { key: 'a', fields: { x: '2' } },
            { key: 'b', fields: { x: '2' } },
          ],
          unset: [{ key: 'b', fields: ['x', 'old'] }],
          remove: ['a'],
        }),
      );
      assert.deepEqual(await readOne(bench, 'a'), recordOf({ x: '2' }));
      assert.deepEqual(await readOne(bench, 'b'), recordOf({ x: '2' }));
    },
  },
  {
    law: 'S1',
    title: 'a later batch of a call sees the earlier',
    async run(bench) {
      const add = { increment: [{ key: 'counter', field: 'n', by: 1 }], observe: ['counter', 'a'] };
      const reply = await apply(bench, creation('a', 'a1', add), creation('b', 'b1', add));
      assert.deepEqual(observed(at(reply.outcomes, 0)), [recordOf({ n: '1' }), recordOf({ token: 'a1' })]);
      assert.deepEqual(observed(at(reply.outcomes, 1)), [recordOf({ n: '2' }), recordOf({ token: 'a1' })]);
    },
  },
  {
    law: 'S1',
    title: 'a record that loses its last field does not exist',
    async run(bench) {
      await apply(bench, creation('head', 't1', { set: [{ key: 'a', fields: { x: '1', y: '1' } }] }));
      await apply(bench, change('head', 't1', 't2', { unset: [{ key: 'a', fields: ['x', 'y'] }] }));
      assert.equal(await readOne(bench, 'a'), null);
    },
  },
  {
    law: 'S1',
    title: 'a partition knows nothing of another',
    async run(bench) {
      const other = bench.freshPartition();
      await apply(
        bench,
        creation('head', 't1', { index: [{ index: 'i', id: 'x', score: 1 }], append: [{ kind: 'x' }] }),
      );
      const { records } = await bench.storage.read(other, ['head']);
      assert.deepEqual(records, [null]);
      assert.equal(await bench.storage.count(other, 'i'), 0);
      assert.deepEqual((await bench.storage.range(other, 'i', { limit: 10 })).entries, []);
      assert.deepEqual((await bench.storage.events(other, { after: null, limit: 10 })).events, []);
      const reply = await bench.storage.commit(other, [creation('head', 't1')]);
      assert.deepEqual(reply.outcomes.map(verdict), ['applied']);
    },
  },
];
