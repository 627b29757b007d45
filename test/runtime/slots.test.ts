import * as fc from 'fast-check';
import { expect, it } from 'vitest';
import { Slots } from '../../src/runtime/slots.js';
import { settled } from '../support/manual-clock.js';

it('property: never more inside than there are slots, and whoever waits gets in, in order', async () => {
  const steps = fc.array(fc.constantFrom('acquire' as const, 'release' as const), { maxLength: 60 });
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 1, max: 4 }), steps, async (count, plan) => {
      const slots = new Slots(count);
      const entered: number[] = [];
      let asked = 0;
      let left = 0;
      for (const step of plan) {
        if (step === 'acquire') {
          const mine = asked;
          asked += 1;
          void slots.acquire().then(() => entered.push(mine));
        } else if (entered.length > left) {
          left += 1;
          slots.release();
        }
        await settled();
        expect(entered.length - left).toBe(Math.min(count, asked - left));
        expect(slots.exhausted).toBe(entered.length - left === count);
      }
      expect(entered).toEqual(entered.map((_, index) => index));
    }),
    { numRuns: 40 },
  );
});
