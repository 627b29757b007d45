import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { CrashEvidence } from '../../src/domain/task.js';
import { isSpent } from '../../src/recovery/strategies.js';
import { mostTogether, nextTrial } from '../../src/runtime/suspects.js';
import type { Suspect } from '../../src/runtime/suspects.js';
import { crashAt, NOW_MS } from '../recovery/snapshot.js';

const tried = (suspects: number | null): CrashEvidence => crashAt(NOW_MS, { suspects });

describe('mostTogether', () => {
  it.each<[(number | null)[], number | null]>([
    [[], null],
    [[null, null], null],
    [[8, null], null],
    [[null, 1], 1],
    [[2], 1],
    [[3], 2],
    [[4], 2],
    [[9], 5],
    [[2, 1_000], 500],
    [[0], 1],
  ])('after trials of %j: %s', (counts, most) => {
    expect(mostTogether(counts.map(tried))).toBe(most);
  });
});

describe('nextTrial', () => {
  const list = fc
    .array(fc.option(fc.integer({ min: 1, max: 20 })), { minLength: 1, maxLength: 60 })
    .map((all) => all.map((together, task): Suspect<number> => ({ task, together })));

  it('property: some run, all of them equally suspect, and none is less so', () => {
    fc.assert(
      fc.property(list, (suspects) => {
        const chosen = nextTrial(suspects);
        const of = (task: number | undefined): number => suspects[task ?? -1]?.together ?? Infinity;
        expect(chosen.length).toBeGreaterThan(0);
        expect(new Set(chosen).size).toBe(chosen.length);
        expect(new Set(chosen.map(of)).size).toBe(1);
        expect(of(chosen[0])).toBe(Math.max(...suspects.map(({ task }) => of(task))));
      }),
    );
  });

  it('property: half of the first-timers, rounded up; else as many as may run together', () => {
    fc.assert(
      fc.property(list, (suspects) => {
        const chosen = nextTrial(suspects);
        const rank = suspects[chosen[0] ?? -1]?.together ?? null;
        const equals = suspects.filter(({ together }) => together === rank).length;
        expect(chosen).toHaveLength(rank === null ? Math.ceil(equals / 2) : Math.min(rank, equals));
      }),
    );
  });

  it('leaves what it was given as it was', () => {
    const suspects = Object.freeze([Object.freeze({ task: 'a', together: null })]);
    expect(nextTrial(suspects)).toEqual(['a']);
  });
});

/** One task of a process that died twice; only the guilty one kills the next, in every trial that it is part of. */
interface Culprit {
  readonly id: number;
  crashes: CrashEvidence[];
  crashesSeen: number;
}

interface Verdict {
  readonly trials: number;
  readonly deaths: number;
  readonly givenUp: readonly Culprit[];
  readonly innocent: readonly Culprit[];
}

const BUDGET = { count: 3, windowMs: 1_000 };

/** Trials, each in a new process that looks at what is left, until nobody is under suspicion. */
function judge(count: number, guilty: number): Verdict {
  let waiting = Array.from({ length: count }, (_, id): Culprit => ({
    id,
    crashes: [tried(null), tried(null)],
    crashesSeen: 0,
  }));
  const [givenUp, innocent]: [Culprit[], Culprit[]] = [[], []];
  let [trials, deaths] = [0, 0];
  while (waiting.length > 0) {
    trials += 1;
    if (trials > 1_000) throw new Error('no end in sight');
    const chosen = nextTrial(waiting.map((task) => ({ task, together: mostTogether(task.crashes) })));
    const died = chosen.some(({ id }) => id === guilty);
    if (died) deaths += 1;
    for (const task of chosen) {
      if (!died) innocent.push(task);
      else {
        task.crashes = [...task.crashes, tried(chosen.length)];
        task.crashesSeen += 1;
        if (isSpent(task.crashes, BUDGET)) givenUp.push(task);
      }
    }
    const settled = new Set([...innocent, ...givenUp]);
    waiting = waiting.filter((task) => !settled.has(task));
  }
  return { trials, deaths, givenUp, innocent };
}

describe('trials of suspects', () => {
  const cases = fc
    .integer({ min: 1, max: 1_000 })
    .chain((count) => fc.tuple(fc.constant(count), fc.nat(count - 1)));

  it('property: find the one that kills its process, and no other, in few deaths and trials', () => {
    fc.assert(
      fc.property(cases, ([count, guilty]) => {
        const { trials, deaths, givenUp, innocent } = judge(count, guilty);
        const halvings = Math.ceil(Math.log2(count));
        expect(givenUp.map(({ id }) => id)).toEqual([guilty]);
        expect(innocent).toHaveLength(count - 1);
        expect(deaths).toBeLessThanOrEqual(halvings + 1);
        expect(trials).toBeLessThanOrEqual(3 * halvings + 2);
        // Each further death had half of them: an innocent peer was in fewer than the guilty one.
        expect(innocent.filter(({ crashesSeen }) => crashesSeen >= deaths)).toEqual([]);
      }),
      { numRuns: 200 },
    );
  });

  it('property: when none is guilty, all are cleared without a death', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 1_000 }), (count) => {
        const { deaths, givenUp, innocent, trials } = judge(count, -1);
        expect([deaths, givenUp.length, innocent.length]).toEqual([0, 0, count]);
        expect(trials).toBeLessThanOrEqual(Math.ceil(Math.log2(count)) + 1);
      }),
    );
  });

  it('of two, the guilty is alone at once; of ten, after four deaths at most', () => {
    for (const guilty of [0, 1]) expect(judge(2, guilty).deaths).toBe(1);
    for (let guilty = 0; guilty < 10; guilty += 1) expect(judge(10, guilty).deaths).toBeLessThanOrEqual(4);
  });
});
