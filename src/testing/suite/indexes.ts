/** S5: indexes agree with records, and pages of an index with each other. */
import assert from 'node:assert/strict';
import { apply, at, change, creation, idsOf, pause, readOne } from './bench.js';
import type { Bench, LawCase } from './bench.js';
import type { Batch, IndexEntry, RangeQuery } from '../../storage/storage.js';

type IndexPart = NonNullable<Batch['index']>;

const EQUALS = 1000;

async function page(bench: Bench, query: Partial<RangeQuery>, index = 'i'): Promise<readonly IndexEntry[]> {
  return (await bench.storage.range(bench.partition, index, { limit: 100, ...query })).entries;
}

async function ids(bench: Bench, query: Partial<RangeQuery>): Promise<string[]> {
  return (await page(bench, query)).map(({ id }) => id);
}

function put(entries: Readonly<Record<string, number | null>>): IndexPart {
  return Object.entries(entries).map(([id, score]) => ({ index: 'i', id, score }));
}

async function oneToFive(bench: Bench): Promise<void> {
  await apply(bench, creation('head', 't1', { index: put({ c: 3, a: 1, e: 5, d: 4, b: 2 }) }));
}

/** Writes a growing number into a record and an index; what a reader sees of the index lies between two reads. */
async function inStep(bench: Bench): Promise<void> {
  const { partition, second } = bench;
  const at0 = (n: number): Pick<Batch, 'index' | 'set'> => ({
    set: [{ key: 'record', fields: { n: String(n) } }],
    index: [{ index: 'i', id: 'record', score: n }],
  });
  await apply(bench, creation('head', 't0', at0(0)));
  const writer = { done: false };
  const write = async (): Promise<void> => {
    for (let n = 1; n <= 40; n += 1) await apply(bench, change('head', `t${n - 1}`, `t${n}`, at0(n)));
  };
  const number = async (): Promise<number> =>
    Number(at((await second.read(partition, ['record'])).records, 0)?.get('n'));
  const look = async (): Promise<void> => {
    while (!writer.done) {
      const before = await number();
      const { entries } = await second.range(partition, 'i', { limit: 10 });
      const after = await number();
      assert.equal(entries.length, 1);
      const { score } = at(entries, 0);
      assert.ok(before <= score && score <= after, `record ${before} to ${after}, index ${score}`);
      await pause(0);
    }
  };
  const writing = write().finally(() => {
    writer.done = true;
  });
  await Promise.all([writing, look()]);
}

async function equalScores(bench: Bench, reverse: boolean): Promise<void> {
  const all = Array.from({ length: EQUALS }, (_, i) => `id-${String(i).padStart(4, '0')}`);
  const index = all.map((id) => ({ index: 'i', id, score: 7 }));
  await apply(bench, creation('head', 't0', { index: index.toReversed() }));
  const seen: string[] = [];
  let after: IndexEntry | undefined;
  for (let round = 0; seen.length <= EQUALS; round += 1) {
    const entries = await page(bench, { limit: 90, reverse, ...(after === undefined ? {} : { after }) });
    if (entries.length === 0) break;
    seen.push(...entries.map(({ id }) => id));
    after = entries.at(-1);
    // The whole page is removed, the entry at the cursor included.
    const gone = entries.map(({ id }) => ({ index: 'i', id, score: null }));
    await apply(bench, change('head', `t${round}`, `t${round + 1}`, { index: gone }));
  }
  assert.deepEqual(seen, reverse ? all.toReversed() : all);
  assert.equal(await bench.storage.count(bench.partition, 'i'), 0);
}

/** In the order of UTF-8 bytes, in which U+FFFF stands before what UTF-16 writes with surrogates. */
const BY_BYTES = [
  '!',
  'A',
  'Z',
  'a',
  'aa',
  'b',
  'z',
  '~',
  'é',
  '中',
  '\uE000',
  '\uFFFD',
  '\uFFFF',
  '😀',
  '\u{10FFFF}',
];

async function ties(bench: Bench): Promise<void> {
  const shuffled = BY_BYTES.map((_, i) => at(BY_BYTES, (i * 7) % BY_BYTES.length));
  assert.equal(new Set(shuffled).size, BY_BYTES.length);
  await apply(bench, creation('head', 't1', { index: shuffled.map((id) => ({ index: 'i', id, score: 1 })) }));
  assert.deepEqual(await ids(bench, {}), BY_BYTES);
  assert.deepEqual(await ids(bench, { reverse: true }), BY_BYTES.toReversed());
  for (const [place, id] of BY_BYTES.entries()) {
    assert.deepEqual(
      await ids(bench, { after: { score: 1, id }, limit: 2 }),
      BY_BYTES.slice(place + 1, place + 3),
    );
  }
}

