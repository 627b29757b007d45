/** Each mutant must be found, by the invariant that is meant for it, in a scenario that the honest code passes. */
import * as fc from 'fast-check';
import { afterEach, describe, expect, test, vi } from 'vitest';
import type { Job } from './jobs.js';
import * as mutants from './mutants.js';
import { removeHead } from './removal.js';
import { atEachCall, schedules } from './schedules.js';
import { simulate } from './world.js';
import type { Scenario } from './world.js';

const DOCUMENT: Job = { id: 'document-1', kind: 'document', worker: 0 };
const BASE: Scenario = { seed: 31, workers: 2, jobs: [DOCUMENT], faults: [], maxEvents: 20_000 };
const CALLS = 40;

const paused = atEachCall(BASE, CALLS, 'pause-before', 2_500);
const crashed = atEachCall({ ...BASE, workers: 3 }, CALLS, 'crash-after', 40);
const repeated = [
  ...atEachCall(BASE, CALLS, 'lose-reply', 0),
  ...atEachCall(BASE, CALLS, 'late-duplicate', 3),
];
/** A crash when the answer to a batch that was sent again has been heard, and nothing else has been written since. */
const crashesAfterDuplicate: NonNullable<Scenario['dies']> =
  (world) =>
  (_, { outcomes }) => {
    if (outcomes.some(({ status }) => status === 'duplicate'))
      world.time.after(10, () => world.processes[0]?.crash(40));
    return null;
  };
const lostThenCrashed = repeated.map((scenario) => ({ ...scenario, dies: crashesAfterDuplicate }));
/** Frozen in the middle of a long task, until another worker is in the middle of it. */
const frozen = [700, 1_300, 1_900].flatMap((ms) =>
  atEachCall({ ...BASE, jobs: [{ id: 'slow-1', kind: 'slow', worker: 0 }] }, CALLS, 'pause-before', ms),
);
const longRun: Scenario[] = [{ ...BASE, jobs: [{ id: 'slow-1', kind: 'slow', worker: 0 }] }];
const poisoned: Scenario[] = [{ ...BASE, jobs: [{ id: 'poison-1', kind: 'poison', worker: 0 }] }];
/** A create arrives a second time, after the task has ended and its records have been removed. */
const removed = atEachCall(
  { ...BASE, script: [{ atMs: 1_500, run: removeHead(DOCUMENT.id) }] },
  CALLS,
  'late-duplicate',
  2_300,
);
const anything = fc.sample(schedules(), { numRuns: 200, seed: 77 });

interface Mutant {
  readonly name: string;
  readonly caughtBy: string;
  readonly scenarios: readonly Scenario[];
  readonly partition?: NonNullable<Scenario['partition']>;
  readonly patch?: () => void;
}

const MUTANTS: readonly Mutant[] = [
  { name: 'no fence check', caughtBy: 'I4', scenarios: paused, partition: mutants.noFenceCheck },
  {
    name: 'claims and orphaning without a guard',
    caughtBy: 'I3',
    scenarios: anything,
    partition: mutants.unguardedTakeover,
  },
  {
    name: 'running without having won the claim',
    caughtBy: 'I11',
    scenarios: anything,
    partition: mutants.claimsWithoutWinning,
  },
  {
    name: 'duplicates applied again',
    caughtBy: 'I8',
    scenarios: repeated,
    partition: mutants.duplicatesAppliedAgain,
  },
  {
    name: 'duplicates answered as conflicts',
    caughtBy: 'I10',
    scenarios: repeated,
    partition: mutants.duplicatesCalledConflicts,
  },
  { name: 'notAfter ignored', caughtBy: 'I4', scenarios: removed, partition: mutants.ignoresNotAfter },
  {
    name: 'crashes not counted at the claim',
    caughtBy: 'I13',
    scenarios: poisoned,
    partition: mutants.countsNoCrashes,
  },
  {
    name: 'a lease that its holder never doubts',
    caughtBy: 'I11',
    scenarios: frozen,
    patch: mutants.neverFencesItself,
  },
  {
    name: 'a renewal that forgets the index',
    caughtBy: 'I6',
    scenarios: longRun,
    patch: mutants.renewsWithoutIndex,
  },
  {
    name: 'acknowledged before durable',
    caughtBy: 'I1',
    scenarios: crashed,
    patch: mutants.acknowledgesEarly,
  },
  { name: 'a retry under a new token', caughtBy: 'I10', scenarios: repeated, patch: mutants.newTokenOnRetry },
  { name: 'a retry that grows', caughtBy: 'I1', scenarios: lostThenCrashed, patch: mutants.growsOnRetry },
];

afterEach(() => {
  vi.restoreAllMocks();
});

describe.each(MUTANTS)('$name', ({ caughtBy, scenarios, partition, patch }) => {
  test(`is caught by ${caughtBy}`, async () => {
    let caught: Scenario | null = null;
    let violations: readonly string[] = [];
    patch?.();
    for (const scenario of scenarios) {
      const broken = partition === undefined ? scenario : { ...scenario, partition };
      ({ violations } = await simulate(broken));
      if (violations.some((violation) => violation.startsWith(`${caughtBy} `))) {
        caught = scenario;
        break;
      }
    }
    vi.restoreAllMocks();
    if (caught === null)
      expect.fail(`not found in ${scenarios.length} runs; the last one: ${violations.join('; ')}`);
    const honest = await simulate(caught);
    expect(honest.violations).toEqual([]);
  });
});
