/** The progress and the checkpoints of one attempt. */
import { checkSize, toJsonText } from '../domain/json.js';
import type { Checkpoint } from '../domain/task.js';
import { RecoveryError } from '../errors.js';
import { checkpointOf, checkpointPlace, payloadOf } from '../state/checkpoint-store.js';
import type { CheckpointText } from '../state/checkpoint-store.js';
import { TRACE_FIELD } from '../state/head.js';
import { keys } from '../state/keys.js';
import type { LiveTask } from '../state/live-task.js';
import type { RecordWriter } from '../state/record-writer.js';
import { localEvent } from '../state/task-events.js';
import type { Fields } from '../storage/storage.js';
import { checkCheckpoint, checkFields, checkPercent, checkText } from './context.js';
import type { CheckpointInput } from './context.js';
import type { Engine, Handler } from './engine.js';
import type { Gate } from './gate.js';

/** What an attempt resumes from. */
export interface Resume {
  readonly explicit: Checkpoint | null;
  readonly automatic: Checkpoint | null;
  readonly reached: ReadonlySet<string>;
}

/** How many characters watchers may keep. */
const MOST_KEPT = 1_024;

export class Journal {
  /** Monotonic time of the last sign of progress, in ms. */
  movedMs: number;
  readonly #engine: Engine;
  readonly #handler: Handler;
  readonly #live: LiveTask;
  readonly #writer: RecordWriter;
  readonly #gate: Gate;
  /** Made with the first name: most tasks have none for long, and an empty set takes room, too. */
  #reached: Set<string> | null;
  /** The newest explicit checkpoint of an earlier attempt. */
  resumedFrom: Checkpoint | null;
  #lastText: CheckpointText | null = null;
  #lastAutomatic: Checkpoint | null;
  #explicit: Checkpoint | null;
  #automaticAt: number;
  /** The step that was written last, for a task whose next crash may be its last. */
  #step: string | null = null;

  constructor(
    engine: Engine,
    handler: Handler,
    live: LiveTask,
    writer: RecordWriter,
    resume: Resume,
    gate: Gate,
  ) {
    this.#engine = engine;
    this.#handler = handler;
    this.#live = live;
    this.#writer = writer;
    this.#gate = gate;
    this.#reached = resume.reached.size === 0 ? null : new Set(resume.reached);
    this.resumedFrom = resume.explicit;
    this.#explicit = resume.explicit;
    this.#lastAutomatic = resume.automatic;
    this.#automaticAt = resume.automatic?.progressPercent ?? resume.explicit?.progressPercent ?? 0;
    this.movedMs = engine.clock.monotonicMs();
  }

  reached(name: string): boolean {
    return this.#reached?.has(name) ?? false;
  }

  /** Forgets what was resumed from: the hook that was asked wants a clean restart. */
  forget(): void {
    this.#reached = null;
    this.resumedFrom = null;
    this.#explicit = null;
    this.#lastAutomatic = null;
    this.#automaticAt = 0;
  }

