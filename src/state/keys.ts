/** The one place where keys and index names are made. Ids come last, so that no id can imitate another key. */
import type { TaskStatus } from '../domain/task.js';

/** Explicit checkpoints kept a task; their records form a ring. */
export const KEPT_CHECKPOINTS = 5;

export const keys = {
  meta: 'meta',
  head: (taskId: string): string => `h:${taskId}`,
  input: (taskId: string): string => `n:${taskId}`,
  result: (taskId: string): string => `o:${taskId}`,
  control: (taskId: string): string => `x:${taskId}`,
  /** What is kept of the failure of a document. */
  failure: (taskId: string): string => `f:${taskId}`,
  /** What has become of retries of failed documents. */
  retryCounters: 'retries',
  /** Held by the process that runs periodic recovery of documents; in the first partition. */
  documentLease: 'l:documents',
  /** When documents were recovered last; in the first partition. */
  documentRun: 'r:documents',
  /** When values of failures were forgotten last, in each partition. */
  forgottenValues: 'v:documents',
  /** What recovery has come to in all, in each partition. */
  recoveryTotals: 'recoveries',
  /** The same by the five minutes of an hour, numbered from 1970. */
  recoveryHour: (hour: number): string => `t:${hour}`,
  /** When orphans were looked for last; in the first partition. */
  recoveryRun: 'r:recovery',
  /** Until when counters were removed, in each partition. */
  removedCounters: 'v:recoveries',
  quarantine: (taskId: string): string => `q:${taskId}`,
  checkpoint: (taskId: string, seq: number): string => `c${seq % KEPT_CHECKPOINTS}:${taskId}`,
  /** Names carry their length: a colon in one can't imitate the end of it. */
  step: (taskId: string, name: string): string => `p${name.length}:${name}:${taskId}`,
  ledger: (taskId: string, map: string, bucket: number): string =>
    `m${bucket}:${map.length}:${map}:${taskId}`,
  worker: (incarnation: string): string => `w:${incarnation}`,
  slot: (slot: string): string => `s:${slot}`,
} as const;

export const indexes = {
  /** Task names ever used in the namespace; in the first partition. */
  names: 'names',
  /** How long tasks of a name are kept, in ms, for names that say so; -1: for ever. In the first partition. */
  retentions: 'retentions',
  /** Worker records, by the end of their own lease; in the first partition. */
  workers: 'workers',
  /** What a worker holds. Every score is 0: nothing is written here when a lease is renewed. */
  held: (incarnation: string): string => `held:${incarnation}`,
  /**
   * The tasks of a name in a state. Scores: processing: end of the lease; orphaned (the recovery queue): priority
   * band and time; pending: end of the hand-over; final states: when they were reached.
   */
  inState: (status: TaskStatus, name: string): string => `${status}:${name}`,
  /** Running tasks of a name without progress for `stuckAfterMs`, by the time since when. */
  stuck: (name: string): string => `stuck:${name}`,
  /** Tasks of a group, by when they were made. */
  group: (group: string): string => `group:${group}`,
  /** Tasks of a name whose records could not be read, by the time when that was found. */
  quarantined: (name: string): string => `quarantined:${name}`,
} as const;

/** Wide enough for any time in ms, so that a queue score can carry a priority before the time. */
export const PRIORITY_BAND = 1e13;
export const MAX_PRIORITY = 10;

/** The base of the recovery queue's scores for a priority: higher priorities come first. */
export function priorityBase(priority: number): number {
  return (MAX_PRIORITY - priority) * PRIORITY_BAND;
}

/** FNV-1a over the UTF-16 units of an id; its name stands in the namespace's meta record. */
export const HASH_NAME = 'fnv1a-utf16';

export function hashOf(id: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < id.length; i += 1) {
    hash = Math.imul(hash ^ id.charCodeAt(i), 0x01000193);
  }
  return hash >>> 0;
}
