/** One task that takes its process down each time, and the others that happen to be there. */
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { bystanders, crowd } from './charging.js';
import type { Crowd } from './charging.js';
import { POISON_MS } from './jobs.js';
import { rounds } from './schedules.js';
import { simulate } from './world.js';

const COUNTS = Array.from({ length: 12 }, (_, index) => index + 1);

const crowds: fc.Arbitrary<Crowd> = fc.record({
  seed: fc.nat(),
  workers: fc.integer({ min: 1, max: 3 }),
  documents: fc.integer({ min: 1, max: 12 }),
  proofOfDeath: fc.boolean(),
  together: fc.boolean(),
  noJitter: fc.boolean(),
  poisonMs: fc.constantFrom(5, 5, 45, 250, 900),
});

/** I13 bounds the crashes: the budget, the halvings of all that ran, and one more. */
async function expectInnocent(drawn: Crowd, calledOnce: boolean): Promise<void> {
  const { violations } = await simulate({ ...crowd(drawn), calledOnce });
  expect({ ...drawn, violations }).toEqual({ ...drawn, violations: [] });
}

test.each(COUNTS)('%i innocents are completed, and the poison is found', async (documents) => {
  for (const workers of [1, 2, 3]) {
    for (const proofOfDeath of [true, false]) {
      const noJitter = (documents + workers) % 2 === 0;
      const drawn = { seed: documents, workers, documents, proofOfDeath, together: true, noJitter };
      await expectInnocent({ ...drawn, poisonMs: POISON_MS }, true);
    }
  }
});

test('whoever runs where suspects are tried is not charged with them', async () => {
  for (let seed = 1; seed <= 20; seed += 1) {
    const { violations } = await simulate(bystanders(seed));
    expect({ seed, violations }).toEqual({ seed, violations: [] });
  }
});

test('any crowd of them is', { timeout: 600_000 }, async () => {
  const property = fc.asyncProperty(crowds, fc.boolean(), expectInnocent);
  await fc.assert(property, { numRuns: rounds(40) });
});

/** A call does not wait for a backoff, but for its turn: else all run together after each crash, for ever. */
test('so are those whose callers call again after each crash', async () => {
  for (const documents of [2, 3, 5, 12]) {
    for (const proofOfDeath of [true, false]) {
      const drawn = {
        seed: documents,
        workers: 1,
        documents,
        proofOfDeath,
        together: true,
        noJitter: false,
        poisonMs: POISON_MS,
      };
      await expectInnocent(drawn, false);
    }
  }
});

/** Had each declared one, both would seem to have been alone when the process died. */
test('two suspects that are called at the same moment are declared as two', async () => {
  const drawn = {
    seed: 1,
    workers: 1,
    documents: 1,
    proofOfDeath: true,
    together: true,
    noJitter: false,
    poisonMs: POISON_MS,
  };
  await expectInnocent(drawn, false);
});
