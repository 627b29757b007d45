/** One task that takes its process down each time, and the others that happen to be there. */
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { crowd } from './charging.js';
import type { Crowd } from './charging.js';
import { rounds } from './schedules.js';
import { simulate } from './world.js';

const COUNTS = Array.from({ length: 12 }, (_, index) => index + 1);

const crowds: fc.Arbitrary<Crowd> = fc.record({
  seed: fc.nat(),
  workers: fc.integer({ min: 1, max: 3 }),
  documents: fc.integer({ min: 1, max: 12 }),
  proofOfDeath: fc.boolean(),
  together: fc.boolean(),
});

/** I13 bounds the crashes: the budget, the halvings of all that ran, and one more. */
async function expectInnocent(drawn: Crowd, calledOnce: boolean): Promise<void> {
  const { violations } = await simulate({ ...crowd(drawn), calledOnce });
  expect({ ...drawn, violations }).toEqual({ ...drawn, violations: [] });
}

test.each(COUNTS)('%i innocents are completed, and the poison is found', async (documents) => {
  for (const workers of [1, 2, 3]) {
    for (const proofOfDeath of [true, false]) {
      await expectInnocent({ seed: documents, workers, documents, proofOfDeath, together: true }, true);
    }
  }
});

test('any crowd of them is', { timeout: 600_000 }, async () => {
  const property = fc.asyncProperty(crowds, (drawn) => expectInnocent(drawn, true));
  await fc.assert(property, { numRuns: rounds(60) });
});

// Direct calls of suspects are not told apart: all that is called again after a crash runs at once, whatever its history
// (claims.ts asks the lane for a place, not for a turn). Without an isolated trial all reach count + 12 crashes, and the
// innocents are given up with the poison.
test.fails('so are those whose callers call again after each crash', async () => {
  for (const documents of [2, 3, 5, 12]) {
    for (const proofOfDeath of [true, false]) {
      await expectInnocent({ seed: documents, workers: 1, documents, proofOfDeath, together: true }, false);
    }
  }
});

// `SuspectLane.enter` counts itself only after its declaration is durable: two that enter in the same turn both declare
// one suspect, both run, and both count as having been alone: one crash is enough to give both up.
test.fails('two suspects that are called at the same moment are declared as two', async () => {
  await expectInnocent({ seed: 1, workers: 1, documents: 1, proofOfDeath: true, together: true }, false);
});
