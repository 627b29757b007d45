import { expect } from 'vitest';
import { TASK_STATUSES } from '../../src/domain/task.js';
import type { Plan } from '../../src/domain/task.js';
import { Draft } from '../../src/state/draft.js';
import { decodeHead } from '../../src/state/head.js';
import type { Head } from '../../src/state/head.js';
import { indexes, keys } from '../../src/state/keys.js';
import { LiveTask } from '../../src/state/live-task.js';
import { makeToken } from '../../src/state/token.js';
import { createBatch } from '../../src/state/transitions.js';
import type { Claim, Holder, NewTask } from '../../src/state/transitions.js';
import type { Batch, Outcome, Storage, StoredRecord } from '../../src/storage/storage.js';
import type { ManualClock } from '../support/manual-clock.js';
import { plainStore } from './manual-storage.js';

export const HOME = 'test:0';
export const FOREVER: number = Number.MAX_SAFE_INTEGER;
const OWNERS: readonly string[] = ['w1', 'w2', 'w3'];

export function holder(owner: string, fence = 10): Holder {
  return { owner, leaseMs: 1_000, fence, nonce: `nonce-${owner}-${fence}`, notAfter: FOREVER };
}

export function plan(action: Plan['action'], reason = 'because'): Plan {
  return { action, reason, evidence: {}, strategy: 's' };
}

export function newTask(change: Partial<NewTask> = {}): NewTask {
  return {
    taskId: 't',
    name: 'n',
    priority: 0,
    version: '1',
    storedInput: '[1]',
    userContext: null,
    group: null,
    ...change,
  };
}

/** A moment for what is counted. */
export const NOW = { monotonicMs: 0, storageMs: 0 } as const;

/** A claim for a resume by code of the same version; `head` is to be given. */
export function claimOn(head: Head, change: Partial<Claim> = {}): Claim {
  return {
    head,
    cause: 'lease_over',
    plan: plan('resume'),
    crashes: [],
    suspect: false,
    version: head.task.version,
    atMs: 0,
    resumeSeq: null,
    resumeName: null,
    resumePercent: 0,
    ...change,
  };
}

export interface TaskInMemory {
  readonly storage: Storage;
  readonly clock: ManualClock;
  readonly commit: (batch: Batch) => Promise<Outcome>;
  readonly head: () => Promise<Head>;
  /** A record's fields; null when there is none. */
  readonly record: (key: string) => Promise<StoredRecord | null>;
  /** The task's score in each index that it stands in. */
  readonly scores: () => Promise<Map<string, number>>;
  readonly events: () => Promise<Record<string, string>[]>;
}

/** One task "t" of name "n" on a memory storage, and ways to look at all that there is about it. */
export function taskInMemory(): TaskInMemory {
  const { storage, clock } = plainStore();
  const commit = async (batch: Batch): Promise<Outcome> => {
    const { outcomes } = await storage.commit(HOME, [batch]);
    const [outcome] = outcomes;
    if (outcome === undefined) throw new Error('no outcome');
    return outcome;
  };
  const record = async (key: string): Promise<StoredRecord | null> =>
    (await storage.read(HOME, [key])).records[0] ?? null;
  const head = async (): Promise<Head> => {
    const found = await record(keys.head('t'));
    if (found === null) throw new Error('no head');
    return decodeHead('t', found);
  };
  const scores = async (): Promise<Map<string, number>> => {
    const names = [
      ...TASK_STATUSES.map((status) => indexes.inState(status, 'n')),
      ...OWNERS.map(indexes.held),
      indexes.stuck('n'),
      indexes.quarantined('n'),
    ];
    const found = new Map<string, number>();
    for (const name of names) {
      const { entries } = await storage.range(HOME, name, { limit: 10 });
      for (const { score } of entries) found.set(name, score);
    }
    return found;
  };
  const events = async (): Promise<Record<string, string>[]> => {
    const page = await storage.events(HOME, { after: null, limit: 1_000 });
    return page.events.map(({ fields }) => Object.fromEntries(fields));
  };
  return { storage, clock, commit, head, record, scores, events };
}

/** The chain of writes of a holder, without a queue. */
export async function hold(
  task: TaskInMemory,
  by: Holder,
  recovered = false,
): Promise<{ live: LiveTask; write: (change: (draft: Draft) => unknown) => Promise<Outcome> }> {
  const start = await task.head();
  const live = new LiveTask({
    taskId: 't',
    name: 'n',
    priority: start.task.priority,
    attempt: start.task.attempt,
    recovered,
    owner: by.owner,
    leaseMs: by.leaseMs,
    startedMs: task.clock.monotonicMs(),
    eventSeq: start.eventSeq,
    checkpointSeq: start.checkpointSeq,
    hasAutomatic: start.automatic !== null,
    traced: false,
    failed: start.failed,
  });
  let sequence = 0;
  const write = async (change: (draft: Draft) => unknown): Promise<Outcome> => {
    const draft = new Draft();
    change(draft);
    const guard = {
      key: keys.head('t'),
      expect: makeToken(by.fence, by.nonce, sequence),
      next: makeToken(by.fence, by.nonce, sequence + 1),
    };
    sequence += 1;
    live.prepare(draft);
    return task.commit(draft.batch(guard, []));
  };
  return { live, write };
}

export async function create(
  task: TaskInMemory,
  by: Holder = holder('w1'),
  change: Partial<NewTask> = {},
): Promise<void> {
  const outcome = await task.commit(createBatch(newTask(change), by));
  expect(outcome.status).toBe('applied');
}

/** The task stands in the indexes that its head asks for, and in no others; its events are numbered without a gap. */
export async function expectConsistent(task: TaskInMemory): Promise<void> {
  const { task: record, eventSeq } = await task.head();
  const wanted = new Set([indexes.inState(record.status, 'n')]);
  if (record.status === 'processing') wanted.add(indexes.held(record.owner ?? ''));
  if (record.stuckSinceMs !== null) wanted.add(indexes.stuck('n'));
  expect(new Set((await task.scores()).keys())).toEqual(wanted);
  const seqs = (await task.events()).map(({ seq }) => Number(seq));
  expect(seqs).toEqual(Array.from({ length: eventSeq }, (_, index) => index + 1));
}
