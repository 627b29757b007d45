/** The head: a task's guarded record. Its fields, and their way to and from plain values. */
import { RecoveryError } from '../errors.js';
import { ORPHAN_CAUSES, TASK_STATUSES } from '../domain/task.js';
import type { CrashEvidence, StoredError, TaskRecord, TaskStatus } from '../domain/task.js';
import { isObject } from '../domain/check-options.js';
import { TOKEN_FIELD } from '../storage/storage.js';
import type { StoredRecord } from '../storage/storage.js';
import { decodeFailure, FAILED_AT_FIELD, FAILURE_FIELD, OPEN_AT_FIELD } from './failures.js';
import type { KnownFailure } from './failures.js';
import { MAX_PRIORITY } from './keys.js';
import { decodeMark, DISCOVERING_PREFIX, itemsOf, MAP_PREFIX, MAX_BUCKETS, STEP_PREFIX } from './ledger.js';
import type { KeptPieces, MapMark } from './ledger.js';
import { fenceOf } from './token.js';

/** The progress that an automatic checkpoint kept. */
interface AutomaticMark {
  readonly percent: number;
  readonly step: string | null;
  readonly atMs: number;
}

/** A head as it was read. */
export interface Head {
  readonly task: TaskRecord;
  readonly token: string;
  /** Number of the newest explicit checkpoint; 0 before the first. */
  readonly checkpointSeq: number;
  /** Checkpoints up to this number are void: a clean restart came after them. */
  readonly checkpointBase: number;
  readonly automatic: AutomaticMark | null;
  /** Names of explicit checkpoints, with the number of the newest one of each name. */
  readonly reached: ReadonlyMap<string, number>;
  readonly eventSeq: number;
  readonly pieces: KeptPieces;
  /** Maps whose discovered items were being written, and into how many buckets. */
  readonly discovering: ReadonlyMap<string, number>;
  /** The JSON text of the arguments, when it is short enough to live in the head. */
  readonly input: string | null;
  /** The JSON text of the result, when it is short enough. */
  readonly result: string | null;
  /** `none`: no result yet, or undefined; `inline`, `record`: where it is; `unstorable`: JSON could not hold it. */
  readonly resultKind: 'none' | 'inline' | 'record' | 'unstorable';
  /** What was captured of the caller's context, sealed; null when there was nothing. */
  readonly userContext: string | null;
  /** The attempt in which user code was let run last; a first attempt's start is not recorded. */
  readonly began: number;
  /** Whether the present or last attempt was under suspicion of crashing its process. */
  readonly suspect: boolean;
  /** When the present or last attempt began. */
  readonly claimedAtMs: number;
  /** What is known of it as a failed document; null when it is none. */
  readonly failed: KnownFailure | null;
  /** How long it has run under live leases, in ms; kept only for tasks with a maximum. */
  readonly ranMs: number;
  /** The fence that it was given to a queue under last; null when it never was. */
  readonly handOverFence: number | null;
  /** What several tasks of one job have in common. */
  readonly group: string | null;
  /** How many of its records are removed, by somebody who takes all of it away; null: nobody does. */
  readonly purged: number | null;
  /** When the present or last lease ends or ended, by the storage's clock; kept when the task has left its owner. */
  readonly leaseEndMs: number | null;
  /** What watchers of an attempt have left for those of the next one. */
  readonly trace: string | null;
}

/** Without a version of their own, tasks and code are of this one. */
export const FIRST_VERSION = '1';

/** Texts up to this many characters live in the head itself: a key less to write and to read. */
export const INLINE_CHARACTERS = 1_024;
export const HAND_OVER_FIELD = 'handOverUntil';
export const HAND_OVER_FENCE_FIELD = 'handOverFence';
export const GROUP_FIELD = 'group';
/** Set on a task that is being removed. */
export const PURGING_FIELD = 'purging';
export const REACHED_PREFIX = 'r:';
export const TRACE_FIELD = 'trace';

class Reader {
  readonly #record: StoredRecord;
  readonly #taskId: string;

  constructor(taskId: string, record: StoredRecord) {
    this.#taskId = taskId;
    this.#record = record;
  }

