/** Operators who cancel at any time, and requeue afterwards. */
import * as fc from 'fast-check';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { Attempt } from '../../src/runtime/attempt.js';
import { headsOf } from './invariants.js';
import type { Job } from './jobs.js';
import { LEASE_MS } from './process.js';
import { rounds, schedules } from './schedules.js';
import { simulate } from './world.js';
import type { Scenario, World } from './world.js';

const SLOW: Job = { id: 'slow-1', kind: 'slow', worker: 0 };

/** Any schedule, with commands at any time, at any worker. */
const commanded: fc.Arbitrary<Scenario> = fc
  .tuple(
    schedules({ jobs: ['document', 'slow', 'slow'] }),
    fc.array(fc.record({ worker: fc.nat(2), job: fc.nat(3), atMs: fc.nat(2_500) }), {
      minLength: 1,
      maxLength: 6,
    }),
  )
  .map(([scenario, commands]) => {
    const script = commands.flatMap(({ worker, job, atMs }) => {
      const wanted = scenario.jobs[job % scenario.jobs.length];
      if (wanted === undefined) return [];
      return { atMs, run: (world: World): void => world.cancel(worker % scenario.workers, wanted.id) };
    });
    return { ...scenario, script: [...(scenario.script ?? []), ...script], requeues: true };
  });

test('cancelled at any time, in any schedule: one end a life, and completed when requeued', async () => {
  const property = fc.asyncProperty(commanded, async (scenario) => {
    expect((await simulate(scenario)).violations).toEqual([]);
  });
  await fc.assert(property, { numRuns: rounds(80) });
});

// The function ignored its signal and is fenced off; it ends while that end is on its way: the process may still die,
// or the write be refused.
test('nobody hears of a cancellation before it is durable', async () => {
  const jobs = [0, 1, 0, 2].map((worker, index): Job => ({ id: `slow-${index}`, kind: 'slow', worker }));
  const script = [{ atMs: 506, run: (world: World): void => world.cancel(0, 'slow-1') }];
  const base: Scenario = { seed: 1_447_459_988, workers: 3, partitions: 3, jobs, faults: [], script };
  for (let call = 20; call < 60; call += 1) {
    const faults = [{ worker: 1, call, kind: 'late-request', ms: 60 } as const];
    expect({ faults, violations: (await simulate({ ...base, faults })).violations }).toEqual({
      faults,
      violations: [],
    });
  }
});

/** Cancelled by the other worker at that time; what it was a lease later. */
async function cancelledAt(atMs: number): Promise<{ violations: readonly string[]; status: string }> {
  let status = 'missing';
  const { violations } = await simulate({
    seed: atMs,
    workers: 2,
    jobs: [SLOW],
    faults: [],
    requeues: true,
    script: [
      { atMs, run: (world) => world.cancel(1, SLOW.id) },
      {
        atMs: atMs + LEASE_MS,
        run: (world) => {
          status = headsOf(world.partitions)[0]?.task.status ?? 'missing';
        },
      },
    ],
  });
  return { violations, status };
}

test('without faults it has ended within a lease, wherever it runs', async () => {
  for (let atMs = 100; atMs < 1_800; atMs += 41) {
    const { violations, status } = await cancelledAt(atMs);
    expect({ atMs, violations }).toEqual({ atMs, violations: [] });
    expect(['cancelled', 'completed']).toContain(status);
    if (atMs < 1_000) expect({ atMs, status }).toEqual({ atMs, status: 'cancelled' });
  }
});

describe('a mutant is found:', () => {
  afterEach(() => {
    vi.restoreAllMocks();
  });

  test('an owner who does not look at the control record', async () => {
    vi.spyOn(Attempt.prototype, 'controlled').mockImplementation(() => {});
    expect((await cancelledAt(305)).status).toBe('processing');
  });

  test('a task that is run although it was to be cancelled', async () => {
    vi.spyOn(Attempt.prototype, 'halt').mockImplementation(() => {});
    expect((await cancelledAt(305)).status).toBe('processing');
  });
});
