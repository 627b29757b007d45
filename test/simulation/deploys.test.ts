/** Rolling deploys without slots: the new process recovers beside the old one, which gives its tasks back. */
import * as fc from 'fast-check';
import { test } from 'vitest';
import { DEFAULT_BUDGET, LONG } from './charging.js';
import { assertHolds, rounds } from './schedules.js';
import type { Scenario, World } from './world.js';

interface Deploys {
  readonly seed: number;
  readonly workers: number;
  readonly proofOfDeath: boolean;
  readonly partitions: number;
  /** Ms from one deploy to the next, and between workers within one. */
  readonly gapsMs: readonly number[];
  readonly staggerMs: number;
}

const deploys: fc.Arbitrary<Deploys> = fc.record({
  seed: fc.nat(),
  workers: fc.integer({ min: 1, max: 3 }),
  proofOfDeath: fc.boolean(),
  partitions: fc.constantFrom(1, 3),
  gapsMs: fc.array(fc.integer({ min: 5, max: 500 }), { minLength: 5, maxLength: 5 }),
  staggerMs: fc.nat(60),
});

function scenarioOf({ gapsMs, staggerMs, ...drawn }: Deploys): Scenario {
  let atMs = 0;
  const script = gapsMs.flatMap((gapMs) => {
    atMs += gapMs;
    return Array.from({ length: drawn.workers }, (_, worker) => ({
      atMs: atMs + worker * staggerMs,
      run: (world: World): void => world.deploy(worker, 10_000),
    }));
  });
  const jobs = LONG.map((job) => ({ ...job, worker: job.worker % drawn.workers }));
  return { ...drawn, jobs, script, faults: [], options: DEFAULT_BUDGET, mostCharged: 0 };
}

test('five in a row charge, strand and fail nothing, and nothing runs twice at once', async () => {
  const property = fc.asyncProperty(deploys, (drawn) => assertHolds(scenarioOf(drawn)));
  await fc.assert(property, { numRuns: rounds(80) });
});
