/** Rolling deploys without slots: the new process recovers beside the old one, which gives its tasks back. */
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { DEFAULT_BUDGET, LONG } from './charging.js';
import { rounds } from './schedules.js';
import { simulate } from './world.js';
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

async function brokenBy(drawn: Deploys): Promise<readonly string[]> {
  return (await simulate(scenarioOf(drawn))).violations;
}

test('five in a row charge, strand and fail nothing, and nothing runs twice at once', async () => {
  const property = fc.asyncProperty(deploys, async (drawn) => {
    // I14 is below.
    expect((await brokenBy(drawn)).filter((violation) => !violation.startsWith('I14 '))).toEqual([]);
  });
  await fc.assert(property, { numRuns: rounds(80) });
});

// A claim whose `began` is on its way when the shutdown starts: `Attempt.begin` asks `gate.stop`, which a shutdown does
// not set before the next call on the context, and the function is called.
test.fails('no function is begun in a process that shuts down', async () => {
  for (const drawn of fc.sample(deploys, { numRuns: 80, seed: 4 })) expect(await brokenBy(drawn)).toEqual([]);
});
