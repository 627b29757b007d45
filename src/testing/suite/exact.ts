/** S7: texts come back as they went in, or the batch is refused before anything is written. */
import assert from 'node:assert/strict';
import { MAX_VALUE_BYTES } from '../../storage/storage.js';
import {
  apply,
  change,
  creation,
  eventTexts,
  fastCheck,
  idsOf,
  propertyOptions,
  readOne,
  recordOf,
  verdict,
  verdicts,
} from './bench.js';
import type { Bench, LawCase } from './bench.js';
import type { Batch, Fields } from '../../storage/storage.js';

const LONE = '\uD800';
const AWKWARD: readonly string[] = [
  '',
  ' ',
  '0',
  '007',
  '-0',
  '1e3',
  '9007199254740993',
  '0.1',
  'null',
  'NaN',
  '\0',
  'a\0b\0',
  '\n\r\n\t',
  '"\\\'`',
  '{"a":[1,2.0,{}],"b":9007199254740993}',
  '[]',
  '{}',
  '\uFEFFbom',
  'é e\u0301',
  '\uFFFF\uFFFD',
  '😀\u{10FFFF}',
  'line\u2028separator',
  `${'['.repeat(1000)}${']'.repeat(1000)}`,
];
const NAMES: readonly string[] = [
  '__proto__',
  'constructor',
  'toString',
  'hasOwnProperty',
  '0',
  ' ',
  'a:b',
  '{a}b',
  '}{',
  '*',
  '%s',
  "';--",
  'é',
  'e\u0301',
  '😀',
  '\uFFFF',
  'x'.repeat(1024),
];

async function values(bench: Bench): Promise<void> {
  const fields: Fields = Object.fromEntries(AWKWARD.map((text, i) => [`f${i}`, text]));
  await apply(bench, creation('head', 't1', { set: [{ key: 'head', fields }], append: [fields] }));
  const record = await readOne(bench, 'head');
  const { events } = await bench.storage.events(bench.partition, { after: null, limit: 1 });
  for (const [i, text] of AWKWARD.entries()) {
    assert.equal(record?.get(`f${i}`), text, `value ${i}`);
    assert.equal(events[0]?.fields.get(`f${i}`), text, `value ${i} of an event`);
  }
}

async function names(bench: Bench): Promise<void> {
  const fields: Fields = Object.fromEntries(NAMES.map((name, i) => [name, String(i)]));
  const batches = NAMES.map((key) =>
    creation(key, `token of ${key}`.slice(0, 1024), {
      set: [{ key, fields }],
      index: [
        { index: 'i', id: key, score: 1 },
        { index: key, id: 'x', score: 1 },
      ],
      increment: [{ key: 'counters', field: key, by: 1 }],
      observe: [key],
    }),
  );
  const reply = await apply(bench, ...batches);
  const { records } = await bench.storage.read(bench.partition, NAMES);
  const counters = await readOne(bench, 'counters');
  for (const [i, key] of NAMES.entries()) {
    const expected = recordOf(Object.fromEntries(NAMES.map((name, n) => [name, String(n)])));
    expected.set('token', `token of ${key}`.slice(0, 1024));
    assert.deepEqual(records[i], expected, `record ${key}`);
    const outcome = reply.outcomes[i];
    assert.deepEqual(outcome && 'observed' in outcome ? outcome.observed : null, [expected]);
    assert.deepEqual(await readOne(bench, key, [key]), new Map([[key, String(i)]]));
    assert.deepEqual(await idsOf(bench, key), ['x']);
    assert.equal(counters?.get(key), '1');
  }
  assert.deepEqual((await idsOf(bench, 'i')).toSorted(), NAMES.toSorted());
}

/** Batches of which each is refused for one text that is not well formed. */
function unsafe(): readonly [string, Batch][] {
  const set = (fields: Fields, key = 'other'): Batch =>
    creation('head', 't1', {
      set: [
        { key: 'before', fields: { x: '1' } },
        { key, fields },
      ],
    });
  return [
    ['value', set({ x: `a${LONE}` })],
    ['low surrogate', set({ x: '\uDC00b' })],
    ['field', set({ [LONE]: 'x' })],
    ['key', set({ x: '1' }, LONE)],
    ['guard', creation(LONE, 't1', { set: [{ key: 'before', fields: { x: '1' } }] })],
    ['token', creation('head', LONE)],
    ['id', creation('head', 't1', { index: [{ index: 'i', id: LONE, score: 1 }] })],
    ['index', creation('head', 't1', { index: [{ index: LONE, id: 'x', score: 1 }] })],
    ['event', creation('head', 't1', { append: [{ n: 'first' }, { n: LONE }] })],
    ['counter', creation('head', 't1', { increment: [{ key: 'before', field: LONE, by: 1 }] })],
  ];
}

async function wellFormed(bench: Bench): Promise<void> {
  for (const [what, batch] of unsafe()) {
    assert.deepEqual(await verdicts(bench, batch), ['refused NOT_WELL_FORMED'], what);
  }
  const { records } = await bench.storage.read(bench.partition, ['head', 'before', 'other']);
  assert.deepEqual(records, [null, null, null], 'a refused batch wrote');
  assert.deepEqual(await eventTexts(bench, 'n'), []);
}

