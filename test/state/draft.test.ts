import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Draft } from '../../src/state/draft.js';

const GUARD = { key: 'g', expect: 'a', next: 'b' };

describe('Draft', () => {
  it('is empty at first: a guard and no size', () => {
    expect(new Draft().batch(GUARD, [])).toEqual({ guard: GUARD });
    expect(new Draft().batch(GUARD, ['x'])).toEqual({ guard: GUARD, observe: ['x'] });
    expect(new Draft().size).toBe(0);
  });

  it('lets later changes of a field or an index entry replace earlier ones', () => {
    const draft = new Draft();
    draft.set('k', { a: '1', b: '1' });
    draft.set('k', { a: '2' });
    draft.index('i', 'x', 1);
    draft.index('i', 'x', null);
    draft.index('i', 'y', { fromNow: 5 });
    draft.append({ event: 'one' });
    draft.append({ event: 'two' });
    expect(draft.batch(GUARD, [])).toEqual({
      guard: GUARD,
      set: [{ key: 'k', fields: { a: '2', b: '1' } }],
      index: [
        { index: 'i', id: 'x', score: null },
        { index: 'i', id: 'y', score: { fromNow: 5 } },
      ],
      append: [{ event: 'one' }, { event: 'two' }],
    });
  });

  it('adds to counters and takes records away, with the event that tells of it', () => {
    const draft = new Draft();
    draft.remove('r');
    draft.increment('c', 'n', 1);
    draft.increment('c', 'n', 2);
    draft.append({ event: 'one' });
    expect(draft.batch(GUARD, [])).toEqual({
      guard: GUARD,
      append: [{ event: 'one' }],
      remove: ['r'],
      increment: [
        { key: 'c', field: 'n', by: 1 },
        { key: 'c', field: 'n', by: 2 },
      ],
    });
  });

  it('does not mix up index and id', () => {
    const draft = new Draft();
    draft.index('a', 'b:c', 1);
    draft.index('a:b', 'c', 2);
    expect(draft.batch(GUARD, []).index).toHaveLength(2);
  });

  it('keeps a field called __proto__ as data', () => {
    const draft = new Draft();
    draft.set('k', JSON.parse('{"__proto__":"x"}'));
    const fields = draft.batch(GUARD, []).set?.[0]?.fields ?? {};
    expect(Object.keys(fields)).toEqual(['__proto__']);
  });

  it('property: fields and entries end as in a map after the same changes', () => {
    const key = fc.constantFrom('k', 'l', '__proto__');
    const name = fc.constantFrom('a', 'b', 'toString');
    fc.assert(
      fc.property(fc.array(fc.tuple(key, name, fc.string())), (changes) => {
        const draft = new Draft();
        const model = new Map<string, string>();
        for (const [key, name, value] of changes) {
          draft.set(key, { [name]: value });
          draft.index(key, name, value.length);
          model.set(JSON.stringify([key, name]), value);
        }
        const { set = [], index = [] } = draft.batch(GUARD, []);
        const written = set.flatMap(({ key, fields }) =>
          Object.entries(fields).map(([name, value]) => [JSON.stringify([key, name]), value] as const),
        );
        expect(new Map(written)).toEqual(model);
        expect(written).toHaveLength(model.size);
        const scores = index.map(({ index, id, score }) => [JSON.stringify([index, id]), score] as const);
        expect(new Map(scores)).toEqual(
          new Map(Array.from(model, ([place, value]) => [place, value.length])),
        );
        expect(scores).toHaveLength(model.size);
      }),
    );
  });

  it('property: the size never shrinks and counts at least the characters that are written', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.string(), fc.string())), (fields) => {
        const draft = new Draft();
        for (const [name, value] of fields) {
          const before = draft.size;
          draft.set('k', { [name]: value });
          expect(draft.size).toBe(before + name.length + value.length);
        }
      }),
    );
  });
});
