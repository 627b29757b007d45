/** Random schedules. fast-check prints seed and path of one that fails, and shrinks it. */
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { assertHolds, rounds, schedules } from './schedules.js';
import type { FaultKind } from './sim-storage.js';
import { simulate } from './world.js';

const NETWORK: readonly FaultKind[] = ['lose-request', 'lose-reply', 'late-request', 'late-duplicate'];

test('any schedule of faults leaves every invariant standing', { timeout: 600_000 }, async () => {
  await fc.assert(fc.asyncProperty(schedules(), assertHolds), { numRuns: rounds(150) });
});

test('a bad network alone does, too', { timeout: 600_000 }, async () => {
  await fc.assert(fc.asyncProperty(schedules({ kinds: NETWORK }), assertHolds), { numRuns: rounds(60) });
});

test('so does a task that takes its process down each time', { timeout: 600_000 }, async () => {
  const jobs = ['document', 'poison'] as const;
  await fc.assert(fc.asyncProperty(schedules({ jobs, kinds: ['lose-reply', 'crash-after'] }), assertHolds), {
    numRuns: rounds(60),
  });
});

test('the same seed gives the same log', async () => {
  const sampled = fc.sample(schedules(), { numRuns: 8, seed: 5 });
  for (const scenario of sampled) {
    const first = await simulate(scenario);
    const second = await simulate(scenario);
    expect(second.log).toEqual(first.log);
    expect(first.log.length).toBeGreaterThan(100);
  }
});
