import * as fc from 'fast-check';
import { expect, it } from 'vitest';
import { fenceOf, makeToken } from '../../src/state/token.js';

it('property: a token gives its fence back, and differs whenever a part differs', () => {
  const part = fc.record({
    fence: fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }),
    nonce: fc.base64String({ minLength: 1, maxLength: 8 }),
    sequence: fc.nat(),
  });
  fc.assert(
    fc.property(part, part, (a, b) => {
      const token = makeToken(a.fence, a.nonce, a.sequence);
      expect(fenceOf(token)).toBe(a.fence);
      const same = a.fence === b.fence && a.nonce === b.nonce && a.sequence === b.sequence;
      expect(token === makeToken(b.fence, b.nonce, b.sequence)).toBe(same);
    }),
  );
});

it.each(['', 'x', '.a.b', 'x.a.b', '0.a.b', '-1.a.b', '1.5', '1e400.a.0', '9007199254740993.a.0'])(
  'what is no token has no fence: %j',
  (text) => {
    const whole = text === '1.5' ? 1 : null;
    expect(fenceOf(text)).toBe(whole);
  },
);
