/** What is to be simulated, and what became of it. */
import type { RecoveryOptions } from '../../src/runtime/options.js';
import type { MemoryPartition } from '../../src/storage/memory.js';
import type { Batch, CommitReply } from '../../src/storage/storage.js';
import type { Job } from './jobs.js';
import type { QueueTroubles } from './sim-queue.js';
import type { Fault } from './sim-storage.js';
import type { World } from './world.js';

/** A run that is to be simulated. */
export interface Scenario {
  readonly seed: number;
  readonly workers: number;
  readonly jobs: readonly Job[];
  readonly faults: readonly Fault[];
  readonly partitions?: number;
  /** Whether the death of a process can be proven by its process id. */
  readonly proofOfDeath?: boolean;
  /** Whether each worker has a slot, which its next incarnation takes over. */
  readonly slots?: boolean;
  /** False where a fault breaks what mutual exclusion in time rests on: the storage's clock, the promise of a slot. */
  readonly singleOwner?: boolean;
  readonly options?: Partial<RecoveryOptions>;
  /** After this many events a run counts as one that does not end. Default 300,000. */
  readonly maxEvents?: number;
  /** Puts a broken partition in. */
  readonly partition?: () => MemoryPartition;
  /** Tasks are called by the first incarnation only: later ones wait for what recovery makes of them. */
  readonly calledOnce?: boolean;
  /**
   * Makes a judge, for one run: after which commits the process dies that made them, before it hears of them. It gives
   * the ms until the restart, or null.
   */
  readonly dies?: (world: World) => (batches: readonly Batch[], reply: CommitReply) => number | null;
  /** How long a poison runs before it takes its process down, in ms. */
  readonly poisonMs?: number;
  /** The library's chance is always the same: tasks that crash together come back together. */
  readonly noJitter?: boolean;
  /** The most crashes that may be charged to any task but a poison. */
  readonly mostCharged?: number;
  /** Tasks that were cancelled are requeued when all have ended, and must be completed then. */
  readonly requeues?: boolean;
  /** Tasks are submitted, started and recovered through a queue, with these troubles. */
  readonly queue?: QueueTroubles;
  /** What else happens, at given times. */
  readonly script?: readonly { readonly atMs: number; readonly run: (world: World) => void }[];
}

/** When the last event of the script is due. */
export function scriptEndMs({ script = [] }: Scenario): number {
  return Math.max(0, ...script.map(({ atMs }) => atMs));
}

/** What became of it. */
export interface Outcome {
  /** Broken invariants; empty when all is well. */
  readonly violations: readonly string[];
  readonly log: readonly string[];
  /** Storage calls that each worker made until all was done. */
  readonly calls: readonly number[];
  /** The highest attempt of each task. */
  readonly attempts: ReadonlyMap<string, number>;
  readonly effects: ReadonlyMap<string, number>;
  readonly endedAtMs: number;
}
