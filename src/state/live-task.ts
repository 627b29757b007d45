/** A task as its present owner knows it, and the changes that only the owner makes, as additions to a draft. */
import type { RecoveryEventType } from '../domain/events.js';
import type { StoredError } from '../domain/task.js';
import type { Fields } from '../storage/storage.js';
import { encodeCheckpoint } from './checkpoint-store.js';
import type { CheckpointText } from './checkpoint-store.js';
import type { Draft } from './draft.js';
import type { KnownFailure } from './failures.js';
import { REACHED_PREFIX } from './head.js';
import { countCompleted, countFailed } from './live-counts.js';
import type { Moment } from './live-counts.js';
import { resultFields } from './live-result.js';
import type { ResultText } from './live-result.js';
import { forgetFailure, keepFailure } from './live-failure.js';
import type { NewFailure } from './live-failure.js';
import { indexes, keys, priorityBase } from './keys.js';
import {
  bucketOf,
  DISCOVERING_PREFIX,
  ELSEWHERE,
  encodeMark,
  INLINE_ENTRY,
  ITEM_PREFIX,
  MAP_PREFIX,
  STEP_FIELD,
  STEP_PREFIX,
} from './ledger.js';
import type { MapMark } from './ledger.js';
import { errorDetails, eventFields } from './task-events.js';

/** What a holder knows when it has just created or claimed a task. */
export interface LiveTaskStart {
  readonly taskId: string;
  readonly name: string;
  readonly priority: number;
  readonly attempt: number;
  readonly recovered: boolean;
  readonly owner: string;
  readonly leaseMs: number;
  /** Monotonic time at which this attempt was asked for, in ms. */
  readonly startedMs: number;
  readonly eventSeq: number;
  readonly checkpointSeq: number;
  readonly hasAutomatic: boolean;
  /** What it is known for as a failed document; null when it is none. */
  readonly failed: KnownFailure | null;
  /** Its next crash may be its last: what it is at is written before it begins, as evidence. */
  readonly traced: boolean;
}

export class LiveTask {
  readonly start: LiveTaskStart;
  #eventSeq: number;
  #eventSeqBefore: number;
  #checkpointSeq: number;
  #hasAutomatic: boolean;
  #stuck = false;
  /** A mark of being stuck may stand in the storage. */
  #marked = false;
  /** How far its maps are, by name; only those that this attempt has written to. */
  #maps: Map<string, MapMark> | null = null;

  constructor(start: LiveTaskStart) {
    this.start = start;
    this.#eventSeq = start.eventSeq;
    this.#eventSeqBefore = start.eventSeq;
    this.#checkpointSeq = start.checkpointSeq;
    this.#hasAutomatic = start.hasAutomatic;
  }

  get isStuck(): boolean {
    return this.#stuck;
  }

  get maps(): ReadonlyMap<string, MapMark> | null {
    return this.#maps;
  }

  /** The number for the next explicit checkpoint. */
  nextCheckpointSeq(): number {
    this.#checkpointSeq += 1;
    return this.#checkpointSeq;
  }

  /** @param ranMs how long it has run over all attempts; null where nobody asks */
  renew(draft: Draft, ranMs: number | null): readonly string[] {
    const { taskId, name, leaseMs } = this.start;
    const lease = { fromNow: leaseMs };
    this.#head(draft, ranMs === null ? { leaseUntil: lease } : { leaseUntil: lease, ...ranFields(ranMs) });
    draft.index(indexes.inState('processing', name), taskId, lease);
    return [keys.control(taskId)];
  }

  /** User code is about to run. From here on a crash may be the task's own doing. */
  began(draft: Draft): void {
    this.#head(draft, { began: String(this.start.attempt) });
  }

  /** What it is about to do. */
  at(draft: Draft, step: string): void {
    this.#head(draft, { step });
  }

  /** It has outlived what made it suspect. */
  cleared(draft: Draft): void {
    this.#head(draft, { suspect: '' });
  }

