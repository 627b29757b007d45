import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Draft } from '../../src/state/draft.js';

describe('Draft', () => {
  it('is empty at first: no parts, no size', () => {
    expect(new Draft().parts()).toEqual({});
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
    expect(draft.parts()).toEqual({
      set: [{ key: 'k', fields: { a: '2', b: '1' } }],
      index: [
        { index: 'i', id: 'x', score: null },
        { index: 'i', id: 'y', score: { fromNow: 5 } },
      ],
      append: [{ event: 'one' }, { event: 'two' }],
    });
  });

  it('does not mix up index and id', () => {
    const draft = new Draft();
    draft.index('a', 'b:c', 1);
    draft.index('a:b', 'c', 2);
    expect(draft.parts().index).toHaveLength(2);
  });

  it('keeps a field called __proto__ as data', () => {
    const draft = new Draft();
    draft.set('k', JSON.parse('{"__proto__":"x"}'));
    const fields = draft.parts().set?.[0]?.fields ?? {};
    expect(Object.keys(fields)).toEqual(['__proto__']);
  });

  it('property: fields end as a map would after the same changes', () => {
    const name = fc.constantFrom('a', 'b', 'c');
    const change = fc.oneof(
      fc.record({ kind: fc.constant('set' as const), name, value: fc.string() }),
      fc.record({ kind: fc.constant('unset' as const), name }),
    );
    fc.assert(
      fc.property(fc.array(change), (changes) => {
        const draft = new Draft();
        const before = new Map([
          ['a', 'old'],
          ['b', 'old'],
        ]);
        const model = new Map(before);
        for (const each of changes) {
          if (each.kind === 'set') {
            draft.set('k', { [each.name]: each.value });
            model.set(each.name, each.value);
          } else {
            draft.unset('k', [each.name]);
            model.delete(each.name);
          }
        }
        const { set = [], unset = [] } = draft.parts();
        const after = new Map(before);
        for (const { fields } of unset) for (const field of fields) after.delete(field);
        for (const { fields } of set)
          for (const [field, value] of Object.entries(fields))
            after.set(field, typeof value === 'string' ? value : '?');
        expect(Object.fromEntries(after)).toEqual(Object.fromEntries(model));
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
