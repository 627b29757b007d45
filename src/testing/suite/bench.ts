/** What the cases of the conformance suite share: their types, and short ways to commit and to read. */
import assert from 'node:assert/strict';
import { RecoveryError } from '../../errors.js';
import type {
  Batch,
  CallOptions,
  CommitReply,
  Outcome,
  Storage,
  StoredRecord,
} from '../../storage/storage.js';

/** The number of a law of the storage contract. */
export type Law = 'S1' | 'S2' | 'S3' | 'S4' | 'S5' | 'S6' | 'S7' | 'S8';

/** One word a law, as in the contract. */
export const LAW_WORDS: Readonly<Record<Law, string>> = {
  S1: 'atomic',
  S2: 'guarded',
  S3: 'idempotent',
  S4: 'one clock',
  S5: 'indexes',
  S6: 'events',
  S7: 'exact',
  S8: 'honest',
};

/**
 * Faults that only the adapter's author can bring about. A case that needs one that is missing fails,
 * unless it is skipped with a reason. The first two have a default, made around the storage.
 */
export interface StorageFaults {
  /** Runs `call` so that its request arrives and its reply gets lost. */
  withLostReply?<T>(call: () => Promise<T>): Promise<T>;
  /** Runs `call` while its request is held on its way, and returns what delivers the request afterwards. */
  withHeldRequest?(call: () => Promise<unknown>): Promise<() => Promise<void>>;
  /** Puts something that is no record under the key of a record. */
  corrupt?(partition: string, key: string): Promise<void>;
  /** Makes the server forget the scripts that it has been taught. */
  flushScripts?(): Promise<void>;
  /** The server stops answering, or another writer takes the lock and keeps it. */
  freeze?(): Promise<void>;
  /** Ends {@link StorageFaults.freeze}. */
  thaw?(): Promise<void>;
}

/** What a case works with. */
export interface Bench {
  readonly storage: Storage;
  /** Another connection to the same store; the same one when the adapter has none to give. */
  readonly second: Storage;
  readonly faults: StorageFaults & Required<Pick<StorageFaults, 'withHeldRequest' | 'withLostReply'>>;
  /** A partition that nobody else uses. */
  readonly partition: string;
  /** Another such partition at every call. */
  freshPartition(): string;
  /** A token that was never used. */
  token(): string;
  readonly runs: number;
  readonly seed: number | undefined;
}

/** A case of the suite, before it has been given a store. */
export interface LawCase {
  readonly law: Law;
  readonly title: string;
  /** Opens the store with an event log this long. */
  readonly maxEvents?: number;
  run(bench: Bench): Promise<void>;
}

/** A time far after every run: 2100-01-01. */
export const FAR = 4_102_444_800_000;

type Parts = Omit<Batch, 'guard'>;

/** A batch that creates its guard. */
export function creation(key: string, next: string, parts: Parts = {}): Batch {
  return { guard: { key, expect: null, next }, notAfter: FAR, ...parts };
}

/** A batch that changes its guard, or removes it (`next: null`). */
export function change(key: string, expect: string, next: string | null, parts: Parts = {}): Batch {
  return { guard: { key, expect, next }, ...parts };
}

/** Commits one batch and returns its outcome and the reply's time. */
export async function commitOne(
  bench: Bench,
  batch: Batch,
  options?: CallOptions,
): Promise<{ readonly outcome: Outcome; readonly nowMs: number }> {
  const reply = await commitAll(bench, [batch], options);
  return { outcome: at(reply.outcomes, 0), nowMs: reply.nowMs };
}

/** Commits batches; there must be one outcome a batch. */
async function commitAll(
  bench: Bench,
  batches: readonly Batch[],
  options?: CallOptions,
): Promise<CommitReply> {
  const reply = await bench.storage.commit(bench.partition, batches, options);
  assert.equal(reply.outcomes.length, batches.length, 'A reply has one outcome a batch.');
  return reply;
}

