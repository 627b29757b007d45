/** Broken storages and a broken runtime, for the proof that the simulation would notice. */
import { vi } from 'vitest';
import { Attempt } from '../../src/runtime/attempt.js';
import { Draft } from '../../src/state/draft.js';
import { keys } from '../../src/state/keys.js';
import { LiveTask } from '../../src/state/live-task.js';
import { RecordWriter } from '../../src/state/record-writer.js';
import { MemoryPartition } from '../../src/storage/memory.js';
import type { Batch, Outcome } from '../../src/storage/storage.js';

const MAX_EVENTS = 10_000;

type Check = (outcome: Outcome | null, batch: Batch) => Outcome | null;

/** A partition that comes to other outcomes. */
function judging(change: Check): () => MemoryPartition {
  return () => {
    const partition = new MemoryPartition(MAX_EVENTS);
    const honest = partition.check.bind(partition);
    partition.check = (batch, nowMs) => change(honest(batch, nowMs), batch);
    return partition;
  };
}

/** A create is the only batch of a head that expects nothing; claims and orphaning carry a `notAfter`, too. */
function isTakeover({ guard, notAfter }: Batch): boolean {
  return guard.key.startsWith('h:') && guard.expect !== null && notAfter !== undefined;
}

export const noFenceCheck: () => MemoryPartition = judging((outcome) =>
  outcome?.status === 'conflict' ? null : outcome,
);

export const unguardedTakeover: () => MemoryPartition = judging((outcome, batch) =>
  outcome?.status === 'conflict' && isTakeover(batch) ? null : outcome,
);

/** What is written before user code runs. */
function isBeginning({ set = [] }: Batch): boolean {
  return set.some(({ fields }) => 'began' in fields);
}

/** The client takes a claim that it did not win for one that it won. */
export const claimsWithoutWinning: () => MemoryPartition = judging((outcome, batch) =>
  outcome?.status === 'conflict' && (isTakeover(batch) || isBeginning(batch))
    ? { status: 'applied', observed: [] }
    : outcome,
);

export const duplicatesAppliedAgain: () => MemoryPartition = judging((outcome) =>
  outcome?.status === 'duplicate' ? null : outcome,
);

export const duplicatesCalledConflicts: () => MemoryPartition = judging((outcome, { guard }) =>
  outcome?.status === 'duplicate' ? { status: 'conflict', current: guard.next } : outcome,
);

export function ignoresNotAfter(): MemoryPartition {
  const partition = new MemoryPartition(MAX_EVENTS);
  const honest = partition.check.bind(partition);
  partition.check = (batch, nowMs) => honest(batch, Math.min(nowMs, batch.notAfter ?? nowMs));
  return partition;
}

/** Crashes are not counted when a task is claimed. */
export function countsNoCrashes(): MemoryPartition {
  const partition = new MemoryPartition(MAX_EVENTS);
  const honest = partition.write.bind(partition);
  partition.write = (batch, nowMs) => {
    const set = (batch.set ?? []).map(({ key, fields }) => {
      const { crashes: _, ...others } = fields;
      return { key, fields: others };
    });
    return honest({ ...batch, set }, nowMs);
  };
  return partition;
}

/** The holder never gives up by itself. */
export function neverFencesItself(): void {
  vi.spyOn(Attempt.prototype, 'expired').mockImplementation(() => {});
}

/** A renewal that leaves the index of running tasks as it is. */
export function renewsWithoutIndex(): void {
  vi.spyOn(LiveTask.prototype, 'renew').mockImplementation(function (this: LiveTask, draft) {
    const { taskId, leaseMs } = this.start;
    draft.set(keys.head(taskId), { leaseUntil: { fromNow: leaseMs } });
    return [keys.control(taskId)];
  });
}

/** Writes are acknowledged before they are durable. */
export function acknowledgesEarly(): void {
  const { writeThen } = RecordWriter.prototype;
  vi.spyOn(RecordWriter.prototype, 'writeThen').mockImplementation(async function (
    this: RecordWriter,
    change,
    then,
  ) {
    writeThen.call(this, change, () => {}).catch(() => {});
    return then(0);
  });
}

/** A batch that is sent again gets a token of its own. */
export function newTokenOnRetry(): void {
  const { freeze } = RecordWriter.prototype;
  const sent = new WeakMap<Batch, number>();
  vi.spyOn(RecordWriter.prototype, 'freeze').mockImplementation(function (this: RecordWriter) {
    const batch = freeze.call(this);
    const times = sent.get(batch) ?? 0;
    sent.set(batch, times + 1);
    if (times === 0) return batch;
    return { ...batch, guard: { ...batch.guard, next: `${batch.guard.next}${times}` } };
  });
}

interface Growth {
  readonly batch: Batch;
  readonly draft: Draft;
  readonly late: { change: (draft: Draft) => void; tell: (nowMs: number) => void; reject: () => void }[];
  resent: boolean;
}

/** A batch that is sent again takes along what was written in the meantime, and answers for both. */
export function growsOnRetry(): void {
  const { freeze, writeThen, settle, finish } = RecordWriter.prototype;
  const growths = new WeakMap<RecordWriter, Growth>();
  vi.spyOn(RecordWriter.prototype, 'freeze').mockImplementation(function (this: RecordWriter) {
    const batch = freeze.call(this);
    const growth = growths.get(this);
    if (growth?.batch !== batch) {
      growths.set(this, { batch, draft: new Draft(), late: [], resent: false });
      return batch;
    }
    growth.resent = true;
    const parts = growth.draft.batch(batch.guard, []);
    return {
      ...batch,
      set: [...(batch.set ?? []), ...(parts.set ?? [])],
      append: [...(batch.append ?? []), ...(parts.append ?? [])],
    };
  });
  vi.spyOn(RecordWriter.prototype, 'writeThen').mockImplementation(function (
    this: RecordWriter,
    change,
    then,
  ) {
    const growth = growths.get(this);
    if (growth === undefined) return writeThen.call(this, change, then);
    change(growth.draft);
    return new Promise<unknown>((resolve, reject) => {
      const tell = (nowMs: number): void => resolve(then(nowMs));
      growth.late.push({ change, tell, reject: () => reject(new Error('refused')) });
    });
  });
  vi.spyOn(RecordWriter.prototype, 'finish').mockImplementation(function (this: RecordWriter, change, then) {
    growths.delete(this);
    return finish.call(this, change, then);
  });
  vi.spyOn(RecordWriter.prototype, 'settle').mockImplementation(function (
    this: RecordWriter,
    outcome,
    nowMs,
  ) {
    const growth = growths.get(this);
    growths.delete(this);
    settle.call(this, outcome, nowMs);
    for (const { change, tell, reject } of growth?.late ?? []) {
      if (growth?.resent === true) tell(nowMs);
      else writeThen.call(this, change, tell).catch(reject);
    }
  });
}