  /** Notes that there has been no progress for too long; false: there has, or it is noted already. */
  markStuck(nowMs: number): boolean {
    const { settings, store, emitter } = this.#engine;
    if (this.#live.isStuck || nowMs - this.movedMs < settings.stuckAfterMs) return false;
    const sinceMs = store.estimatedNowMs(this.#writer.partition) - Math.floor(nowMs - this.movedMs);
    this.#writer.note((draft) => this.#live.stuck(draft, sinceMs));
    emitter.alert('stuck', { task_id: this.#live.start.taskId, name: this.#handler.name });
    return true;
  }

  /** Keeps a text for the watchers of later attempts; nothing where that is too long, or no storage could. */
  keep(text: unknown): void {
    if (typeof text !== 'string' || text.length > MOST_KEPT || !text.isWellFormed()) return;
    this.#writer.note((draft) => draft.set(keys.head(this.#live.start.taskId), { [TRACE_FIELD]: text }));
  }

  /** Puts what `migrate` made of it in the place of what was resumed from. */
  migrated(checkpoint: Checkpoint): void {
    const { recoverableData, databaseState, version } = checkpoint;
    this.resumedFrom = checkpoint;
    this.#explicit = checkpoint;
    if (this.#lastAutomatic !== null) {
      this.#lastAutomatic = { ...this.#lastAutomatic, recoverableData, databaseState, version };
    }
  }

  /** The newest checkpoint. Decoded on demand: most tasks never look. */
  last(): Checkpoint | null {
    if (this.#lastText !== null) {
      this.#explicit = checkpointOf(this.#lastText, this.#live.start.taskId);
      this.#lastText = null;
    }
    return this.#lastAutomatic ?? this.#explicit;
  }

  async progress(percent: number, step?: string, description?: string): Promise<void> {
    this.#gate.assertWritable();
    checkPercent('percent', percent);
    checkText('step', step, 1_024);
    checkText('description', description, 1_024);
    const nowMs = this.#engine.store.estimatedNowMs(this.#writer.partition);
    this.movedMs = this.#engine.clock.monotonicMs();
    this.#writer.note((draft) =>
      this.#live.progress(draft, percent, step ?? null, description ?? null, nowMs),
    );
    if (this.#live.start.traced && step !== undefined && step !== this.#step) {
      this.#step = step;
      await this.#writer.write((draft) => this.#live.at(draft, step));
    }
    const every = this.#handler.checkpointFrequency;
    if (every === null || Math.floor(percent / every) <= Math.floor(this.#automaticAt / every)) {
      this.#gate.assertUsable();
      return;
    }
    this.#automaticAt = percent;
    const explicit = this.last()?.automatic === true ? this.#explicit : this.last();
    await this.#writer.write((draft) => this.#live.automaticCheckpoint(draft, percent, step ?? null, nowMs));
    this.#lastAutomatic = {
      name: null,
      seq: explicit?.seq ?? 0,
      automatic: true,
      progressPercent: percent,
      stepDescription: step ?? null,
      recoverableData: explicit?.recoverableData ?? null,
      databaseState: explicit?.databaseState ?? null,
      createdAtMs: nowMs,
      version: explicit?.version ?? this.#handler.version,
    };
    this.#gate.assertUsable();
  }

  /** In a shutdown it is still made: what it says is done, and then the task yields. */
  checkpoint(written: CheckpointInput): Promise<void> {
    this.#gate.assertWritable();
    checkFields(written);
    // Each is read once: a getter may say something else the second time.
    const { name, progressPercent, stepDescription, recoverableData, databaseState } = written;
    checkCheckpoint(name, progressPercent, stepDescription);
    this.#checkNames(name);
    const { checkpointBytes } = this.#engine.settings.limits;
    const nowHereMs = this.#engine.clock.monotonicMs();
    const limit = { what: `checkpoint "${name}" of "${this.#handler.name}"`, maxBytes: checkpointBytes };
    const dataText = toJsonText(recoverableData ?? null, limit);
    const stateText = toJsonText(databaseState ?? null, limit);
    if ((dataText.length + stateText.length) * 3 > checkpointBytes) checkSize(dataText + stateText, limit);
    const checkpoint: CheckpointText = {
      name,
      seq: this.#live.nextCheckpointSeq(),
      progressPercent,
      stepDescription: stepDescription ?? null,
      dataText,
      stateText,
      createdAtMs: this.#engine.store.estimatedNowMs(this.#writer.partition, nowHereMs),
      version: this.#handler.version,
    };
    const { payloads } = this.#engine.store;
    const sealed = payloads.encoded
      ? payloads.seal(`{${payloadOf(checkpoint)}}`, this.#live.start.taskId, checkpointPlace(checkpoint.seq))
      : null;
    this.movedMs = nowHereMs;
    this.#automaticAt = progressPercent;
    let event: Fields | null = null;
    return this.#writer.writeThen(
      (draft) => {
        this.#live.checkpoint(draft, checkpoint, sealed);
        if (this.#engine.settings.checkpointEvents) {
          event = this.#live.event(draft, 'checkpoint_created', {
            checkpoint: name,
            progress_percent: String(progressPercent),
          });
        }
      },
      (nowMs) => {
        (this.#reached ??= new Set()).add(name);
        this.#lastText = checkpoint;
        this.#lastAutomatic = null;
        if (event !== null) this.#engine.emitter.emit(localEvent(event, nowMs));
        if (this.#engine.hooks.active) this.#written(name, sealed ?? dataText + stateText, nowHereMs);
        this.#gate.assertUsable();
      },
    );
  }

  /** @throws `LIMIT_EXCEEDED` */
  #checkNames(name: string): void {
    const { checkpointNames } = this.#engine.settings.limits;
    if (this.reached(name) || (this.#reached?.size ?? 0) < checkpointNames) return;
    throw new RecoveryError(
      'LIMIT_EXCEEDED',
      `A task has at most ${checkpointNames} checkpoint names; reuse some.`,
    );
  }

  #written(checkpoint: string, stored: string, sinceMs: number): void {
    const { clock, hooks } = this.#engine;
    const { taskId, name, attempt } = this.#live.start;
    const latencyMs = clock.monotonicMs() - sinceMs;
    hooks.checkpoint({ taskId, name, attempt, checkpoint, sizeBytes: Buffer.byteLength(stored), latencyMs });
  }
}