  progress(
    draft: Draft,
    percent: number,
    step: string | null,
    description: string | null,
    nowMs: number,
  ): void {
    this.#head(draft, {
      progress: String(percent),
      progressAt: String(nowMs),
      ...(step === null ? {} : { step }),
      ...(description === null ? {} : { description }),
    });
    this.#moved(draft);
  }

  automaticCheckpoint(draft: Draft, percent: number, step: string | null, nowMs: number): void {
    this.#head(draft, { auto: JSON.stringify({ percent, step, atMs: nowMs }) });
    this.#hasAutomatic = true;
  }

  /** @param sealed data and state together in place of the checkpoint's own texts, where payloads are encoded */
  checkpoint(draft: Draft, checkpoint: CheckpointText, sealed: string | null): void {
    const { taskId } = this.start;
    const { name, seq, progressPercent, stepDescription, createdAtMs } = checkpoint;
    draft.set(keys.checkpoint(taskId, seq), encodeCheckpoint(checkpoint, sealed));
    const fields: Record<string, string> = {
      progress: String(progressPercent),
      progressAt: String(createdAtMs),
    };
    fields[REACHED_PREFIX + name] = String(seq);
    if (stepDescription !== null) fields['description'] = stepDescription;
    if (this.#hasAutomatic) fields['auto'] = '';
    this.#head(draft, fields);
    this.#hasAutomatic = false;
    this.#moved(draft);
  }

  step(draft: Draft, name: string, entry: string): void {
    const inline = entry.length <= INLINE_ENTRY;
    this.#head(draft, { [`${STEP_PREFIX}${name}`]: inline ? entry : ELSEWHERE });
    if (!inline) draft.set(keys.step(this.start.taskId, name), { [STEP_FIELD]: entry });
    this.#moved(draft);
  }

  /** `marked`: whether the head says from now on that the map was begun. */
  item(draft: Draft, map: string, mark: MapMark, key: string, entry: string, marked = true): void {
    const record = keys.ledger(this.start.taskId, map, bucketOf(key, mark.buckets));
    draft.put(record, ITEM_PREFIX + key, entry);
    if (marked) {
      draft.put(keys.head(this.start.taskId), MAP_PREFIX + map, encodeMark(mark));
      (this.#maps ??= new Map()).set(map, mark);
    } else draft.put(keys.head(this.start.taskId), DISCOVERING_PREFIX + map, String(mark.buckets));
    this.#moved(draft);
  }

  /** Voids the checkpoints so far. */
  restart(draft: Draft, checkpointSeq: number): void {
    this.#head(draft, { progress: '0', checkpointBase: String(checkpointSeq), auto: '' });
    this.#hasAutomatic = false;
  }

  stuck(draft: Draft, sinceMs: number): void {
    this.#stuck = true;
    this.#marked = true;
    this.#head(draft, { stuckSince: String(sinceMs) });
    draft.index(indexes.stuck(this.start.name), this.start.taskId, sinceMs);
  }

  complete(draft: Draft, result: ResultText, now: Moment): Fields[] {
    forgetFailure(draft, this.start);
    countCompleted(draft, this.start, now);
    const fields = { progress: '100', ...resultFields(draft, this.start.taskId, result) };
    return this.#end(draft, 'completed', fields, ['task_completed', 'recovery_completed'], {});
  }

  fail(
    draft: Draft,
    error: StoredError,
    errorCount: number,
    failure: NewFailure | null,
    now: Moment,
  ): Fields[] {
    countFailed(draft, this.start, now);
    const fields = { error: JSON.stringify(error), errors: String(errorCount) };
    if (failure !== null) keepFailure(draft, this.start, failure);
    return this.#end(draft, 'failed', fields, ['task_failed', 'recovery_failed'], errorDetails(error));
  }

  cancel(draft: Draft, error: StoredError): Fields[] {
    forgetFailure(draft, this.start);
    return this.#end(draft, 'cancelled', { error: JSON.stringify(error) }, ['task_cancelled', null], {
      reason: error.message,
    });
  }

  /** Gives the task back, unharmed: it goes into the recovery queue and no crash is counted. */
  release(draft: Draft, ranMs: number | null): Fields[] {
    this.#queue(draft, 0, { cause: 'released', ...ranFields(ranMs) });
    return [this.event(draft, 'task_released')];
  }

  /** Puts it into the recovery queue for another try after an error. */
  retry(
    draft: Draft,
    error: StoredError,
    errorCount: number,
    delayMs: number,
    ranMs: number | null,
  ): Fields[] {
    const fields = { cause: 'retry_due', errors: String(errorCount), error: JSON.stringify(error) };
    this.#queue(draft, delayMs, { ...fields, ...ranFields(ranMs) });
    const details = { ...errorDetails(error), errors: String(errorCount), delay_ms: String(delayMs) };
    return [this.event(draft, 'task_retrying', details)];
  }

  #queue(draft: Draft, delayMs: number, fields: Fields): void {
    const { taskId, name, priority } = this.start;
    this.#leave(draft);
    draft.index(indexes.inState('orphaned', name), taskId, { fromNow: priorityBase(priority) + delayMs });
    this.#head(draft, { status: 'orphaned', dueAt: { fromNow: delayMs }, ...fields });
  }

  event(draft: Draft, type: RecoveryEventType, details: Readonly<Record<string, string>> = {}): Fields {
    const fields = eventFields(type, this.start, 0, details);
    draft.append(fields);
    return fields;
  }

  /** Numbers the events of a batch that is about to be frozen: a number of a refused one must not be missing. */
  prepare(draft: Draft): void {
    this.#eventSeqBefore = this.#eventSeq;
    if (draft.events.length === 0) return;
    for (const event of draft.events) {
      this.#eventSeq += 1;
      event['seq'] = String(this.#eventSeq);
    }
    this.#head(draft, { eventSeq: String(this.#eventSeq) });
  }

  refused(): void {
    this.#eventSeq = this.#eventSeqBefore;
    // What it was to clear may stand still: the next writes clear it again.
    this.#hasAutomatic = true;
    this.#marked = true;
  }

  #end(
    draft: Draft,
    status: 'completed' | 'failed' | 'cancelled',
    fields: Fields,
    [always, recovered]: readonly [RecoveryEventType, RecoveryEventType | null],
    details: Readonly<Record<string, string>>,
  ): Fields[] {
    const { taskId, name } = this.start;
    this.#leave(draft);
    draft.index(indexes.inState(status, name), taskId, { fromNow: 0 });
    this.#head(draft, { status, endedAt: { fromNow: 0 }, ...fields });
    const events = this.start.recovered && recovered !== null ? [recovered, always] : [always];
    return events.map((type) => this.event(draft, type, details));
  }

  #leave(draft: Draft): void {
    const { taskId, name, owner } = this.start;
    draft.index(indexes.inState('processing', name), taskId, null);
    draft.index(indexes.held(owner), taskId, null);
    this.#moved(draft);
  }

  #moved(draft: Draft): void {
    if (!this.#marked) return;
    this.#stuck = false;
    this.#marked = false;
    this.#head(draft, { stuckSince: '' });
    draft.index(indexes.stuck(this.start.name), this.start.taskId, null);
  }

  #head(draft: Draft, fields: Fields): void {
    draft.set(keys.head(this.start.taskId), fields);
  }
}

/** How long it has run over all attempts; nothing where nobody asks. */
function ranFields(ranMs: number | null): Fields {
  return ranMs === null ? {} : { ranMs: String(Math.round(ranMs)) };
}