/** `applied`, `duplicate`, `expired`, `conflict with <token>` or `refused <CODE>`. */
export function verdict(outcome: Outcome): string {
  if (outcome.status === 'conflict') return `conflict with ${outcome.current ?? 'nothing'}`;
  return outcome.status === 'refused' ? `refused ${outcome.code}` : outcome.status;
}

/** The verdicts on batches of one call. */
export async function verdicts(bench: Bench, ...batches: readonly Batch[]): Promise<string[]> {
  return (await commitAll(bench, batches)).outcomes.map(verdict);
}

/** Sends a batch of which a copy may be on its way, or may have arrived: it applies now, or it has. */
export async function applyOrFind(bench: Bench, batch: Batch): Promise<void> {
  const { outcome } = await commitOne(bench, batch);
  const given = verdict(outcome);
  assert.ok(given === 'applied' || given === 'duplicate', `a batch sent again is ${given}`);
}

/** Commits batches that must all apply, in one call. */
export async function apply(bench: Bench, ...batches: readonly Batch[]): Promise<CommitReply> {
  const reply = await commitAll(bench, batches);
  assert.deepEqual(
    reply.outcomes.map(verdict),
    batches.map(() => 'applied'),
  );
  return reply;
}

/** What an applied or duplicate batch observed. */
export function observed(outcome: Outcome): readonly (StoredRecord | null)[] {
  assert.ok('observed' in outcome, `The batch is ${verdict(outcome)} and observed nothing.`);
  return outcome.observed;
}

/** A record, for comparison. */
export function recordOf(fields: Readonly<Record<string, string>>): Map<string, string> {
  return new Map(Object.entries(fields));
}

/** Reads one record. */
export async function readOne(
  bench: Bench,
  key: string,
  fields?: readonly string[],
): Promise<StoredRecord | null> {
  const { records } = await bench.storage.read(bench.partition, [key], fields);
  assert.equal(records.length, 1, 'A read has one answer a key.');
  return at(records, 0);
}

/** The ids of an index, ascending. */
export async function idsOf(bench: Bench, index: string): Promise<string[]> {
  const { entries } = await bench.storage.range(bench.partition, index, { limit: 10_000 });
  return entries.map(({ id }) => id);
}

/** One field of all events kept, in order. */
export async function eventTexts(bench: Bench, field: string): Promise<(string | undefined)[]> {
  const { events } = await bench.storage.events(bench.partition, { after: null, limit: 10_000 });
  return events.map(({ fields }) => fields.get(field));
}

/** The element at a place that must exist. */
export function at<T>(list: readonly T[], place: number): T {
  const element = list[place];
  assert.ok(element !== undefined, `There is no element ${place}.`);
  return element;
}

/** Resolves when the storage's own time is past `ms`, a few seconds from now at most. */
export async function timePassed(bench: Bench, ms: number): Promise<void> {
  for (let tries = 0; tries < 500; tries += 1) {
    const { nowMs } = await bench.storage.read(bench.partition, ['clock']);
    if (nowMs > ms) return;
    await pause(Math.min(20, ms - nowMs + 1));
  }
  assert.fail("the storage's time does not go on");
}

/** Waits on the machine's clock. */
export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
}

/** A fault that the case needs. */
export function fault<K extends keyof StorageFaults>(bench: Bench, name: K): NonNullable<StorageFaults[K]> {
  const hook = bench.faults[name];
  assert.ok(hook, `This case needs faults.${name} from open(); give it, or skip the case with a reason.`);
  return hook;
}

/** fast-check, which only the properties need. */
export async function fastCheck(): Promise<typeof import('fast-check')> {
  try {
    return await import('fast-check');
  } catch (cause) {
    const advice = 'The properties of the storage suite need fast-check: npm install -D fast-check';
    throw new RecoveryError('DRIVER_MISSING', advice, { cause });
  }
}

/** The parameters of every property. */
export function propertyOptions(bench: Bench): { numRuns: number; seed?: number } {
  return { numRuns: bench.runs, ...(bench.seed === undefined ? {} : { seed: bench.seed }) };
}
