import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { checkId, MAX_ID_LENGTH } from '../../src/domain/ids.js';

describe('ids', () => {
  it.each([
    ['empty', '', /is empty/],
    ['an opening brace', 'a{b', /brace/],
    ['a closing brace', '}', /brace/],
    ['NUL', 'a\0', /control/],
    ['a line break', 'a\nb', /control/],
    ['DEL', '\u007f', /control/],
    ['a lone high surrogate', 'a\ud800', /surrogate/],
    ['a lone low surrogate', '\udc00a', /surrogate/],
    ['too long', 'x'.repeat(MAX_ID_LENGTH + 1), /257 characters, over the limit of 256/],
    ['a number', 7, /is a number/],
    ['null', null, /is null/],
    ['undefined', undefined, /is undefined/],
    ['an object', {}, /is a object/],
  ])('refuse %s', (_what, id, message) => {
    expect(() => checkId('The task id', id)).toThrow(message);
    expect(() => checkId('The task id', id)).toThrow(
      expect.objectContaining({ code: 'INVALID_ID', retryable: false }),
    );
  });

  it.each(['a', 'x'.repeat(MAX_ID_LENGTH), '__proto__', 'constructor', 'a:b.c/d e', '😀', 'é'])(
    'accept %j',
    (id) => {
      expect(checkId('The task id', id)).toBe(id);
    },
  );

  it('property: accepts exactly what the rule says', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 300 }), (id) => {
        const plain = Array.from(id).every((character) => {
          const code = character.codePointAt(0) ?? 0;
          return code > 0x1f && code !== 0x7f && character !== '{' && character !== '}';
        });
        const fine = plain && id.length > 0 && id.length <= MAX_ID_LENGTH && id.isWellFormed();
        if (fine) expect(checkId('it', id)).toBe(id);
        else expect(() => checkId('it', id)).toThrow(expect.objectContaining({ code: 'INVALID_ID' }));
      }),
    );
  });
});
