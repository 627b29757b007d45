/** Every storage call of a run is a crash point: each is tried, with each kind of fault. */
import { describe, expect, test } from 'vitest';
import type { Job } from './jobs.js';
import { atEachCall, callsOf, rounds } from './schedules.js';
import type { FaultKind } from './sim-storage.js';
import { simulate } from './world.js';
import type { Outcome, Scenario } from './world.js';

const DOCUMENT: Job = { id: 'document-1', kind: 'document', worker: 0 };
const SLOW: Job = { id: 'slow-1', kind: 'slow', worker: 0 };

const WORLDS: Readonly<Record<string, Scenario>> = {
  'a document': { seed: 11, workers: 2, jobs: [DOCUMENT], faults: [] },
  'longer than a lease': { seed: 12, workers: 2, jobs: [SLOW], faults: [] },
};

const QUICK_WORLDS: Readonly<Record<string, Scenario>> = {
  'with proof of death': { seed: 13, workers: 2, jobs: [DOCUMENT], faults: [], proofOfDeath: true },
  'with slots': { seed: 14, workers: 2, jobs: [DOCUMENT], faults: [], slots: true },
};

const TAKEN_OVER: readonly (readonly [FaultKind, number])[] = [
  ['crash-before', 30],
  ['crash-after', 30],
  ['crash-before', 3_000],
  ['crash-after', 3_000],
  ['pause-before', 2_500],
  ['pause-after', 2_500],
];

const NOT_TAKEN_OVER: readonly (readonly [FaultKind, number])[] = [
  ['lose-request', 0],
  ['lose-reply', 0],
  ['late-request', 180],
  ['late-duplicate', 60],
  ['late-duplicate', 2_000],
];

function expectSound(scenario: Scenario, outcome: Outcome): void {
  expect({ faults: scenario.faults, violations: outcome.violations }).toEqual({
    faults: scenario.faults,
    violations: [],
  });
}

async function expectTakenOver(base: Scenario, kind: FaultKind, ms: number): Promise<void> {
  for (const scenario of atEachCall(base, await callsOf(base), kind, ms)) {
    const outcome = await simulate(scenario);
    expectSound(scenario, outcome);
    for (const attempt of outcome.attempts.values()) expect(attempt).toBeLessThanOrEqual(2);
    expect(outcome.effects.size).toBe(5);
    for (const times of outcome.effects.values()) expect(times).toBeLessThanOrEqual(2);
  }
}

describe.each(Object.entries(QUICK_WORLDS))('%s', (_, base) => {
  test.each(TAKEN_OVER.slice(0, 2))('%s at every call (%i ms), then recovery', async (kind, ms) => {
    await expectTakenOver(base, kind, ms);
  });
});

describe.each(Object.entries(WORLDS))('%s', (_, base) => {
  test.each(TAKEN_OVER)('%s at every call (%i ms), then recovery', async (kind, ms) => {
    await expectTakenOver(base, kind, ms);
  });

  test.each(NOT_TAKEN_OVER)('%s at every call (%i ms) costs no attempt', async (kind, ms) => {
    for (const scenario of atEachCall(base, await callsOf(base), kind, ms)) {
      const outcome = await simulate(scenario);
      expectSound(scenario, outcome);
      expect({ faults: scenario.faults, attempts: [...outcome.attempts.values()] }).toEqual({
        faults: scenario.faults,
        attempts: [1],
      });
    }
  });

  test('a broken call at every call', async () => {
    for (const scenario of atEachCall(base, await callsOf(base), 'storage-error', 0)) {
      expectSound(scenario, await simulate(scenario));
    }
  });
});

describe('a crash during recovery', () => {
  /** The only worker dies in the middle of its task; its next calls are those of `runStartupRecovery`. */
  async function crashedOnce(
    proofOfDeath: boolean,
  ): Promise<{ base: Scenario; first: number; last: number }> {
    const whole: Scenario = { seed: 21, workers: 1, jobs: [DOCUMENT], faults: [], proofOfDeath };
    const first = (await callsOf(whole)) - 3;
    const base: Scenario = {
      ...whole,
      faults: [{ worker: 0, call: first, kind: 'crash-after', ms: proofOfDeath ? 10 : 700 }],
    };
    return { base, first, last: await callsOf(base) };
  }

  test.each([true, false])('at every call of it (proof of death: %s)', async (proofOfDeath) => {
    const { base, first, last } = await crashedOnce(proofOfDeath);
    for (const kind of ['crash-before', 'crash-after', 'pause-before', 'pause-after'] as const) {
      for (const scenario of atEachCall(base, last, kind, proofOfDeath ? 10 : 700).slice(first)) {
        const outcome = await simulate(scenario);
        expectSound(scenario, outcome);
        for (const attempt of outcome.attempts.values()) expect(attempt).toBeLessThanOrEqual(3);
      }
    }
  });

  test('and another one during the recovery from that', async () => {
    const { base, first, last } = await crashedOnce(true);
    const stride = rounds(1) > 1 ? 1 : 8;
    for (let second = first + 1; second <= last; second += 1) {
      const twice = { ...base, faults: [...base.faults, crashAt(second)] };
      for (let third = second + 1 + (second % stride); third <= second + last - first; third += stride) {
        const scenario = { ...twice, faults: [...twice.faults, crashAt(third)] };
        expectSound(scenario, await simulate(scenario));
      }
    }
  });

  function crashAt(call: number): Scenario['faults'][number] {
    return { worker: 0, call, kind: call % 2 === 0 ? 'crash-before' : 'crash-after', ms: 10 };
  }
});
