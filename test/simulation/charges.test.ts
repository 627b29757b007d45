/** What is no crash of the task is not charged to it: I17 looks at each claim, and at each end. */
import { describe, expect, test } from 'vitest';
import { claimedInVain, cutOffAlone, cutOffInTurn, diesAtClaims, outages } from './charging.js';
import { rounds } from './schedules.js';
import type { Outage } from './sim-storage.js';
import { simulate } from './world.js';
import type { Outcome, Scenario } from './world.js';

const SEEDS = Array.from({ length: rounds(8) }, (_, index) => index + 1);
const KINDS: readonly Outage[] = ['refuses', 'silent'];

async function expectSound(scenario: Scenario): Promise<Outcome> {
  const outcome = await simulate(scenario);
  const { seed } = scenario;
  expect({ seed, violations: outcome.violations }).toEqual({ seed, violations: [] });
  return outcome;
}

describe.each([
  ['leases', {}],
  ['slots', { slots: true }],
  ['proof of death', { proofOfDeath: true }],
  ['callers that wait', { calledOnce: true }],
])('with %s', (_, extra) => {
  test('20 claims for which no user code ran cost nothing', async () => {
    for (const seed of SEEDS) {
      const { attempts } = await expectSound(claimedInVain(seed, extra));
      expect(attempts.get('slow-1')).toBe(22);
    }
  });

  test('neither do 3 of each of several tasks', async () => {
    for (const seed of SEEDS) {
      const jobs = [1, 2, 3].map((id) => ({ id: `slow-${id}`, kind: 'slow', worker: 0 }) as const);
      await expectSound({ ...claimedInVain(seed, extra), jobs, dies: diesAtClaims(3) });
    }
  });
});

test.each(KINDS)('an outage for all, longer than a lease, three times (it %s)', async (kind) => {
  for (const forMs of [700, 1_500, 2_500]) {
    for (const seed of SEEDS) await expectSound(outages(seed, kind, forMs));
  }
});

test.each(KINDS)('a worker that was cut off alone tells that it lived (%s)', async (kind) => {
  let takenOver = 0;
  for (const seed of SEEDS) {
    const { attempts, log } = await expectSound(cutOffAlone(seed, kind));
    if (log.some((line) => line.includes(' x:slow-1=')) && attempts.get('slow-1') === 3) takenOver += 1;
  }
  expect(takenOver).toBeGreaterThan(SEEDS.length / 2);
});

/** Also when a process takes a task again before it has told of the last time. */
test.each(KINDS)(
  'workers that are cut off in turn charge each other with one crash at most (%s)',
  async (kind) => {
    for (let seed = 1; seed <= 30; seed += 1) await expectSound(cutOffInTurn(seed, kind));
  },
);
