import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { CrashEvidence, VersionChange } from '../../src/domain/task.js';
import {
  crashBudget,
  isSpent,
  isSuspect,
  recentCrashes,
  versionPolicy,
} from '../../src/recovery/strategies.js';
import { crashAt, NOW_MS, snapshotOf } from './snapshot.js';

const WINDOW_MS = 1_000;

/** Crashes with so many suspects each. */
function crashed(...suspects: readonly (number | null)[]): CrashEvidence[] {
  return suspects.map((count) => crashAt(NOW_MS, { suspects: count }));
}

const unclear = (length: number): CrashEvidence[] =>
  crashed(...Array.from({ length }, (_, at) => (at % 2 === 0 ? null : 2)));

const budget = (count: number): { count: number; windowMs: number } => ({ count, windowMs: WINDOW_MS });

const histories = fc.array(fc.option(fc.integer({ min: 1, max: 4 })), { maxLength: 30 });

describe('crashes that count', () => {
  it.each([
    [NOW_MS, true],
    [NOW_MS - WINDOW_MS + 1, true],
    [NOW_MS - WINDOW_MS, false],
    [NOW_MS + 5, true],
  ])('one at %i: %s', (atMs, counts) => {
    const crash = crashAt(atMs);
    expect(recentCrashes([crash], budget(3), NOW_MS)).toEqual(counts ? [crash] : []);
  });
});

describe('a suspect', () => {
  it.each([
    [0, false],
    [1, false],
    [2, true],
    [3, true],
  ])('has crashed twice, with whomever; %i times: %s', (times, suspect) => {
    expect(isSuspect(crashed(...Array.from({ length: times }, () => null)))).toBe(suspect);
  });
});

describe('a spent budget', () => {
  it.each<[number, (number | null)[], boolean]>([
    // Too small to find out who it was: given up at once.
    [1, [], false],
    [1, [null], true],
    [1, [5], true],
    [2, [null], false],
    [2, [1], false],
    [2, [null, null], true],
    [2, [1, 5], true],
    // Room for trials: only when it was alone, in the newest crash.
    [3, [null, 1], false],
    [3, [null, null, null], false],
    [3, [null, null, 2], false],
    [3, [null, 1, 2], false],
    [3, [1, 1, null], false],
    [3, [null, null, 1], true],
    [3, [null, null, 4, 2, 1], true],
    [4, [null, null, 1], false],
    [4, [null, null, 2, 1], true],
  ])('of %i after %j: %s', (count, suspects, spent) => {
    expect(isSpent(crashed(...suspects), budget(count))).toBe(spent);
  });

  it.each([3, 4, 10])('of %i is spent after 12 more crashes, whoever else was there', (count) => {
    expect(isSpent(unclear(count + 11), budget(count))).toBe(false);
    expect(isSpent(unclear(count + 12), budget(count))).toBe(true);
  });

  it('property: never before its number is reached, and the strategy gives up exactly then', () => {
    fc.assert(
      fc.property(histories, fc.integer({ min: 1, max: 6 }), fc.nat(8), (suspects, count, old) => {
        const recent = crashed(...suspects);
        const before = Array.from({ length: old }, () => crashAt(NOW_MS - WINDOW_MS, { suspects: 1 }));
        const spent = isSpent(recent, budget(count));
        if (recent.length < count) expect(spent).toBe(false);
        if (spent && count > 2 && recent.length < count + 12) expect(recent.at(-1)?.suspects).toBe(1);
        const decision = crashBudget().decide(
          snapshotOf({ crashes: [...before, ...recent], crashBudget: budget(count) }),
        );
        expect(decision?.action).toBe(spent ? 'dead_letter' : undefined);
        if (spent) expect(decision?.evidence['crashes']).toHaveLength(recent.length);
      }),
    );
  });
});

describe('versionPolicy', () => {
  const change = fc.record<VersionChange>({
    from: fc.string(),
    to: fc.string(),
    hasMigrate: fc.boolean(),
    policy: fc.constantFrom('resume', 'restart', 'quarantine'),
  });

  it('property: decides where the policy asks for it and there is no migrate', () => {
    fc.assert(
      fc.property(fc.option(change), (versionChange) => {
        const action = versionPolicy().decide(snapshotOf({ versionChange }))?.action;
        if (versionChange === null || versionChange.hasMigrate || versionChange.policy === 'resume')
          expect(action).toBeUndefined();
        else expect(action).toBe(versionChange.policy === 'restart' ? 'restart' : 'dead_letter');
      }),
    );
  });
});
