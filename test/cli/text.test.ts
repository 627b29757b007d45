import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { cut, durationText, harmless, harmlessJson, plural, timeText } from '../../src/cli/text.js';

const ORDERS = ['\u001b[31mred', '\u009b2J', 'a\rb', 'a\tb', 'bell\u0007', '\u007f', '\u202eevil', '\u2028'];

test('nothing of a text is an order to a terminal', () => {
  expect(harmless('\u001b[31mred')).toBe('\\u001b[31mred');
  expect(harmless('a\nb')).toBe('a\\nb');
  expect(harmless('plain text, ümläut, 日本語, 👍')).toBe('plain text, ümläut, 日本語, 👍');
  for (const order of ORDERS) expect(harmless(order)).not.toMatch(/[\p{Cc}\p{Bidi_Control}\u2028]/u);
});

test('JSON stays the same value, and is as harmless', () => {
  const value = { id: ORDERS.join(''), list: ORDERS, nested: { '\u009b': 1 } };
  for (const indent of [0, 2]) {
    const text = harmlessJson(value, indent);
    expect(JSON.parse(text)).toEqual(value);
    expect(text.replaceAll('\n', '')).not.toMatch(/[\p{Cc}\p{Bidi_Control}\u2028]/u);
  }
  expect(harmlessJson({ lone: '\ud800' }, 0)).toBe('{"lone":"\ufffd"}');
});

test('property: any text is made harmless, in JSON without a change of meaning', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      expect(harmless(text)).not.toMatch(/[\p{Cc}\p{Bidi_Control}\u2028\u2029]/u);
      if (!text.includes('://')) expect(JSON.parse(harmlessJson(text, 0))).toBe(text.toWellFormed());
    }),
  );
});

test('a password in a URL of the data is not shown; what only looks like one is', () => {
  expect(harmless('redis://user:s3cret@host/1')).toBe('redis://user:***@host/1');
  expect(harmlessJson({ url: 'https://u:s3cret@h/' }, 0)).toBe('{"url":"https://u:***@h/"}');
  expect(harmless('https://example.org/a@b')).toBe('https://example.org/a@b');
  expect(harmless('mail to me@example.org')).toBe('mail to me@example.org');
});

test('times, lengths and numbers', () => {
  expect([null, 0, 8.64e15 + 1].map(timeText)).toEqual(['-', '1970-01-01T00:00:00.000Z', '8640000000000001']);
  expect([null, 0.4, 999, 1_000, 61_000, 3_660_000, 200_000_000].map(durationText)).toEqual([
    '-',
    '0 ms',
    '999 ms',
    '1.0 s',
    '1 min',
    '1 h 1 min',
    '2 d 7 h',
  ]);
  expect([0, 1, 2].map((count) => plural(count, 'task'))).toEqual(['0 tasks', '1 task', '2 tasks']);
  expect([cut('abc', 3), cut('abcd', 3)]).toEqual(['abc', 'ab…']);
});
