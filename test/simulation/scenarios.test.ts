/** Events that have a time of their own: shutdowns, jumps of the storage's clock, a storage restored from a snapshot. */
import { describe, expect, test } from 'vitest';
import type { Job } from './jobs.js';
import { LEASE_MS } from './process.js';
import { atEachCall, callsOf, rounds } from './schedules.js';
import { snapshot } from './snapshot.js';
import { simulate } from './world.js';
import type { Scenario, World } from './world.js';

const JOBS: readonly Job[] = [
  { id: 'slow-1', kind: 'slow', worker: 0 },
  { id: 'document-1', kind: 'document', worker: 1 },
];
const DOCUMENT: Job = { id: 'document-1', kind: 'document', worker: 0 };
/** Running for the whole time in which things happen. */
const LONG: readonly Job[] = [
  { id: 'slow-1', kind: 'slow', worker: 0 },
  { id: 'slow-2', kind: 'slow', worker: 1 },
];
const BASE: Scenario = { seed: 41, workers: 2, jobs: JOBS, faults: [] };

describe.each([
  ['leases', {}],
  ['slots', { slots: true }],
  ['proof of death', { proofOfDeath: true }],
  ['three partitions', { partitions: 3 }],
])('with %s', (_, extra) => {
  test('a graceful restart at any moment gives the task back uncharged', async () => {
    for (let atMs = 0; atMs < 1_500; atMs += 37) {
      const script = [{ atMs, run: (world: World): void => world.restart(0, 1_000) }];
      const { violations, starved } = await withEvents({ ...BASE, ...extra, seed: atMs, script });
      expect({ atMs, violations, starved }).toEqual({ atMs, violations: [], starved: [] });
    }
  });
});

/** Events of recoveries that counted a crash. */
async function withEvents(scenario: Scenario): Promise<{ violations: readonly string[]; starved: string[] }> {
  let last: World | null = null;
  const outcome = await simulate({
    ...scenario,
    script: [
      ...(scenario.script ?? []),
      {
        atMs: 0,
        run: (world): void => {
          last = world;
        },
      },
    ],
  });
  return { violations: outcome.violations, starved: last === null ? ['no world'] : chargedIn(last) };
}

function chargedIn(world: World): string[] {
  return world.partitions.flatMap(({ log }) =>
    log
      .filter(({ fields }) => fields.get('event') === 'recovery_started' && fields.get('crashes') !== '0')
      .map(({ fields }) => `${fields.get('task_id')}: ${fields.get('cause')}`),
  );
}

test('a restarted worker has what its predecessor held long before the lease is over', async () => {
  const alone: Scenario = { ...BASE, workers: 1, jobs: JOBS.slice(0, 1), slots: true };
  let takenOver = 0;
  for (const scenario of atEachCall(alone, await callsOf(alone), 'crash-after', 10)) {
    const { violations, log } = await simulate(scenario);
    expect({ faults: scenario.faults, violations }).toEqual({ faults: scenario.faults, violations: [] });
    const timeOf = (what: string): number => Number(log.find((line) => line.includes(what))?.split(' ')[0]);
    const tookMs = timeOf('w0i2 recovery_started') - timeOf('w0i1 crashed');
    if (Number.isNaN(tookMs)) continue;
    takenOver += 1;
    expect(tookMs).toBeLessThan(LEASE_MS / 2);
  }
  expect(takenOver).toBeGreaterThan(10);
});

describe('a storage that is restored from a snapshot', () => {
  test.each([1, 2, 3])('goes on from there (%i)', async (seed) => {
    for (let savedAtMs = 5; savedAtMs < 1_400; savedAtMs += 91) {
      for (const lostMs of [3, 150, 900]) {
        let restore = (): void => {};
        const script = [
          { atMs: savedAtMs, run: (world: World): void => void (restore = snapshot(world)) },
          { atMs: savedAtMs + lostMs, run: (): void => restore() },
        ];
        const { violations } = await simulate({ ...BASE, seed, jobs: LONG, singleOwner: false, script });
        // What was acknowledged in the meantime is gone (I1), and holders lose their tasks to nobody (I10).
        const broken = violations.filter((violation) => !/^I10? /.test(violation));
        expect({ savedAtMs, lostMs, broken }).toEqual({ savedAtMs, lostMs, broken: [] });
      }
    }
  });

  test('and so does one that was wiped', async () => {
    for (let atMs = 5; atMs < 1_400; atMs += 37) {
      let wipe = (): void => {};
      const script = [
        { atMs: 0, run: (world: World): void => void (wipe = snapshot(world)) },
        { atMs, run: (): void => wipe() },
      ];
      const { violations } = await simulate({ ...BASE, jobs: LONG, singleOwner: false, script });
      expect({ atMs, violations }).toEqual({ atMs, violations: [] });
    }
  });
});

test.each([-60_000, -500, 500, 3_600_000])(
  'a jump of %i ms of the storage clock changes only delays',
  async (ms) => {
    const quiet: Scenario = { ...BASE, singleOwner: ms < 0 };
    for (const scenario of atEachCall(quiet, await callsOf(quiet), 'clock-jump', ms)) {
      const { violations } = await simulate(scenario);
      expect({ faults: scenario.faults, violations }).toEqual({ faults: scenario.faults, violations: [] });
    }
  },
);

test('a crash right after a jump of the storage clock is recovered from all the same', async () => {
  for (const ms of [-60_000, 3_600_000]) {
    const quiet: Scenario = { ...BASE, singleOwner: false, jobs: JOBS.slice(0, 1) };
    for (const scenario of atEachCall(quiet, await callsOf(quiet), 'clock-jump', ms)) {
      const faults = scenario.faults.flatMap((fault) => [
        fault,
        { ...fault, call: fault.call + 1, kind: 'crash-before' as const, ms: 40 },
      ]);
      const { violations } = await simulate({ ...scenario, faults });
      expect({ faults, violations }).toEqual({ faults, violations: [] });
    }
  }
});

test('what this worker starts while its own sweep reads is not adopted by that sweep', async () => {
  const jobs: readonly Job[] = [JOBS[0] ?? DOCUMENT, DOCUMENT];
  const pauses = [18, 19, 20].map((call) => ({ worker: 0, call, kind: 'pause-after', ms: 650 }) as const);
  for (let call = 21; call < 40; call += 1) {
    const late = { worker: 0, call, kind: 'late-request', ms: 120 } as const;
    for (let seed = 1; seed <= rounds(4); seed += 1) {
      const faults = [...pauses, late];
      const { violations } = await simulate({
        seed,
        workers: 1,
        jobs,
        faults,
        options: { sweepIntervalMs: 100 },
      });
      expect({ seed, call, violations }).toEqual({ seed, call, violations: [] });
    }
  }
});
