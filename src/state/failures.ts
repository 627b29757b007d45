/**
 * Failed documents: what is kept of a task's failure, and the indexes over all of them. A failure belongs to its task's
 * family: it changes under the head's guard, with the change of state that it tells of.
 */
import { isObject } from '../domain/check-options.js';
import { MOST_RETRIES } from '../domain/document-recovery.js';
import type { OrphanCause, StoredError } from '../domain/task.js';
import type { Batch, Fields, FromNow } from '../storage/storage.js';
import { hashOf } from './keys.js';

/** What stands in the head: enough to keep the indexes right. */
export interface Failure {
  /** Retries since it failed first, or was requeued. */
  readonly retryCount: number;
  /** Retries in all. */
  readonly attempts: number;
  readonly fingerprint: string;
  readonly category: string;
  readonly worker: string;
  /** What is common to queries of its kind; null without one. */
  readonly queryPattern: string | null;
  /** The version of the code that it failed under. */
  readonly version: string;
}

/** What else is kept, in a record of its own: field by field, so that a later failure can leave some as they are. */
export const failureFields = {
  /** JSON of {@link FailedDocument}. */
  document: 'doc',
  /** JSON of {@link FailureCause}. */
  cause: 'data',
  /** JSON that whoever reported it by hand has added. */
  metadata: 'meta',
  /** When the last attempt failed. */
  at: 'at',
} as const;

/** What a document is called. */
export interface FailedDocument {
  readonly path: string;
  readonly query: string | null;
}

/** Why it failed last. */
export interface FailureCause {
  readonly error: StoredError;
  /** Where in the user's code it was thrown; null when that is not known. */
  readonly frame: string | null;
}

/** By what failures are told apart, each with an index a value. */
export type Facet = 'fingerprint' | 'category' | 'worker' | 'query';
export const FACETS: readonly Facet[] = ['fingerprint', 'category', 'worker', 'query'];

/** Into so many waves the retries of one count are spread, so that they don't all come at once. */
export const WAVES = 8;

export const failureIndexes = {
  /** All failures, by when they failed first. */
  all: 'failures',
  /** Of those, the ones that are not given up, by when they failed first, or were put back or reported anew. */
  open: 'failures:open',
  /** Those that are being tried again, or wait for that in the recovery queue, by when that began. */
  trying: 'failures:trying',
  /** And the ones that are given up, by when they were. */
  dead: 'failures:dead',
  /** Those with a value of a facet, by when they failed first. */
  by: (facet: Facet, value: string): string => `failures:${facet}:${value}`,
  /** The values of a facet, by when they were seen last. */
  values: (facet: Facet): string => `failures:${facet}s`,
  /** Those that wait for this retry, by their last attempt. */
  waiting: (place: string): string => `failures:retry:${place}`,
  /** The places of {@link waiting} that were ever used, as `retries:wave`. */
  waitingPlaces: 'failures:retries',
} as const;

/** The wave of a document's retry: always the same one, and another one for the next retry. */
export function waveOf(taskId: string, retryCount: number): number {
  return hashOf(`${retryCount}:${taskId}`) % WAVES;
}

/** Where it waits for its next retry. Counts over {@link MOST_RETRIES} share the last place. */
function placeOf(taskId: string, { retryCount }: Failure): string {
  const count = Math.min(retryCount, MOST_RETRIES);
  return `${count}:${waveOf(taskId, count)}`;
}

function waitingOf(taskId: string, failure: Failure): string {
  return failureIndexes.waiting(placeOf(taskId, failure));
}

function facetsOf({ fingerprint, category, worker, queryPattern }: Failure): [Facet, string][] {
  return [
    ['fingerprint', fingerprint],
    ['category', category],
    ['worker', worker],
    ...(queryPattern === null ? [] : [['query', queryPattern] satisfies [Facet, string]]),
  ];
}

type IndexChange = NonNullable<Batch['index']>[number];

/** Index entries that say of a failure what it is. */
function entriesOf(taskId: string, failure: Failure, score: number | FromNow | null): IndexChange[] {
  return [
    failureIndexes.all,
    ...facetsOf(failure).map(([facet, value]) => failureIndexes.by(facet, value)),
  ].map((index) => ({ index, id: taskId, score }));
}

/** What a change of a failure adds to the batch that makes it. */
export interface FailureChange {
  /** Fields of the head. */
  readonly head: Fields;
  readonly index: readonly IndexChange[];
}

/** A failure as its head tells of it. */
export interface KnownFailure {
  readonly failure: Failure;
  /** When it failed first, in ms since 1970 by the storage's clock. */
  readonly failedAtMs: number;
  /** From when its retention counts, likewise: since it failed first, or somebody asked for it again. */
  readonly openAtMs: number;
}

export const FAILURE_FIELD = 'failure';
export const FAILED_AT_FIELD = 'failedAt';
export const OPEN_AT_FIELD = 'openAt';

/** How a failure was heard of. */
interface FailedHow {
  /** Whether it waits for a retry, or is given up already. */
  readonly waits: boolean;
  /** Whether somebody has reported it by hand: its retention counts anew. */
  readonly reported: boolean;
}
const BY_ITSELF: FailedHow = { waits: true, reported: false };

