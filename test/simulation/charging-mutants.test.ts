/** Mutants of who is charged and who is given up. Most of these rules are plain functions: their modules are replaced. */
import { afterEach, describe, expect, test, vi } from 'vitest';
import { Attempt } from '../../src/runtime/attempt.js';
import { SuspectLane } from '../../src/runtime/suspects.js';
import { Survivors } from '../../src/runtime/survivors.js';
import { Worker } from '../../src/runtime/worker.js';
import type { Head } from '../../src/state/head.js';
import { Store } from '../../src/state/store.js';
import { bystanders, claimedInVain, crowd, cutOffAlone, outages } from './charging.js';
import { POISON_MS } from './jobs.js';
import { simulate } from './world.js';
import type { Scenario } from './world.js';

/** Which rule is broken at the moment. */
const broken = vi.hoisted(() => ({
  chargesBystanders: false,
  chargesUnbegun: false,
  needsNoProof: false,
}));

vi.mock(import('../../src/runtime/charges.js'), async (original) => {
  const real = await original();
  const head = (found: Head): Head =>
    broken.chargesUnbegun ? { ...found, began: found.task.attempt } : found;
  const trials = (found: Head, suspects: number): number =>
    broken.chargesBystanders && !found.suspect ? 0 : suspects;
  return {
    ...real,
    crashesOf: (engine, found, cause, suspects) =>
      real.crashesOf(engine, head(found), cause, trials(found, suspects)),
    orphaningOf: (engine, handler, found, cause, suspects) =>
      real.orphaningOf(engine, handler, head(found), cause, trials(found, suspects)),
  };
});

vi.mock(import('../../src/recovery/strategies.js'), async (original) => {
  const real = await original();
  return {
    ...real,
    isSpent: (recent, budget) =>
      broken.needsNoProof ? recent.length >= budget.count : real.isSpent(recent, budget),
    defaultStrategies: (options) => {
      const [budget, ...others] = real.defaultStrategies(options);
      if (budget === undefined) return others;
      const hasty: typeof budget = {
        ...budget,
        decide: (snapshot) => {
          const { crashes, crashBudget, nowMs } = snapshot;
          const recent = real.recentCrashes(crashes, crashBudget, nowMs);
          if (!broken.needsNoProof || recent.length < crashBudget.count) return budget.decide(snapshot);
          return { action: 'dead_letter', reason: `It crashed ${recent.length} times.`, evidence: {} };
        },
      };
      return [hasty, ...others];
    },
  };
});

const SEEDS = Array.from({ length: 8 }, (_, index) => index + 1);
const crowds = SEEDS.flatMap((seed) =>
  [true, false].flatMap((proofOfDeath) =>
    [3, 6, 11].map((documents): Scenario => {
      const drawn = {
        seed,
        workers: 1 + (seed % 2),
        documents,
        proofOfDeath,
        together: true,
        noJitter: true,
        poisonMs: POISON_MS,
      };
      return { ...crowd(drawn), calledOnce: true, maxEvents: 60_000 };
    }),
  ),
);
const alone = SEEDS.map((seed) => cutOffAlone(seed, 'silent'));
const away = SEEDS.map((seed) => outages(seed, 'refuses', 1_500));
const inVain = SEEDS.map((seed) => claimedInVain(seed, {}));

interface Mutant {
  readonly name: string;
  readonly caughtBy: string;
  readonly scenarios: readonly Scenario[];
  readonly patch: () => void;
}

const MUTANTS: readonly Mutant[] = [
  {
    name: 'suspects that are not declared',
    caughtBy: 'I13',
    scenarios: crowds,
    patch: () => void vi.spyOn(Worker.prototype, 'declareSuspects').mockResolvedValue(),
  },
  {
    name: 'bystanders of a trial that are charged',
    caughtBy: 'I17',
    scenarios: SEEDS.map((seed) => bystanders(seed)),
    patch: () => void (broken.chargesBystanders = true),
  },
  {
    name: 'trials that are never halved',
    caughtBy: 'I13',
    scenarios: crowds,
    patch: () => {
      const { turn } = SuspectLane.prototype;
      vi.spyOn(SuspectLane.prototype, 'turn').mockImplementation(function (this: SuspectLane, id, crashes) {
        return turn.call(
          this,
          id,
          crashes.map((crash) => ({ ...crash, suspects: 1_000 })),
        );
      });
    },
  },
  {
    name: 'given up without having been alone',
    caughtBy: 'I16',
    scenarios: crowds,
    patch: () => void (broken.needsNoProof = true),
  },
  {
    name: 'a crash before user code that is charged',
    caughtBy: 'I17',
    scenarios: inVain,
    patch: () => void (broken.chargesUnbegun = true),
  },
  {
    name: 'user code that begins before that is known',
    caughtBy: 'I13',
    scenarios: crowds,
    patch: () =>
      void vi.spyOn(Attempt.prototype, 'begin').mockImplementation(function (this: Attempt) {
        return Promise.resolve(this.gate.stop);
      }),
  },
  {
    name: 'an outage that is not remembered',
    caughtBy: 'I17',
    scenarios: away,
    patch: () => void vi.spyOn(Store.prototype, 'failedMs', 'get').mockReturnValue(null),
  },
  {
    name: 'survivors who tell nobody',
    caughtBy: 'I17',
    scenarios: alone,
    patch: () => void vi.spyOn(Survivors.prototype, 'tell').mockResolvedValue(),
  },
];

function repair(): void {
  vi.restoreAllMocks();
  broken.chargesBystanders = false;
  broken.chargesUnbegun = false;
  broken.needsNoProof = false;
}

afterEach(repair);

describe.each(MUTANTS)('$name', ({ caughtBy, scenarios, patch }) => {
  test(`is caught by ${caughtBy}`, async () => {
    let caught: Scenario | null = null;
    const seen = new Set<string>();
    patch();
    for (const scenario of scenarios) {
      const { violations } = await simulate(scenario);
      for (const violation of violations) seen.add(violation);
      if (violations.some((violation) => violation.startsWith(`${caughtBy} `))) {
        caught = scenario;
        break;
      }
    }
    repair();
    if (caught === null)
      expect.fail(`not found in ${scenarios.length} runs, which saw: ${[...seen].slice(0, 5).join('; ')}`);
    expect((await simulate(caught)).violations).toEqual([]);
  });
});