/** The cases of S5. */
export const indexCases: readonly LawCase[] = [
  {
    law: 'S5',
    title: 'an index follows its batch: put, moved, taken out',
    async run(bench) {
      await apply(bench, creation('head', 't1', { index: put({ a: 1, b: 2 }) }));
      assert.deepEqual(await idsOf(bench, 'i'), ['a', 'b']);
      await apply(bench, change('head', 't1', 't2', { index: put({ a: 3 }) }));
      assert.deepEqual(await page(bench, {}), [
        { id: 'b', score: 2 },
        { id: 'a', score: 3 },
      ]);
      await apply(bench, change('head', 't2', 't3', { index: put({ b: null, never: null }) }));
      assert.deepEqual(await page(bench, {}), [{ id: 'a', score: 3 }]);
      assert.deepEqual(await page(bench, {}, 'another'), []);
    },
  },
  {
    law: 'S5',
    title: 'of two entries for one id in a batch the last counts',
    async run(bench) {
      const index = [
        ...put({ a: 1, b: null }),
        ...put({ a: null, b: 2 }),
        ...put({ c: 3 }),
        ...put({ c: 4 }),
      ];
      await apply(bench, creation('head', 't1', { index }));
      assert.deepEqual(await page(bench, {}), [
        { id: 'b', score: 2 },
        { id: 'c', score: 4 },
      ]);
    },
  },
  { law: 'S5', title: 'a reader never sees record and index apart', run: inStep },
  {
    law: 'S5',
    title: 'both bounds of a range are included',
    async run(bench) {
      await oneToFive(bench);
      assert.deepEqual(await ids(bench, { from: 2, to: 4 }), ['b', 'c', 'd']);
      assert.deepEqual(await ids(bench, { from: 2.5 }), ['c', 'd', 'e']);
      assert.deepEqual(await ids(bench, { to: 2 }), ['a', 'b']);
      assert.deepEqual(await ids(bench, { from: 4, to: 2 }), []);
      assert.deepEqual(await ids(bench, { from: 2, to: 4, reverse: true }), ['d', 'c', 'b']);
      assert.deepEqual(await ids(bench, { from: 2, to: 4, limit: 2, reverse: true }), ['d', 'c']);
    },
  },
  {
    law: 'S5',
    title: 'a cursor stands between its neighbours, also when its entry is gone or never was',
    async run(bench) {
      await oneToFive(bench);
      await apply(bench, change('head', 't1', 't2', { index: put({ c: null }) }));
      const after = { score: 3, id: 'c' };
      assert.deepEqual(await ids(bench, { after }), ['d', 'e']);
      assert.deepEqual(await ids(bench, { after, reverse: true }), ['b', 'a']);
      assert.deepEqual(await ids(bench, { after, from: 1, to: 4 }), ['d']);
      assert.deepEqual(await ids(bench, { after: { score: 4, id: 'a' } }), ['d', 'e']);
      assert.deepEqual(await ids(bench, { after: { score: 4, id: 'z' } }), ['e']);
      assert.deepEqual(await ids(bench, { after: { score: 0, id: 'z' }, from: 2 }), ['b', 'd', 'e']);
      assert.deepEqual(await ids(bench, { after: { score: 9, id: 'z' }, to: 2, reverse: true }), ['b', 'a']);
      assert.deepEqual(await ids(bench, { after: { score: 9, id: 'z' } }), []);
    },
  },
  {
    law: 'S5',
    title: 'an entry that moves ahead of the cursor is met again, never lost',
    async run(bench) {
      await oneToFive(bench);
      const first = await page(bench, { limit: 2 });
      await apply(bench, change('head', 't1', 't2', { index: put({ a: 9 }) }));
      assert.deepEqual(await ids(bench, { after: at(first, 1) }), ['c', 'd', 'e', 'a']);
    },
  },
  {
    law: 'S5',
    title: 'a count has the bounds of a range',
    async run(bench) {
      const { partition, storage } = bench;
      await oneToFive(bench);
      assert.equal(await storage.count(partition, 'i'), 5);
      assert.equal(await storage.count(partition, 'i', { from: 2, to: 4 }), 3);
      assert.equal(await storage.count(partition, 'i', { from: 6 }), 0);
      assert.equal(await storage.count(partition, 'i', { to: 1 }), 1);
      assert.equal(await storage.count(partition, 'never'), 0);
    },
  },
  { law: 'S5', title: 'ties stand in the order of the bytes of their ids', run: ties },
  {
    law: 'S5',
    title: 'a thousand equal scores, paged while the pages are removed',
    run: (bench) => equalScores(bench, false),
  },
  {
    law: 'S5',
    title: 'a thousand equal scores, paged backwards while the pages are removed',
    run: (bench) => equalScores(bench, true),
  },
  {
    law: 'S5',
    title: 'scores come back exactly',
    async run(bench) {
      const scores = [
        -1e300,
        Number.MIN_SAFE_INTEGER,
        -1.5,
        0,
        0.1,
        1 / 3,
        1_784_000_000_123.25,
        2 ** 53 - 1,
        1e21,
      ];
      const index = scores.map((score, i) => ({ index: 'i', id: `id-${i}`, score }));
      await apply(bench, creation('head', 't1', { index }));
      assert.deepEqual(
        (await page(bench, {})).map(({ score }) => score),
        scores,
      );
      for (const [i, score] of scores.entries()) {
        assert.deepEqual(await ids(bench, { from: score, to: score }), [`id-${i}`]);
        assert.deepEqual(
          await ids(bench, { after: { score, id: `id-${i}` }, limit: 1 }),
          scores[i + 1] === undefined ? [] : [`id-${i + 1}`],
        );
      }
    },
  },
  {
    law: 'S5',
    title: 'a refused or late batch leaves the index as it is',
    async run(bench) {
      await oneToFive(bench);
      const index = put({ a: null, z: 1 });
      await bench.storage.commit(bench.partition, [
        change('head', 'other', 't2', { index }),
        { ...change('head-2', 't1', 't2', { index }), notAfter: 1 },
        change('head-3', 't1', 't1', { index }),
      ]);
      assert.equal((await readOne(bench, 'head'))?.get('token'), 't1');
      assert.deepEqual(await ids(bench, {}), ['a', 'b', 'c', 'd', 'e']);
    },
  },
];
