import { describe, expect, it } from 'vitest';
import { decodeCursor, encodeCursor } from '../../src/state/failure-filter.js';

describe('a cursor', () => {
  it('comes back as it was', () => {
    const position = { partition: 2, index: 'failures:retry:1:2', score: 17.5, id: 'é:\u{1f600}' };
    expect(decodeCursor(encodeCursor(position), 3)).toEqual(position);
  });

  const of = (text: string): string => Buffer.from(text).toString('base64url');
  it.each([
    '',
    '17',
    'x',
    of('{}'),
    of('[0,1,"t"]'),
    of('[0,7,1,"t"]'),
    of('[0,"i",1,7]'),
    of('[3,"i",1,"t"]'),
    of('[-1,"i",1,"t"]'),
    of('[0.5,"i",1,"t"]'),
    of('[0,"i",1e999,"t"]'),
  ])('of another list is refused: %j', (text) => {
    expect(() => decodeCursor(text, 3)).toThrow('This is no cursor');
  });
});
