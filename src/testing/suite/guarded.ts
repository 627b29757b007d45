/** S2: a batch applies only if the guarded record's token is the expected one. */
import assert from 'node:assert/strict';
import { apply, at, change, creation, eventTexts, readOne, recordOf, verdict, verdicts } from './bench.js';
import type { Bench, LawCase } from './bench.js';
import type { Storage } from '../../storage/storage.js';

const WRITERS = 4;
const INCREMENTS = 12;
/** Each round somebody applies, so a fair store never comes near. */
const MOST_TRIES = 1000;

/** Adds one to a counter that lives beside the guard, by compare-and-set, until it has done so `times` times. */
async function addByHand(bench: Bench, storage: Storage, times: number): Promise<void> {
  const { partition } = bench;
  let added = 0;
  for (let tries = 0; added < times; tries += 1) {
    assert.ok(tries < MOST_TRIES, 'one of several writers never gets through');
    const { records } = await storage.read(partition, ['head']);
    const head = at(records, 0);
    const n = String(Number(head?.get('n')) + 1);
    const batch = change('head', head?.get('token') ?? '', bench.token(), {
      set: [{ key: 'head', fields: { n } }],
      append: [{ n }],
    });
    const reply = await storage.commit(partition, [batch]);
    const outcome = at(reply.outcomes, 0);
    if (outcome.status === 'applied') added += 1;
    else assert.equal(outcome.status, 'conflict');
  }
}

async function concurrentWriters(bench: Bench): Promise<void> {
  await apply(bench, creation('head', bench.token(), { set: [{ key: 'head', fields: { n: '0' } }] }));
  const writers = Array.from({ length: WRITERS }, (_, i) => (i % 2 === 0 ? bench.storage : bench.second));
  await Promise.all(writers.map((storage) => addByHand(bench, storage, INCREMENTS)));
  const total = WRITERS * INCREMENTS;
  assert.equal((await readOne(bench, 'head'))?.get('n'), String(total), 'an update was lost');
  const expected = Array.from({ length: total }, (_, i) => String(i + 1));
  assert.deepEqual(await eventTexts(bench, 'n'), expected);
}

/** The cases of S2. */
export const guardedCases: readonly LawCase[] = [
  {
    law: 'S2',
    title: 'a token other than the expected is a conflict, and is told',
    async run(bench) {
      await apply(bench, creation('head', 't1'));
      const writing = { set: [{ key: 'other', fields: { x: '1' } }], append: [{ kind: 'x' }] };
      assert.deepEqual(await verdicts(bench, change('head', 't0', 't2', writing)), ['conflict with t1']);
      assert.deepEqual(await readOne(bench, 'head'), recordOf({ token: 't1' }));
      assert.equal(await readOne(bench, 'other'), null);
      assert.deepEqual(await eventTexts(bench, 'kind'), []);
    },
  },
  {
    law: 'S2',
    title: 'a change of a record that does not exist is a conflict with nothing',
    async run(bench) {
      assert.deepEqual(await verdicts(bench, change('head', 't1', 't2')), ['conflict with nothing']);
      assert.equal(await readOne(bench, 'head'), null);
    },
  },
  {
    law: 'S2',
    title: 'a creation of a record that exists is a conflict',
    async run(bench) {
      await apply(bench, creation('head', 't1'));
      assert.deepEqual(await verdicts(bench, creation('head', 't2')), ['conflict with t1']);
    },
  },
  {
    law: 'S2',
    title: 'a removal with another token is a conflict',
    async run(bench) {
      await apply(bench, creation('head', 't1', { set: [{ key: 'head', fields: { x: '1' } }] }));
      assert.deepEqual(await verdicts(bench, change('head', 't0', null)), ['conflict with t1']);
      assert.deepEqual(await readOne(bench, 'head'), recordOf({ token: 't1', x: '1' }));
    },
  },
  {
    law: 'S2',
    title: 'the token becomes the next one, and removal takes the whole record',
    async run(bench) {
      await apply(bench, creation('head', 't1', { set: [{ key: 'head', fields: { x: '1' } }] }));
      await apply(bench, change('head', 't1', 't2', { set: [{ key: 'head', fields: { y: '2' } }] }));
      assert.deepEqual(await readOne(bench, 'head'), recordOf({ token: 't2', x: '1', y: '2' }));
      await apply(bench, change('head', 't2', null));
      assert.equal(await readOne(bench, 'head'), null);
      await apply(bench, creation('head', 't3'));
      assert.deepEqual(await readOne(bench, 'head'), recordOf({ token: 't3' }));
    },
  },
  {
    law: 'S2',
    title: 'a token is compared as it is, not as a number or without case',
    async run(bench) {
      await apply(bench, creation('head', '1'));
      for (const near of ['01', '1.0', '1 ', ' 1', '1e0']) {
        assert.deepEqual(await verdicts(bench, change('head', near, 't2')), ['conflict with 1']);
      }
      await apply(bench, change('head', '1', 'a'));
      assert.deepEqual(await verdicts(bench, change('head', 'A', 't2')), ['conflict with a']);
    },
  },
  { law: 'S2', title: 'concurrent writers lose no update', run: concurrentWriters },
  {
    law: 'S2',
    title: 'of concurrent creations one applies',
    async run(bench) {
      const { partition } = bench;
      const replies = await Promise.all(
        Array.from({ length: 8 }, (_, i) =>
          (i % 2 === 0 ? bench.storage : bench.second).commit(partition, [
            creation('head', `t${i}`, { increment: [{ key: 'counter', field: 'n', by: 1 }] }),
          ]),
        ),
      );
      const given = replies.map(({ outcomes }) => verdict(at(outcomes, 0)));
      assert.equal(given.filter((word) => word === 'applied').length, 1, given.join(', '));
      const winner = `t${given.indexOf('applied')}`;
      assert.equal(given.filter((word) => word === `conflict with ${winner}`).length, 7, given.join(', '));
      assert.deepEqual(await readOne(bench, 'counter'), recordOf({ n: '1' }));
    },
  },
];
