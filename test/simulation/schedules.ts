/** Random schedules: what fast-check draws, and the scenario that it stands for. */
import * as fc from 'fast-check';
import type { Job, JobKind } from './jobs.js';
import type { QueueTroubles } from './sim-queue.js';
import { FAULT_KINDS } from './sim-storage.js';
import type { Fault, FaultKind } from './sim-storage.js';
import { simulate } from './world.js';
import type { Scenario } from './world.js';

// A pass of `npm run chaos` has one seed for all.
const seed = process.env['REKINDLE_SEED'];
if (seed !== undefined) fc.configureGlobal({ seed: Number(seed) });

/** Times for a fault of a kind, in ms: around the deadline of a call (150), the lease (600) and beyond. */
const TIMES: Readonly<Record<FaultKind, readonly number[]>> = {
  'crash-before': [0, 40, 700, 2_500],
  'crash-after': [0, 40, 700, 2_500],
  'pause-before': [100, 400, 599, 700, 1_300, 2_500],
  'pause-after': [100, 400, 599, 700, 1_300, 2_500],
  'lose-request': [0],
  'lose-reply': [0],
  'late-request': [60, 149, 160, 320, 700],
  'late-duplicate': [5, 60, 300, 700, 2_500],
  'storage-error': [0],
  'clock-jump': [-60_000, -300, 300, 3_600_000],
};

const LATEST_CALL = 140;

/** Longer than a hand-over, a lease and most of what goes wrong. */
const BAD_QUEUE: QueueTroubles = { loses: 0.3, doubles: 0.3, throws: 0.2, lies: 0.3, latestMs: 3_000 };

function faultsOf(workers: number, kinds: readonly FaultKind[]): fc.Arbitrary<Fault[]> {
  const fault = fc.constantFrom(...kinds).chain((kind) =>
    fc.record({
      worker: fc.nat(workers - 1),
      call: fc.integer({ min: 1, max: LATEST_CALL }),
      kind: fc.constant(kind),
      ms: fc.constantFrom(...TIMES[kind]),
    }),
  );
  return fc.uniqueArray(fault, { maxLength: 8, selector: ({ worker, call }) => `${worker} ${call}` });
}

function jobsOf(workers: number, kinds: readonly JobKind[]): fc.Arbitrary<Job[]> {
  const job = fc.record({ kind: fc.constantFrom(...kinds), worker: fc.nat(workers - 1) });
  return fc
    .array(job, { minLength: 1, maxLength: 4 })
    .map((jobs) => jobs.map((each, index) => ({ ...each, id: `${each.kind}-${index}` })));
}

export interface ScheduleOptions {
  readonly kinds?: readonly FaultKind[];
  readonly jobs?: readonly JobKind[];
  /** Through a queue that does anything. */
  readonly queue?: boolean;
}

/** Schedules of two or three workers, their tasks and what goes wrong. */
export function schedules(options: ScheduleOptions = {}): fc.Arbitrary<Scenario> {
  const { kinds = FAULT_KINDS, jobs = ['document', 'slow'] } = options;
  return fc.integer({ min: 2, max: 3 }).chain((workers) =>
    fc
      .record({
        seed: fc.nat(),
        faults: faultsOf(workers, kinds),
        jobs: jobsOf(workers, jobs),
        partitions: fc.constantFrom(1, 1, 3),
        proofOfDeath: fc.boolean(),
        slots: fc.boolean(),
        shutdowns: fc.array(fc.record({ worker: fc.nat(workers - 1), atMs: fc.nat(3_000) }), {
          maxLength: 2,
        }),
      })
      .map(({ shutdowns, ...drawn }) => ({
        ...drawn,
        ...(options.queue === true ? { queue: BAD_QUEUE } : {}),
        workers,
        // A jump of its clock makes the storage end leases that their holders count on.
        singleOwner: drawn.faults.every(({ kind, ms }) => kind !== 'clock-jump' || ms < 0),
        script: shutdowns.map(({ worker, atMs }) => ({
          atMs,
          run: (world): void => world.restart(worker, 1_000),
        })),
      })),
  );
}

/** One scenario for each of the first `calls` storage calls of worker 0, with that fault added there. */
export function atEachCall(base: Scenario, calls: number, kind: FaultKind, ms: number): Scenario[] {
  return Array.from({ length: calls }, (_, index) => ({
    ...base,
    faults: [...base.faults, { worker: 0, call: index + 1, kind, ms }],
  }));
}

/** How many storage calls worker 0 makes until all is done. */
export async function callsOf(scenario: Scenario): Promise<number> {
  const { calls } = await simulate(scenario);
  return calls[0] ?? 0;
}

/** How many runs a property gets; `REKINDLE_ROUNDS` multiplies it. */
export function rounds(count: number): number {
  return count * Math.max(1, Number(process.env['REKINDLE_ROUNDS'] ?? 1));
}

/** Fails with what was broken; fast-check adds seed and path. */
export async function assertHolds(scenario: Scenario): Promise<void> {
  const { violations } = await simulate(scenario);
  if (violations.length > 0) throw new Error(violations.slice(0, 5).join('\n'));
}
