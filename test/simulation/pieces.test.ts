/** Every storage call of a task with steps, `verify`, a map and progress is a crash point. */
import { afterEach, describe, expect, test, vi } from 'vitest';
import { LiveTask } from '../../src/state/live-task.js';
import * as mutants from './mutants.js';
import { EFFECTS, FIRST_ITEM, LANES, PAY } from './pieces-job.js';
import { atEachCall, callsOf } from './schedules.js';
import type { FaultKind } from './sim-storage.js';
import { simulate } from './world.js';
import type { Outcome, Scenario } from './world.js';

const BASE: Scenario = {
  seed: 51,
  workers: 2,
  jobs: [{ id: 'pieces-1', kind: 'pieces', worker: 0 }],
  faults: [],
  maxEvents: 20_000,
};

const FAULTS: readonly (readonly [FaultKind, number])[] = [
  ['crash-before', 30],
  ['crash-after', 30],
  ['crash-before', 3_000],
  ['crash-after', 3_000],
  ['pause-before', 2_500],
  ['pause-after', 2_500],
  ['lose-reply', 0],
  ['late-duplicate', 60],
];

/** What must hold after one fault; a crash can't make a verified step happen twice, a frozen process can. */
function problems(outcome: Outcome, kind: FaultKind): string[] {
  const found = [...outcome.violations];
  if (outcome.effects.size !== EFFECTS) found.push(`${outcome.effects.size} effects, not ${EFFECTS}`);
  let twice = 0;
  for (const [place, times] of outcome.effects) {
    const step = Number(place.split(' ')[1]);
    if (times > 2) found.push(`${place} happened ${times} times`);
    if (times > 1 && step === PAY && kind.startsWith('crash')) found.push('it was paid twice');
    if (times > 1 && step >= FIRST_ITEM) twice += 1;
  }
  if (twice > LANES) found.push(`${twice} items ran twice with ${LANES} lanes`);
  return found;
}

async function firstProblem(kind: FaultKind, ms: number): Promise<string | null> {
  for (const scenario of atEachCall(BASE, await callsOf(BASE), kind, ms)) {
    const [problem] = problems(await simulate(scenario), kind);
    if (problem !== undefined) return `at call ${scenario.faults[0]?.call}: ${problem}`;
  }
  return null;
}

afterEach(() => {
  vi.restoreAllMocks();
});

test('without a fault everything happens once', async () => {
  const outcome = await simulate(BASE);
  expect(problems(outcome, 'crash-before')).toEqual([]);
  expect([...outcome.effects.values()]).toEqual(Array.from({ length: EFFECTS }, () => 1));
});

test.each(FAULTS)('steps and items through %s at every call (%i ms)', async (kind, ms) => {
  expect(await firstProblem(kind, ms)).toBeNull();
});

describe('a mutant is found:', () => {
  test('items that are not written', async () => {
    vi.spyOn(LiveTask.prototype, 'item').mockImplementation(() => {});
    expect(await firstProblem('crash-after', 30)).toMatch(/items ran twice|happened again/);
  });

  test('steps that are not written', async () => {
    vi.spyOn(LiveTask.prototype, 'step').mockImplementation(() => {});
    expect(await firstProblem('crash-after', 30)).toMatch(/was kept, and happened again|paid twice/);
  });

  test('pieces that are acknowledged before they are durable', async () => {
    mutants.acknowledgesEarly();
    expect(await firstProblem('crash-before', 30)).toMatch(/items ran twice|was kept|was acknowledged|I5/);
  });
});