  corrupt(field: string): RecoveryError {
    return new RecoveryError(
      'CORRUPT_RECORD',
      `The head of task "${this.#taskId}" has an unusable "${field}".`,
      {
        details: { taskId: this.#taskId, field },
      },
    );
  }

  text(field: string): string | null {
    return this.#record.get(field) ?? null;
  }

  number(field: string): number | null {
    const text = this.#record.get(field);
    // An empty text clears a field: cheaper than removing it, since the head is written anyway.
    if (text === undefined || text === '') return null;
    const value = Number(text);
    if (!Number.isFinite(value)) throw this.corrupt(field);
    return value;
  }

  required<T>(field: string, value: T | null): T {
    if (value === null) throw this.corrupt(field);
    return value;
  }

  oneOf<T extends string>(field: string, allowed: readonly T[]): T | null {
    const text = this.#record.get(field);
    if (text === undefined) return null;
    return this.required(field, allowed.find((name) => name === text) ?? null);
  }

  json(field: string): unknown {
    const text = this.#record.get(field);
    if (text === undefined || text === '') return null;
    try {
      return JSON.parse(text);
    } catch {
      throw this.corrupt(field);
    }
  }
}

function storedError(value: unknown): StoredError | null {
  if (!isObject(value)) return null;
  const { name, message, code } = value;
  return {
    name: typeof name === 'string' ? name : 'Error',
    message: typeof message === 'string' ? message : '',
    code: typeof code === 'string' ? code : null,
  };
}

function knownFailure(reader: Reader, { createdAtMs }: TaskRecord): KnownFailure | null {
  const failure = decodeFailure(reader.json(FAILURE_FIELD));
  const failedAtMs = reader.number(FAILED_AT_FIELD) ?? createdAtMs;
  return failure && { failure, failedAtMs, openAtMs: reader.number(OPEN_AT_FIELD) ?? failedAtMs };
}

function automaticMark(value: unknown): AutomaticMark | null {
  if (!isObject(value) || typeof value['percent'] !== 'number' || typeof value['atMs'] !== 'number')
    return null;
  const step = value['step'];
  return { percent: value['percent'], step: typeof step === 'string' ? step : null, atMs: value['atMs'] };
}

function crashOf(value: unknown): CrashEvidence[] {
  if (!isObject(value) || typeof value['atMs'] !== 'number') return [];
  const { atMs, owner, fence, attempt, cause, step, progressPercent, ranMs, suspects } = value;
  const number = (given: unknown): number => (typeof given === 'number' ? given : 0);
  return [
    {
      atMs,
      owner: typeof owner === 'string' ? owner : null,
      fence: number(fence),
      attempt: number(attempt),
      cause: ORPHAN_CAUSES.find((known) => known === cause) ?? 'lease_over',
      step: typeof step === 'string' ? step : null,
      progressPercent: number(progressPercent),
      ranMs: number(ranMs),
      suspects: typeof suspects === 'number' ? suspects : null,
    },
  ];
}

/** Fields whose names go on with a name of the user's own. */
interface NamedFields {
  readonly reached: Map<string, number>;
  readonly discovering: Map<string, number>;
  readonly steps: Map<string, string>;
  readonly maps: Map<string, MapMark>;
}

/** In one walk: after a crash the heads of all that was in flight are read at once, by code that has never run. */
function namedFields(record: StoredRecord, reader: Reader): NamedFields {
  const found: NamedFields = {
    reached: new Map(),
    discovering: new Map(),
    steps: new Map(),
    maps: new Map(),
  };
  record.forEach((value, field) => {
    // All prefixes are a letter and a colon.
    if (field[1] !== ':') return;
    const name = field.slice(2);
    switch (field.slice(0, 2)) {
      case STEP_PREFIX:
        found.steps.set(name, value);
        break;
      case MAP_PREFIX:
        found.maps.set(name, reader.required(field, decodeMark(value)));
        break;
      case REACHED_PREFIX:
        found.reached.set(name, reader.required(field, reader.number(field)));
        break;
      case DISCOVERING_PREFIX: {
        const buckets = reader.number(field) ?? 0;
        if (buckets > 0 && buckets <= MAX_BUCKETS) found.discovering.set(name, buckets);
      }
    }
  });
  return found;
}

function dueAt(reader: Reader, status: TaskStatus): number | null {
  if (status === 'pending') return reader.number(HAND_OVER_FIELD) ?? 0;
  return status === 'orphaned' ? reader.number('dueAt') : null;
}

function decodeTask(taskId: string, reader: Reader, token: string, pieces: KeptPieces): TaskRecord {
  const crashed = reader.json('crashes');
  const crashes = Array.isArray(crashed) ? crashed.flatMap(crashOf) : [];
  const priority = reader.number('priority') ?? 0;
  const status = reader.required('status', reader.oneOf<TaskStatus>('status', TASK_STATUSES));
  const ended = (['failed', 'dead_letter', 'completed', 'cancelled'] as const).some((end) => end === status);
  if (priority < 0 || priority > MAX_PRIORITY) throw reader.corrupt('priority');
  return {
    taskId,
    name: reader.required('name', reader.text('name')),
    status,
    priority,
    version: reader.text('version') ?? FIRST_VERSION,
    attempt: reader.required('attempt', reader.number('attempt')),
    errorCount: reader.number('errors') ?? 0,
    fence: reader.required(TOKEN_FIELD, fenceOf(token)),
    owner: reader.text('owner'),
    dueAtMs: dueAt(reader, status),
    leaseUntilMs: status === 'processing' ? reader.required('leaseUntil', reader.number('leaseUntil')) : null,
    progressPercent: reader.number('progress') ?? 0,
    step: reader.text('step'),
    description: reader.text('description'),
    createdAtMs: reader.required('createdAt', reader.number('createdAt')),
    progressAtMs: reader.number('progressAt') ?? reader.number('createdAt') ?? 0,
    endedAtMs: ended ? reader.number('endedAt') : null,
    stuckSinceMs: reader.number('stuckSince'),
    crashes,
    crashedAtMs: crashes.map(({ atMs }) => atMs),
    orphanCause: reader.oneOf('cause', ORPHAN_CAUSES),
    items: itemsOf(pieces.maps),
    error: status === 'completed' || status === 'processing' ? null : storedError(reader.json('error')),
  };
}

/** @throws `CORRUPT_RECORD` naming the field that something else has written over */
export function decodeHead(taskId: string, record: StoredRecord): Head {
  const reader = new Reader(taskId, record);
  const token = reader.required(TOKEN_FIELD, reader.text(TOKEN_FIELD));
  const { reached, discovering, steps, maps } = namedFields(record, reader);
  const origin = reader.number('origin') ?? reader.number('createdAt') ?? 0;
  const pieces: KeptPieces = { origin, steps, maps };
  const task = decodeTask(taskId, reader, token, pieces);
  return {
    task,
    token,
    // Each explicit checkpoint has left its number under its name, and the last one is the highest.
    checkpointSeq: [...reached.values()].reduce((highest, seq) => Math.max(highest, seq), 0),
    checkpointBase: reader.number('checkpointBase') ?? 0,
    automatic: automaticMark(reader.json('auto')),
    reached,
    eventSeq: reader.number('eventSeq') ?? 0,
    pieces,
    discovering,
    input: reader.text('input'),
    result: reader.text('result'),
    resultKind: reader.oneOf('resultKind', ['none', 'inline', 'record', 'unstorable'] as const) ?? 'none',
    userContext: reader.text('user'),
    began: reader.number('began') ?? 0,
    suspect: reader.text('suspect') === '1',
    claimedAtMs: reader.number('claimedAt') ?? task.createdAtMs,
    failed: knownFailure(reader, task),
    ranMs: reader.number('ranMs') ?? 0,
    handOverFence: reader.number(HAND_OVER_FENCE_FIELD),
    group: reader.text(GROUP_FIELD),
    purged: reader.number(PURGING_FIELD),
    leaseEndMs: reader.number('leaseUntil'),
    trace: reader.text(TRACE_FIELD) || null,
  };
}
