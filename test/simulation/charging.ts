/** Scenarios about who is charged with a crash, and who is given up for it. */
import type { Batch, CommitReply } from '../../src/storage/storage.js';
import type { Job } from './jobs.js';
import type { Outage } from './sim-storage.js';
import type { Scenario, World } from './world.js';

/** The default of the library. The simulation's own is larger, for schedules with many crashes. */
export const DEFAULT_BUDGET = { maxCrashes: 3 } as const;

/** Running long enough for things to happen. */
export const LONG: readonly Job[] = [
  { id: 'slow-1', kind: 'slow', worker: 0 },
  { id: 'slow-2', kind: 'slow', worker: 1 },
  { id: 'document-1', kind: 'document', worker: 0 },
  { id: 'slow-3', kind: 'slow', worker: 1 },
];

/** What is drawn for a scenario with one poison. */
export interface Crowd {
  readonly seed: number;
  readonly workers: number;
  readonly documents: number;
  readonly proofOfDeath: boolean;
  /** Whether the poison is called by the worker of the documents, or by the last one. */
  readonly together: boolean;
  /** Whether all that crashed together are due again at the same moment. */
  readonly noJitter: boolean;
  /** How long the poison runs before it takes its process down. */
  readonly poisonMs: number;
}

/** One poison among innocents, with the budget that everybody has who says nothing. */
export function crowd({ documents, together, ...drawn }: Crowd): Scenario {
  const innocents = Array.from({ length: documents }, (_, index): Job => {
    // With a poison that takes its time some of them are still at work.
    const kind = drawn.poisonMs > 100 && index % 2 === 1 ? 'slow' : 'document';
    return { id: `document-${index}`, kind, worker: together ? 0 : index % drawn.workers };
  });
  const poison: Job = { id: 'poison-1', kind: 'poison', worker: together ? 0 : drawn.workers - 1 };
  return { ...drawn, jobs: [...innocents, poison], faults: [], options: DEFAULT_BUDGET };
}

/** The poison is a suspect when the others start beside it: none of its crashes is theirs. */
export function bystanders(seed: number): Scenario {
  const others = [1, 2, 3].map((id): Job => ({ id: `slow-${id}`, kind: 'slow', worker: 0, afterMs: 300 }));
  return {
    seed,
    workers: 2,
    jobs: [...others, { id: 'poison-1', kind: 'poison', worker: 0 }],
    faults: [],
    proofOfDeath: true,
    calledOnce: true,
    options: DEFAULT_BUDGET,
    mostCharged: 0,
  };
}

/** Whether a task was taken back. `began` comes with a commit of its own. */
function isClaim({ guard, set = [] }: Batch): boolean {
  return guard.expect !== null && set.some(({ key, fields }) => key === guard.key && 'claimedAt' in fields);
}

/** Whoever takes a task back dies as soon as that is durable, so many times. */
export function diesAtClaims(times: number): NonNullable<Scenario['dies']> {
  return () => {
    let left = times;
    return (batches: readonly Batch[], { outcomes }: CommitReply): number | null => {
      const claimed = batches.some((batch, index) => isClaim(batch) && outcomes[index]?.status === 'applied');
      if (!claimed || left === 0) return null;
      left -= 1;
      return 40;
    };
  };
}

/** Given back by a clean shutdown, then claimed in vain. */
export function claimedInVain(seed: number, extra: Partial<Scenario>): Scenario {
  return {
    seed,
    workers: 2,
    jobs: [{ id: 'slow-1', kind: 'slow', worker: 0 }],
    faults: [],
    options: DEFAULT_BUDGET,
    mostCharged: 0,
    dies: diesAtClaims(20),
    script: [{ atMs: 150 + seed, run: (world: World): void => world.restart(0, 1_000) }],
    ...extra,
  };
}

/** The storage is away for all three times, longer than a lease. */
export function outages(seed: number, kind: Outage, forMs: number): Scenario {
  const starts = [37 * seed, 37 * seed + forMs + 900, 37 * seed + 2 * forMs + 1_700];
  return {
    seed,
    workers: 2,
    jobs: LONG,
    faults: [],
    proofOfDeath: seed % 2 === 0,
    slots: seed % 3 === 0,
    options: DEFAULT_BUDGET,
    mostCharged: 0,
    script: starts.map((atMs) => ({ atMs, run: (world: World): void => world.cutOff([0, 1], forMs, kind) })),
  };
}

/**
 * One worker alone is cut off, another one takes its task over, the first one comes back; later the second one dies in
 * truth. Only that is a crash.
 */
export function cutOffAlone(seed: number, kind: Outage): Scenario {
  const offset = seed % 12;
  return {
    seed,
    workers: 2,
    jobs: [{ id: 'slow-1', kind: 'slow', worker: 0 }],
    faults: [],
    proofOfDeath: true,
    options: { ...DEFAULT_BUDGET, sweepIntervalMs: 300 },
    mostCharged: 1,
    script: [
      { atMs: 200 + offset, run: (world: World): void => world.cutOff([0], 900, kind) },
      // It has told by then. Its next incarnation can't know of it by itself.
      { atMs: 1_550 + offset, run: (world: World): void => world.restart(0, 100) },
      { atMs: 1_700 + offset, run: (world: World): void => world.processes[1]?.crash(40) },
    ],
  };
}

/** The two are cut off in turn, each while the other one works. Nobody ever dies. */
export function cutOffInTurn(seed: number, kind: Outage): Scenario {
  return {
    seed,
    workers: 2,
    jobs: LONG,
    faults: [],
    options: DEFAULT_BUDGET,
    mostCharged: 1,
    script: Array.from({ length: 6 }, (_, turn) => ({
      atMs: 100 + 23 * seed + turn * 1_700,
      run: (world: World): void => world.cutOff([turn % 2], 1_300, kind),
    })),
  };
}
