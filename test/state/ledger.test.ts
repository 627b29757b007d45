import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { toJsonText } from '../../src/domain/json.js';
import { Draft } from '../../src/state/draft.js';
import { decodeHead } from '../../src/state/head.js';
import { keys } from '../../src/state/keys.js';
import {
  bucketOf,
  bucketsFor,
  decodeEntry,
  decodeMark,
  ELSEWHERE,
  encodeMark,
  entries,
  INLINE_ENTRY,
  ITEM_PREFIX,
  itemsOf,
  STEP_FIELD,
} from '../../src/state/ledger.js';
import { Payloads } from '../../src/state/payloads.js';
import { placeCodec } from './place-codec.js';
import { create, hold, holder, HOME, taskInMemory } from './task-in-memory.js';

const plain = (text: string): string => text;

describe('entries', () => {
  it('property: a result comes back', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        const text = toJsonText(value, { what: 'it', maxBytes: 1_000_000 });
        expect(decodeEntry(entries.done(text), 'it', plain)).toEqual({
          state: 'done',
          value: JSON.parse(text),
        });
      }),
    );
  });

  it('tells the states apart', () => {
    const error = { name: 'E', message: 'm', code: 'C' };
    expect(decodeEntry(undefined, 'it', plain)).toBeNull();
    expect(decodeEntry(entries.done(null), 'it', plain)).toEqual({ state: 'done', value: undefined });
    expect(decodeEntry(entries.unstorable, 'it', plain)).toEqual({ state: 'unstorable' });
    expect(decodeEntry(entries.started, 'it', plain)).toEqual({ state: 'started' });
    expect(decodeEntry(entries.failed(JSON.stringify(error)), 'it', plain)).toEqual({
      state: 'failed',
      error,
    });
    expect(decodeEntry('f{}', 'it', plain)).toEqual({
      state: 'failed',
      error: { name: 'Error', message: '', code: null },
    });
  });

  it.each(['', '?', 'j', 'j{', 'f', 'f1', 'f[]', ELSEWHERE])('%j leaves its piece in doubt', (text) => {
    expect(decodeEntry(text, 'it', plain)).toEqual({ state: 'started' });
  });

  it('property: any text is decoded without an error', () => {
    fc.assert(fc.property(fc.string(), (text) => decodeEntry(text, 'it', plain) !== null));
  });
});

describe('sealed entries', () => {
  const payloads = new Payloads(placeCodec, 'ns');
  const open = (text: string): string => payloads.open(text, 't', 'step a');
  const error = { name: 'E', message: 'm', code: null };

  it('results and errors are opened, and nothing else is', () => {
    const sealed = (text: string): string => payloads.seal(text, 't', 'step a');
    expect(decodeEntry(entries.done(sealed('[1]')), 'it', open)).toEqual({ state: 'done', value: [1] });
    expect(decodeEntry(entries.failed(sealed(JSON.stringify(error))), 'it', open)).toEqual({
      state: 'failed',
      error,
    });
    const never = (): string => {
      throw new Error('nothing to open');
    };
    expect(decodeEntry(entries.done(null), 'it', never)).toEqual({ state: 'done', value: undefined });
    expect(decodeEntry(entries.unstorable, 'it', never)).toEqual({ state: 'unstorable' });
    expect(decodeEntry(entries.started, 'it', never)).toEqual({ state: 'started' });
  });

  it.each(['j', 'f'])(
    '%j of another place is out of reach, not in doubt: it would be run again',
    (letter) => {
      const elsewhere = letter + payloads.seal('{}', 't', 'step b');
      expect(() => decodeEntry(elsewhere, 'it', open)).toThrow(
        expect.objectContaining({ code: 'CODEC_FAILED' }),
      );
    },
  );
});

describe('itemsOf', () => {
  const mark = fc.record({ buckets: fc.constant(1), total: fc.nat(99), done: fc.nat(99), failed: fc.nat(9) });

  it('property: adds up all maps, and is null without one', () => {
    fc.assert(
      fc.property(fc.array(mark, { maxLength: 5 }), (marks) => {
        const items = itemsOf(new Map(marks.map((each, index) => [`map${index}`, each])));
        const sum = (part: 'done' | 'total'): number => marks.reduce((all, each) => all + each[part], 0);
        expect(items).toEqual(marks.length === 0 ? null : { done: sum('done'), total: sum('total') });
      }),
    );
  });
});

