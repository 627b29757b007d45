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
  STEP_FIELD,
} from '../../src/state/ledger.js';
import { create, hold, holder, HOME, taskInMemory } from './task-in-memory.js';

describe('entries', () => {
  it('property: a result comes back', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        const text = toJsonText(value, { what: 'it', maxBytes: 1_000_000 });
        expect(decodeEntry(entries.done(text), 'it')).toEqual({ state: 'done', value: JSON.parse(text) });
      }),
    );
  });

  it('tells the states apart', () => {
    const error = { name: 'E', message: 'm', code: 'C' };
    expect(decodeEntry(undefined, 'it')).toBeNull();
    expect(decodeEntry(entries.done(null), 'it')).toEqual({ state: 'done', value: undefined });
    expect(decodeEntry(entries.unstorable, 'it')).toEqual({ state: 'unstorable' });
    expect(decodeEntry(entries.started, 'it')).toEqual({ state: 'started' });
    expect(decodeEntry(entries.failed(error), 'it')).toEqual({ state: 'failed', error });
    expect(decodeEntry('f{}', 'it')).toEqual({
      state: 'failed',
      error: { name: 'Error', message: '', code: null },
    });
  });

  it.each(['', '?', 'j', 'j{', 'f', 'f1', 'f[]', ELSEWHERE])('%j leaves its piece in doubt', (text) => {
    expect(decodeEntry(text, 'it')).toEqual({ state: 'started' });
  });

  it('property: any text is decoded without an error', () => {
    fc.assert(fc.property(fc.string(), (text) => decodeEntry(text, 'it') !== null));
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

  it('an item that is not to mark its map leaves the head alone', async () => {
    const draft = new Draft();
    const task = taskInMemory();
    await create(task);
    const { live } = await hold(task, holder('w1'));
    live.item(draft, 'm', { buckets: 1, total: 1, done: 1, failed: 0 }, 'a', 'u', false);
    expect(draft.batch({ key: 'k', expect: null, next: 'n' }, []).set?.map(({ key }) => key)).toEqual([
      keys.ledger('t', 'm', 0),
    ]);
  });
});
