import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { checkSize, fromJsonText, MAX_DEPTH, toJsonText } from '../../src/domain/json.js';
import { isRecoveryError } from '../../src/errors.js';

const MIB = 1024 * 1024;
const text = (value: unknown, maxBytes = MIB): string => toJsonText(value, { what: 'the value', maxBytes });

function thrownBy(run: () => unknown): unknown {
  try {
    run();
  } catch (error) {
    return error;
  }
  return null;
}

function pathOf(value: unknown): unknown {
  const error = thrownBy(() => text(value));
  return isRecoveryError(error, 'NOT_JSON') ? error.details['path'] : `no refusal: ${String(error)}`;
}

function nested(depth: number): unknown {
  let value: unknown = 'leaf';
  for (let level = 0; level < depth; level += 1) value = level % 2 === 0 ? [value] : { in: value };
  return value;
}

class Point {
  x = 1;
}

const cycle: Record<string, unknown> = { name: 'a' };
cycle['self'] = [cycle];

describe('what JSON can hold comes back as it went in', () => {
  it('property: any JSON value', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        // JSON knows no negative zero.
        const plain: unknown = JSON.parse(JSON.stringify(value));
        expect(fromJsonText(text(value), 'it')).toStrictEqual(plain);
      }),
    );
  });

  it.each([
    ['NUL and control characters', '\0\u0001\u2028'],
    ['a lone surrogate', '\ud800'],
    ['objects without a prototype', Object.assign(Object.create(null), { a: 1 })],
    ['an object met twice, not in a cycle', ((shared) => [shared, { shared }])({ a: 1 })],
  ])('%s', (_what, value) => {
    expect(fromJsonText(text(value), 'it')).toEqual(value);
  });

  it('keeps an own key __proto__ as data, away from any prototype', () => {
    const hostile: unknown = JSON.parse('{"__proto__":{"polluted":1},"constructor":{"prototype":2}}');
    const back = fromJsonText(text(hostile), 'it');
    expect(Object.hasOwn(Object(back), '__proto__')).toBe(true);
    expect(Object.getPrototypeOf(back)).toBe(Object.prototype);
    expect(Reflect.get(Object.prototype, 'polluted')).toBeUndefined();
    expect(text(back)).toBe(text(hostile));
  });

  it('takes values 1,000 levels deep and refuses those that are too deep', () => {
    expect(text(fromJsonText(text(nested(1_000)), 'it'))).toBe(text(nested(1_000)));
    expect(pathOf(nested(MAX_DEPTH + 2))).toBe('$');
  });

  it('drops a property that is undefined, as JavaScript does', () => {
    expect(text({ a: undefined, b: 1 })).toBe('{"b":1}');
  });
});

describe('what JSON cannot hold is refused with its path', () => {
  it.each<[string, unknown, string]>([
    ['a BigInt', { a: [1n] }, '$.a[0]'],
    ['NaN', { a: { b: Number.NaN } }, '$.a.b'],
    ['Infinity', [0, Infinity], '$[1]'],
    ['a function', { go: () => 1 }, '$.go'],
    ['a symbol', [Symbol('s')], '$[0]'],
    ['a symbol key', { a: { [Symbol('s')]: 1 } }, '$.a'],
    ['a cycle', { cycle }, '$.cycle.self[0]'],
    ['a Date', { at: new Date(0) }, '$.at'],
    ['a Map', [new Map()], '$[0]'],
    ['a class instance', { points: [new Point()] }, '$.points[0]'],
    ['an Error', new Error('no'), '$'],
    ['a Buffer', { bytes: Buffer.from('a') }, '$.bytes'],
    ['a boxed number', { n: Object(5) }, '$.n'],
    ['an own toJSON', { money: { toJSON: () => 5 } }, '$.money'],
    ['an array with toJSON', { list: Object.assign([1], { toJSON: () => 'other' }) }, '$.list'],
    ['undefined in an array', [1, undefined], '$[1]'],
    ['a hole in an array', Array.from({ length: 3 }).fill(1, 0, 2), '$[2]'],
    ['undefined itself', undefined, '$'],
    ['a key that is no name', { 'a b': { '0': [1n] } }, '$["a b"]["0"][0]'],
  ])('%s', (_what, value, path) => {
    expect(pathOf(value)).toBe(path);
  });

  it('property: one bad leaf anywhere is found, and the path leads to it', () => {
    const key = fc.oneof(fc.string(), fc.constantFrom('__proto__', 'constructor', 'toString', '0'));
    fc.assert(
      fc.property(fc.array(fc.oneof(key, fc.nat(3)), { maxLength: 8 }), fc.jsonValue(), (trail, beside) => {
        const value = trail.reduceRight<unknown>((inner, part) => {
          if (typeof part === 'number') return [...Array.from({ length: part }, () => beside), inner];
          return Object.fromEntries([
            ['beside', beside],
            [part, inner],
          ]);
        }, 1n);
        const expected = trail.reduce<string>((path, part) => {
          if (typeof part === 'number') return `${path}[${part}]`;
          return /^[A-Za-z_$][\w$]*$/.test(part) ? `${path}.${part}` : `${path}[${JSON.stringify(part)}]`;
        }, '$');
        expect(pathOf(value)).toBe(expected);
      }),
    );
  });
});

describe('sizes', () => {
  it.each([
    ['ASCII', 'a'],
    ['two bytes', 'é'],
    ['three bytes', '€'],
    ['four bytes', '😀'],
  ])('are counted in bytes of UTF-8: %s', (_what, character) => {
    const value = character.repeat(10);
    const bytes = Buffer.byteLength(JSON.stringify(value));
    expect(text(value, bytes)).toBe(`"${value}"`);
    const error = thrownBy(() => text(value, bytes - 1));
    expect(error).toMatchObject({ code: 'PAYLOAD_TOO_LARGE', details: { bytes, maxBytes: bytes - 1 } });
  });

  it('name what was too large', () => {
    expect(() => checkSize('abc', { what: 'the note', maxBytes: 2 })).toThrow(/the note has 3 bytes/);
  });
});

it('a stored text that is JSON no more is CORRUPT_RECORD', () => {
  const error = thrownBy(() => fromJsonText('{"a":', 'the input of "t"'));
  expect(error).toMatchObject({ code: 'CORRUPT_RECORD' });
  expect(String(error)).toContain('the input of "t"');
});

describe('values whose text no engine could hold', () => {
  it.each([
    [
      'lists of lists of the same lists',
      () => Array.from({ length: 40 }).reduce<unknown[]>((inner) => [inner, inner], []),
    ],
    ['a long text that JSON makes longer', () => '\u0001'.repeat(100_000_000)],
  ])('refuses %s at once', (_, make) => {
    const value = make();
    const startMs = performance.now();
    expect(() => toJsonText(value, { what: 'it', maxBytes: 100_000 })).toThrow(
      expect.objectContaining({ code: 'PAYLOAD_TOO_LARGE', details: { maxBytes: 100_000 } }),
    );
    expect(performance.now() - startMs).toBeLessThan(1_000);
  });
});
