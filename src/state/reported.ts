/** The changes of state by which somebody reports a failure by hand. */
import type { StoredError } from '../domain/task.js';
import type { Batch, Fields } from '../storage/storage.js';
import { failed } from './failures.js';
import { INLINE_CHARACTERS, REACHED_PREFIX } from './head.js';
import type { Head } from './head.js';
import { indexes, keys } from './keys.js';
import { DISCOVERING_PREFIX, MAP_PREFIX, STEP_PREFIX } from './ledger.js';
import type { NewFailure } from './live-failure.js';
import { piecesOf } from './removal.js';
import type { Stamp } from './removal.js';
import { countRecovery } from './recovery-counters.js';
import { errorDetails, eventFields } from './task-events.js';
import { makeToken } from './token.js';
import { leave, replaced } from './transitions.js';

/** A failure that somebody reports by hand. */
export interface ReportedFailure extends NewFailure {
  readonly taskId: string;
  readonly name: string;
  readonly version: string;
  readonly error: StoredError;
  /** The arguments to try it with, as they are to be stored; for a document that nobody has heard of. */
  readonly storedInput: string;
}

/** A failure that is heard of. */
function heard({ atMs }: Stamp): NonNullable<Batch['increment']> {
  return countRecovery({ failures: 1 }, atMs);
}

type Reported = Batch & { append: Fields[] };

/** A document that nobody has heard of gets a head of its own: that of a task that has failed. */
export function newDocumentBatch(report: ReportedFailure, fence: number, stamp: Stamp): Reported {
  const { nonce, notAfter } = stamp;
  const { taskId, name, storedInput, failure, fields } = report;
  const change = failed(taskId, null, failure);
  const inline = storedInput.length <= INLINE_CHARACTERS;
  const head: Fields = {
    status: 'failed',
    name,
    priority: '0',
    attempt: '0',
    origin: String(fence),
    createdAt: { fromNow: 0 },
    endedAt: { fromNow: 0 },
    eventSeq: '1',
    version: report.version,
    error: JSON.stringify(report.error),
    ...(inline ? { input: storedInput } : {}),
    ...change.head,
  };
  return {
    guard: { key: keys.head(taskId), expect: null, next: makeToken(fence, nonce, 0) },
    notAfter,
    set: [
      { key: keys.head(taskId), fields: head },
      { key: keys.failure(taskId), fields },
      ...(inline ? [] : [{ key: keys.input(taskId), fields: { data: storedInput } }]),
    ],
    index: [{ index: indexes.inState('failed', name), id: taskId, score: { fromNow: 0 } }, ...change.index],
    increment: heard(stamp),
    append: [
      eventFields(
        'task_failed',
        { taskId, name, attempt: 0, recovered: false },
        1,
        errorDetails(report.error),
      ),
    ],
  };
}

/** What a head says of a task of which nothing has been done. */
const UNTOUCHED: Fields = {
  resultKind: 'none',
  result: '',
  progress: '0',
  auto: '',
  checkpointBase: '0',
  crashes: '[]',
  errors: '0',
  ranMs: '0',
};

/** One that failed before has failed again; one that was completed is to be done afresh. A dead letter stays one. */
export function reportedBatch(head: Head, report: ReportedFailure, stamp: Stamp): Reported {
  const { nonce, notAfter } = stamp;
  const { taskId, name, attempt, fence, status } = head.task;
  const dead = status === 'dead_letter';
  const change = failed(taskId, head.failed, report.failure, { waits: !dead, reported: true });
  const seq = head.eventSeq + 1;
  const afresh = status === 'completed';
  const state = dead ? status : 'failed';
  const pieces = afresh ? pieceFields(head) : [];
  const key = keys.head(taskId);
  return {
    guard: { key, expect: head.token, next: makeToken(fence + 1, nonce, 0) },
    notAfter,
    ...(afresh ? { remove: [keys.result(taskId), ...piecesOf(head)] } : {}),
    ...(pieces.length > 0 ? { unset: [{ key, fields: pieces }] } : {}),
    set: [
      {
        key,
        fields: {
          status: state,
          endedAt: { fromNow: 0 },
          error: JSON.stringify(report.error),
          eventSeq: String(seq),
          ...(afresh ? { ...UNTOUCHED, origin: String(fence + 1), version: report.version } : {}),
          ...change.head,
        },
      },
      { key: keys.failure(taskId), fields: report.fields },
    ],
    index: replaced(leave(head), [
      { index: indexes.inState(state, name), id: taskId, score: { fromNow: 0 } },
      ...change.index,
    ]),
    increment: heard(stamp),
    append: [
      eventFields(
        'task_failed',
        { taskId, name, attempt, recovered: false },
        seq,
        errorDetails(report.error),
      ),
    ],
  };
}

/** Names of the head's fields that tell of checkpoints, steps and items. */
function pieceFields({ reached, discovering, pieces: { steps, maps } }: Head): string[] {
  return [
    ...[...reached.keys()].map((name) => REACHED_PREFIX + name),
    ...[...steps.keys()].map((name) => STEP_PREFIX + name),
    ...[...maps.keys()].map((name) => MAP_PREFIX + name),
    ...[...discovering.keys()].map((name) => DISCOVERING_PREFIX + name),
  ];
}
