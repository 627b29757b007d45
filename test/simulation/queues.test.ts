/** Tasks go through a queue of the user's: one that is well, and one that loses, doubles, delays and lies. */
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Job } from './jobs.js';
import { assertHolds, callsOf, rounds, schedules } from './schedules.js';
import type { QueueTroubles } from './sim-queue.js';
import type { FaultKind } from './sim-storage.js';
import { simulate } from './world.js';
import type { Scenario } from './world.js';

const GOOD: QueueTroubles = { loses: 0, doubles: 0, throws: 0, lies: 0, latestMs: 5 };
const JOBS: readonly Job[] = [
  { id: 'slow-1', kind: 'slow', worker: 0 },
  { id: 'document-1', kind: 'document', worker: 1 },
];
const BASE: Scenario = { seed: 7, workers: 2, jobs: JOBS, faults: [], queue: GOOD };

test('through a queue that is well each task runs once', async () => {
  const { violations, attempts, log } = await simulate(BASE);
  expect(violations).toEqual([]);
  expect([...attempts.values()]).toEqual([1, 1]);
  expect(log.filter((line) => / got a job of /.test(line))).toHaveLength(2);
});

describe.each(['crash-after', 'crash-before'] as const)('a worker that dies (%s)', (kind) => {
  test('at any call leaves nothing undone, nothing done twice that was kept', async () => {
    const calls = await callsOf(BASE);
    for (let call = 1; call <= calls; call += 17) {
      const faults = [{ worker: 0, call, kind, ms: 40 }];
      const { violations } = await simulate({ ...BASE, faults, proofOfDeath: call % 2 === 0 });
      expect({ call, violations }).toEqual({ call, violations: [] });
    }
  });
});

test.each([
  ['loses most jobs', { loses: 0.8 }, /: 0 copies/],
  ['delivers everything three times', { doubles: 1 }, /: 3 copies/],
  ['takes jobs, and throws', { throws: 1 }, /dispatch_failed/],
  ['is late', { latestMs: 5_000 }, / got a job of /],
  ['says anything about what it has', { lies: 0.5, loses: 0.5 }, / queue recovery /],
] as const)('a queue that %s keeps no task from its end', async (_, troubles, sign) => {
  const seen: string[] = [];
  for (let seed = 1; seed <= 8; seed += 1) {
    const { violations, log } = await simulate({ ...BASE, seed, queue: { ...GOOD, ...troubles } });
    expect({ seed, violations }).toEqual({ seed, violations: [] });
    seen.push(...log);
  }
  expect(seen.some((line) => sign.test(line))).toBe(true);
});

test('whatever the queue does, and the storage, and the processes', { timeout: 600_000 }, async () => {
  await fc.assert(fc.asyncProperty(schedules({ queue: true }), assertHolds), { numRuns: rounds(12) });
});

test(
  'a poison goes through it until it is given up, and no innocent does',
  { timeout: 600_000 },
  async () => {
    const kinds: readonly FaultKind[] = ['lose-reply', 'crash-after'];
    const jobs = ['document', 'poison'] as const;
    await fc.assert(fc.asyncProperty(schedules({ queue: true, jobs, kinds }), assertHolds), {
      numRuns: rounds(12),
    });
  },
);