async function counters(bench: Bench): Promise<void> {
  const most = 999_999_999_999_999;
  const add = (by: number): Pick<Batch, 'increment'> => ({ increment: [{ key: 'counter', field: 'n', by }] });
  await apply(
    bench,
    creation('a', 'a1', add(most)),
    creation('b', 'b1', { set: [{ key: 'text', fields: { n: '1.0' } }] }),
  );
  assert.deepEqual(await readOne(bench, 'counter'), recordOf({ n: String(most) }));
  assert.deepEqual(await verdicts(bench, change('a', 'a1', 'a2', add(1))), ['refused NOT_A_NUMBER']);
  await apply(bench, change('a', 'a1', 'a2', add(-1)));
  assert.deepEqual(await readOne(bench, 'counter'), recordOf({ n: String(most - 1) }));
  const down = [add(-most), add(-most), add(1 - most)];
  const given = await verdicts(bench, ...down.map((part, i) => creation(`d${i}`, 'd', part)));
  assert.deepEqual(given, ['applied', 'refused NOT_A_NUMBER', 'applied']);
  const text = change('b', 'b1', 'b2', { increment: [{ key: 'text', field: 'n', by: 1 }] });
  assert.deepEqual(await verdicts(bench, text), ['refused NOT_A_NUMBER']);
  for (const by of [0.5, Number.NaN, Number.POSITIVE_INFINITY, 1e15]) {
    assert.deepEqual(
      await verdicts(bench, change('b', 'b1', 'b2', add(by))),
      ['refused INVALID'],
      String(by),
    );
  }
}

async function anyText(bench: Bench): Promise<void> {
  const fc = await fastCheck();
  const text = fc.string({
    unit: fc.integer({ min: 0, max: 0xffff }).map((unit) => String.fromCharCode(unit)),
  });
  const value = fc.oneof(fc.string({ unit: 'binary' }), fc.json(), text);
  const name = fc
    .string({ unit: 'binary', minLength: 1, maxLength: 20 })
    .map((s) => `n${s.replaceAll('\0', '-')}`);
  const record = fc.dictionary(name, value, { minKeys: 1, maxKeys: 5 });
  const property = fc.asyncProperty(record, name, async (fields, key) => {
    const partition = bench.freshPartition();
    const { outcomes } = await bench.storage.commit(partition, [
      creation(key, 't1', { set: [{ key, fields }] }),
    ]);
    const { records } = await bench.storage.read(partition, [key]);
    const clean = Object.values(fields).every((part) => part.isWellFormed());
    const given = outcomes.map(verdict);
    assert.deepEqual(given, [clean ? 'applied' : 'refused NOT_WELL_FORMED']);
    assert.deepEqual(records, [clean ? new Map([...Object.entries(fields), ['token', 't1']]) : null]);
  });
  await fc.assert(property, propertyOptions(bench));
}

/** The cases of S7. */
export const exactCases: readonly LawCase[] = [
  { law: 'S7', title: 'awkward values come back exactly, from records and events', run: values },
  { law: 'S7', title: 'awkward names of keys, fields, ids and indexes work', run: names },
  { law: 'S7', title: 'any text comes back exactly, or is refused', run: anyText },
  {
    law: 'S7',
    title: 'a lone surrogate is refused wherever it stands, and nothing is written',
    run: wellFormed,
  },
  { law: 'S7', title: 'counters are exact, and bounded', run: counters },
  {
    law: 'S7',
    title: 'a value of 1 MiB comes back exactly',
    async run(bench) {
      const text = `${'é'.repeat(2 ** 19 - 1)}z\n`;
      await apply(
        bench,
        creation('head', 't1', { set: [{ key: 'big', fields: { text } }], observe: ['big'] }),
      );
      assert.ok((await readOne(bench, 'big'))?.get('text') === text, 'the value differs');
    },
  },
  {
    law: 'S7',
    title: 'a value over the limit is refused, one at the limit is not',
    async run(bench) {
      const set = (text: string): Batch =>
        creation('head', 't1', { set: [{ key: 'big', fields: { text } }] });
      const most = 'é'.repeat(MAX_VALUE_BYTES / 2);
      assert.deepEqual(await verdicts(bench, set(`${most}z`)), ['refused TOO_LARGE']);
      assert.equal(await readOne(bench, 'head'), null);
      await apply(bench, set(most));
      assert.ok((await readOne(bench, 'big', ['text']))?.get('text') === most, 'the value differs');
    },
  },
  {
    law: 'S7',
    title: 'a read of some fields has those that exist, and nothing is null',
    async run(bench) {
      await apply(bench, creation('head', 't1', { set: [{ key: 'head', fields: { x: '1', y: '' } }] }));
      assert.deepEqual(await readOne(bench, 'head', ['y', 'z']), recordOf({ y: '' }));
      assert.equal(await readOne(bench, 'head', ['z']), null);
      assert.equal(await readOne(bench, 'never', ['x']), null);
      const keys = ['head', 'never', 'head'];
      const { records } = await bench.storage.read(bench.partition, keys, ['token']);
      assert.deepEqual(records, [recordOf({ token: 't1' }), null, recordOf({ token: 't1' })]);
    },
  },
];
