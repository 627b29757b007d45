/** What the parts of one Recovery share. Plain references; the parts are made in `create-recovery.ts`. */
import type { Clock } from '../clock.js';
import { RecoveryError } from '../errors.js';
import type { Dispatcher } from '../domain/dispatch.js';
import type { StandardSchema } from '../domain/schema.js';
import type {
  Checkpoint,
  CrashBudget,
  RecoveryStrategy,
  TaskSnapshot,
  ValidationAnswer,
  VersionChange,
} from '../domain/task.js';
import type { RandomSource } from '../random.js';
import type { RecoveryPlanner } from '../recovery/planner.js';
import type { CheckpointStore } from '../state/checkpoint-store.js';
import type { CommitQueue } from '../state/commit-queue.js';
import type { Store } from '../state/store.js';
import type { TaskRegistry } from '../state/task-registry.js';
import type { Attempt } from './attempt.js';
import type { Cleanups } from './cleanups.js';
import type { RecoveryContext } from './context.js';
import type { Emitter } from './emitter.js';
import type { FenceMemory } from './fence-memory.js';
import type { Flights } from './flights.js';
import type { Hooks } from './hooks.js';
import type { LeaseKeeper } from './lease-keeper.js';
import type { Logging } from './logging.js';
import type { Settings } from './options.js';
import type { Survivors } from './survivors.js';
import type { SuspectLane } from './suspects.js';
import type { CleanupReason, Migrated } from './task-options.js';
import type { UnderWay } from './under-way.js';
import type { Worker } from './worker.js';

type Discovered = ReadonlyMap<string, unknown> | null;

/** A wrapped function as the runtime sees it. */
export interface Handler {
  readonly name: string;
  readonly priority: number;
  readonly checkpointFrequency: number | null;
  readonly ifRunning: 'reject' | 'join' | null;
  readonly recoverable: boolean;
  readonly crashBudget: CrashBudget;
  readonly strategies: readonly RecoveryStrategy[] | null;
  readonly validate: ((snapshot: TaskSnapshot) => ValidationAnswer | Promise<ValidationAnswer>) | null;
  readonly version: string;
  readonly migrate: ((checkpoint: Checkpoint, fromVersion: string) => Migrated | Promise<Migrated>) | null;
  readonly onVersionMismatch: VersionChange['policy'];
  readonly input: StandardSchema | null;
  /** What a failure of the task is called as a document; null: failures are not tracked. */
  readonly document:
    | ((args: readonly unknown[]) => { readonly path: () => unknown; readonly query: (() => unknown) | null })
    | null;
  /** The queue that it is started and recovered through; null: none. */
  readonly dispatch: Dispatcher | null;
  readonly group: ((args: readonly unknown[]) => unknown) | null;
  /** Null: for ever; undefined: as the Recovery says. */
  readonly retentionMs: number | null | undefined;
  readonly maxAttempts: number;
  readonly maxDurationMs: number | null;
  readonly maxSilenceMs: number | null;
  readonly cleanup:
    ((snapshot: TaskSnapshot, reason: CleanupReason, args: readonly unknown[]) => unknown) | null;
  readonly discover:
    | ((map: string, keys: readonly string[], args: readonly unknown[]) => Discovered | Promise<Discovered>)
    | null;
  readonly userContext: ((args: readonly unknown[]) => unknown) | null;
  invoke(context: RecoveryContext, args: readonly unknown[]): unknown;
}

export interface Engine {
  readonly settings: Settings;
  readonly clock: Clock;
  readonly random: RandomSource;
  readonly store: Store;
  readonly queue: CommitQueue;
  readonly tasks: TaskRegistry;
  readonly checkpoints: CheckpointStore;
  readonly planner: RecoveryPlanner;
  readonly emitter: Emitter;
  readonly logging: Logging;
  readonly hooks: Hooks;
  readonly worker: Worker;
  readonly leases: LeaseKeeper;
  readonly flights: Flights;
  readonly fences: FenceMemory;
  readonly handlers: Map<string, Handler>;
  readonly cleanups: Cleanups;
  /** What is on its way into a queue of the user's own. */
  readonly handOvers: UnderWay;
  /** Tasks of which something was stored that this process has no key for: left to others. */
  readonly undecodable: Set<string>;
  readonly survivors: Survivors;
  readonly suspects: SuspectLane;
  readonly attempts: Set<Pick<Attempt, 'taskId' | 'startedMs' | 'lose' | 'shutDown' | 'halt' | 'abandon'>>;
  /** Set once `shutdown` has begun. */
  closing: RecoveryError | null;
  /** What waits for its time, and must not once `shutdown` has begun. */
  readonly pauses: Set<Pause>;
  /** Something hints at work: look for orphans soon. */
  kick(): void;
  /** Something will be due then. */
  wakeIn(delayMs: number): void;
}

/** How long a create or a claim stays valid, in ms: well within a lease, and long enough for one retry. */
export function admissionMs(engine: Engine): number {
  return Math.ceil(Math.min(engine.settings.leaseMs / 2, 2 * engine.store.callDeadlineMs));
}

/** The storage time after which a create or a claim that is made now must not apply. */
export function notAfter(engine: Engine, partition: string): number {
  return engine.store.estimatedNowMs(partition) + admissionMs(engine);
}

/** @throws `SHUT_DOWN` */
export function assertOpen(engine: Engine): void {
  if (engine.closing !== null) throw engine.closing;
}

/** Bounds what is remembered; what is forgotten is tried once more. */
const MOST_UNDECODABLE = 10_000;

/** Something of the task can't be decoded here: it is not taken up by this process's own doing again. */
export function leaveToOthers({ undecodable, emitter }: Engine, taskId: string, name: string): void {
  if (undecodable.size >= MOST_UNDECODABLE) undecodable.clear();
  undecodable.add(taskId);
  emitter.alert('codec_failed', { task_id: taskId, name });
}

/** A wait for a task's time. */
interface Pause {
  readonly taskId: string;
  /** Ends it early. */
  readonly wake: () => void;
  readonly stop: (closing: RecoveryError) => void;
}

/** Waits, but not over the beginning of a shutdown, nor when the task is requeued here. @throws `SHUT_DOWN` */
export function pause(engine: Engine, taskId: string, delayMs: number): Promise<void> {
  const { clock, pauses, closing } = engine;
  if (closing !== null) return Promise.reject(closing);
  return new Promise((resolve, reject) => {
    const wake = (): void => {
      cancel();
      pauses.delete(waiting);
      resolve();
    };
    const stop = (error: RecoveryError): void => {
      cancel();
      reject(error);
    };
    const cancel = clock.schedule(delayMs, wake, true);
    const waiting: Pause = { taskId, wake, stop };
    pauses.add(waiting);
  });
}

export function shutDownError(): RecoveryError {
  return new RecoveryError(
    'SHUT_DOWN',
    'This Recovery is shut down. A task that ran here goes on elsewhere, or at the next start; nothing new was begun or stored.',
    {
      retryable: true,
    },
  );
}
