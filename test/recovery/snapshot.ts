import type { Checkpoint, CrashEvidence, TaskRecord, TaskSnapshot } from '../../src/domain/task.js';

export const NOW_MS = 1_700_000_000_000;

export function checkpointAt(progressPercent: number, change: Partial<Checkpoint> = {}): Checkpoint {
  return {
    name: 'parsed',
    seq: 1,
    automatic: false,
    progressPercent,
    stepDescription: null,
    recoverableData: null,
    databaseState: null,
    createdAtMs: NOW_MS - 1_000,
    version: '1',
    ...change,
  };
}

export function automaticAt(progressPercent: number): Checkpoint {
  return checkpointAt(progressPercent, { name: null, seq: 0, automatic: true });
}

export function taskAt(progressPercent: number): TaskRecord {
  return {
    taskId: 't',
    name: 'n',
    status: 'orphaned',
    priority: 0,
    version: '1',
    attempt: 1,
    errorCount: 0,
    fence: 1,
    owner: 'w',
    leaseUntilMs: null,
    dueAtMs: NOW_MS,
    progressPercent,
    step: null,
    description: null,
    createdAtMs: NOW_MS - 10_000,
    progressAtMs: NOW_MS - 1_000,
    endedAtMs: null,
    stuckSinceMs: null,
    crashes: [],
    crashedAtMs: [],
    orphanCause: 'lease_over',
    items: null,
    error: null,
  };
}

export function crashAt(atMs: number, change: Partial<CrashEvidence> = {}): CrashEvidence {
  return {
    atMs,
    owner: 'w',
    fence: 1,
    attempt: 1,
    cause: 'lease_over',
    step: null,
    progressPercent: 0,
    ranMs: 0,
    suspects: null,
    ...change,
  };
}

/** A history of crashes, as a snapshot tells it. */
export function crashesAt(...times: readonly number[]): Pick<TaskSnapshot, 'crashes' | 'crashedAtMs'> {
  return { crashes: times.map((atMs) => crashAt(atMs)), crashedAtMs: times };
}

export function snapshotOf(change: Partial<TaskSnapshot> = {}): TaskSnapshot {
  return {
    task: taskAt(0),
    cause: 'lease_over',
    nowMs: NOW_MS,
    crashes: [crashAt(NOW_MS)],
    crashedAtMs: [NOW_MS],
    crashBudget: { count: 3, windowMs: 72 * 3_600_000 },
    checkpoint: null,
    automaticCheckpoint: null,
    corruptCheckpoints: 0,
    versionChange: null,
    hasValidate: false,
    validation: null,
    ...change,
  };
}