/** A task has failed: for the first time, or again. */
export function failed(
  taskId: string,
  before: KnownFailure | null,
  failure: Failure,
  { waits, reported }: FailedHow = BY_ITSELF,
): FailureChange {
  const now: FromNow = { fromNow: 0 };
  const entries = entriesOf(taskId, failure, before?.failedAtMs ?? now);
  const stays = new Set(entries.map(({ index }) => index));
  const gone = before === null ? [] : entriesOf(taskId, before.failure, null);
  const seen = facetsOf(failure).map(([facet, value]) => ({
    index: failureIndexes.values(facet),
    id: value,
    score: now,
  }));
  return {
    head: {
      [FAILURE_FIELD]: JSON.stringify(failure),
      ...(before === null ? { [FAILED_AT_FIELD]: now } : {}),
      ...(before !== null && reported ? { [OPEN_AT_FIELD]: now } : {}),
    },
    index: [
      ...gone.filter(({ index }) => !stays.has(index)),
      ...entries,
      ...seen,
      ...(waits ? waiting(taskId, failure, before === null || reported ? now : before.openAtMs) : []),
      // One that was given up before it was tracked counts as such from now on.
      ...(waits || before !== null ? [] : [{ index: failureIndexes.dead, id: taskId, score: now }]),
      ...(before === null ? [] : [idle(taskId)]),
    ],
  };
}

/** Nobody is at it. */
function idle(taskId: string): IndexChange {
  return { index: failureIndexes.trying, id: taskId, score: null };
}

function waiting(taskId: string, failure: Failure, openAt: number | FromNow): IndexChange[] {
  const now: FromNow = { fromNow: 0 };
  return [
    { index: failureIndexes.waitingPlaces, id: placeOf(taskId, failure), score: now },
    { index: waitingOf(taskId, failure), id: taskId, score: now },
    { index: failureIndexes.open, id: taskId, score: openAt },
  ];
}

/** Takeovers by which a failed document is tried again. */
export function isRetry(cause: OrphanCause): boolean {
  return cause === 'retried' || cause === 'requeued';
}

/** A failure with one retry more. One that was put back has got all its retries again before. */
export function onceMore(failure: Failure, cause: OrphanCause): Failure {
  const retryCount = failure.retryCount + (cause === 'retried' ? 1 : 0);
  return { ...failure, retryCount, attempts: failure.attempts + 1 };
}

/** A failed task is taken up once more: that attempt counts from here on, whatever becomes of it. */
export function retried(
  taskId: string,
  { failure, openAtMs }: KnownFailure,
  cause: OrphanCause,
): FailureChange {
  return {
    head: { [FAILURE_FIELD]: JSON.stringify(onceMore(failure, cause)) },
    index: tried(taskId, failure, openAtMs),
  };
}

/** What has become of retries, counted in each partition, in the commits that decide it. */
export const counterFields = {
  attempts: 'attempts',
  succeeded: 'succeeded',
  failed: 'failed',
  /** How long the successful ones took together, in ms. */
  succeededMs: 'succeededMs',
} as const;

/** It waits for nothing, and is not given up. */
function awake(taskId: string, failure: Failure): IndexChange[] {
  return [
    { index: waitingOf(taskId, failure), id: taskId, score: null },
    { index: failureIndexes.dead, id: taskId, score: null },
  ];
}

/** Its turn has come. */
function tried(taskId: string, failure: Failure, openAt: number | FromNow): IndexChange[] {
  return [
    ...awake(taskId, failure),
    { index: failureIndexes.open, id: taskId, score: openAt },
    { index: failureIndexes.trying, id: taskId, score: { fromNow: 0 } },
  ];
}

/** Its tries are used up: it is a failure still, and waits for nothing. */
export function exhausted(taskId: string, failure: Failure): IndexChange[] {
  return [
    { index: waitingOf(taskId, failure), id: taskId, score: null },
    { index: failureIndexes.open, id: taskId, score: null },
    { index: failureIndexes.dead, id: taskId, score: { fromNow: 0 } },
    idle(taskId),
  ];
}

/** It has all its retries again, and its retention counts anew. */
export function requeued(taskId: string, { failure }: KnownFailure): FailureChange {
  const now: FromNow = { fromNow: 0 };
  return {
    head: { [FAILURE_FIELD]: JSON.stringify({ ...failure, retryCount: 0 }), [OPEN_AT_FIELD]: now },
    index: tried(taskId, failure, now),
  };
}

/** It is no failure any more. The record of its details is to be removed with this. */
export function forgotten(taskId: string, failure: Failure): FailureChange {
  return {
    head: { [FAILURE_FIELD]: '', [FAILED_AT_FIELD]: '', [OPEN_AT_FIELD]: '' },
    index: [
      ...entriesOf(taskId, failure, null),
      ...awake(taskId, failure),
      { index: failureIndexes.open, id: taskId, score: null },
      idle(taskId),
    ],
  };
}

/** Null for a task that is no failed document, or whose mark something else has written over. */
export function decodeFailure(value: unknown): Failure | null {
  if (!isObject(value)) return null;
  const { retryCount, attempts, fingerprint, category, worker, queryPattern, version } = value;
  if (typeof retryCount !== 'number' || typeof fingerprint !== 'string' || typeof category !== 'string')
    return null;
  return {
    retryCount,
    attempts: typeof attempts === 'number' ? attempts : retryCount,
    fingerprint,
    category,
    worker: typeof worker === 'string' ? worker : '',
    queryPattern: typeof queryPattern === 'string' ? queryPattern : null,
    version: typeof version === 'string' ? version : '',
  };
}