describe('buckets', () => {
  it.each([
    [0, 1],
    [1, 1],
    [1_000, 1],
    [1_001, 2],
    [100_000, 100],
    [10_000_000, 1_024],
  ])('%i items: %i records', (items, buckets) => {
    expect(bucketsFor(items)).toBe(buckets);
  });

  it('property: a key has one bucket, inside of the range', () => {
    fc.assert(
      fc.property(fc.string(), fc.integer({ min: 1, max: 1_024 }), (key, buckets) => {
        const bucket = bucketOf(key, buckets);
        return bucket === bucketOf(key, buckets) && bucket >= 0 && bucket < buckets;
      }),
    );
  });

  it('keys like those of users are spread evenly', () => {
    const sizes = new Map<number, number>();
    for (let n = 0; n < 100_000; n += 1) {
      const bucket = bucketOf(`page-${n}`, 100);
      sizes.set(bucket, (sizes.get(bucket) ?? 0) + 1);
    }
    expect(sizes.size).toBe(100);
    expect(Math.max(...sizes.values())).toBeLessThan(2_000);
  });
});

describe('marks', () => {
  const count = fc.nat();
  it('property: what is written is read', () => {
    const marks = fc.record({ buckets: fc.integer({ min: 1 }), total: count, done: count, failed: count });
    fc.assert(
      fc.property(marks, (mark) => {
        expect(decodeMark(encodeMark(mark))).toEqual(mark);
      }),
    );
  });

  it.each(['', '0,1,1,0', '-1,1,1,0', '1,x,1,0', '1.5,1,1,0'])('refuses %j', (text) => {
    expect(decodeMark(text)).toBeNull();
  });

  it('a head with an unusable mark is corrupt', async () => {
    const task = taskInMemory();
    await create(task);
    const { records } = await task.storage.read(HOME, [keys.head('t')]);
    const record = new Map(records[0] ?? []).set('m:pages', 'x');
    expect(() => decodeHead('t', record)).toThrow('m:pages');
  });
});

describe('a task that keeps pieces', () => {
  it('property: names and keys of any shape stay apart from each other and from other fields', async () => {
    const name = fc
      .string({ minLength: 1, maxLength: 20 })
      .map((text) => text.toWellFormed().replaceAll('\0', '0'));
    const steps = fc.uniqueArray(fc.tuple(name, fc.nat(2 * INLINE_ENTRY)), {
      selector: ([each]) => each,
      maxLength: 8,
    });
    const items = fc.uniqueArray(fc.tuple(name, name), {
      selector: ([map, key]) => `${map}\0${key}`,
      maxLength: 8,
    });
    await fc.assert(
      fc.asyncProperty(steps, items, async (someSteps, someItems) => {
        const task = taskInMemory();
        await create(task);
        const { live, write } = await hold(task, holder('w1'));
        const mark = { buckets: 3, total: 9, done: 1, failed: 0 };
        await write((draft) => {
          for (const [step, size] of someSteps)
            live.step(draft, step, entries.done(`"${step.length}${'x'.repeat(size)}"`));
          for (const [map, key] of someItems)
            live.item(draft, map, mark, key, entries.done(`"${map.length} ${key.length}"`));
        });
        const { pieces } = await task.head();
        expect([...pieces.steps.keys()].toSorted()).toEqual(someSteps.map(([step]) => step).toSorted());
        for (const [step, size] of someSteps) {
          let text = pieces.steps.get(step);
          if (text === ELSEWHERE) {
            const { records } = await task.storage.read(HOME, [keys.step('t', step)], [STEP_FIELD]);
            text = records[0]?.get(STEP_FIELD);
          }
          expect(text).toBe(entries.done(`"${step.length}${'x'.repeat(size)}"`));
        }
        for (const [map, key] of someItems) {
          expect(pieces.maps.get(map)).toEqual(mark);
          const { records } = await task.storage.read(HOME, [keys.ledger('t', map, bucketOf(key, 3))]);
          expect(records[0]?.get(`${ITEM_PREFIX}${key}`)).toBe(entries.done(`"${map.length} ${key.length}"`));
        }
      }),
    );
  });

  it('an item that is not to mark its map leaves nothing but where to find it', async () => {
    const draft = new Draft();
    const task = taskInMemory();
    await create(task);
    const { live } = await hold(task, holder('w1'));
    live.item(draft, 'm', { buckets: 1, total: 1, done: 1, failed: 0 }, 'a', 'u', false);
    expect(draft.batch({ key: 'k', expect: null, next: 'n' }, []).set).toEqual([
      { key: keys.ledger('t', 'm', 0), fields: { '=a': 'u' } },
      { key: keys.head('t'), fields: { 'd:m': '1' } },
    ]);
  });
});
