/** The progress and the checkpoints of one attempt. */
import { checkSize, toJsonText } from '../domain/json.js';
import type { Checkpoint } from '../domain/task.js';
import { RecoveryError } from '../errors.js';
import { checkpointOf } from '../state/checkpoint-store.js';
import type { CheckpointText } from '../state/checkpoint-store.js';
import type { LiveTask } from '../state/live-task.js';
import type { RecordWriter } from '../state/record-writer.js';
import { localEvent } from '../state/task-events.js';
import type { Fields } from '../storage/storage.js';
import { checkCheckpoint, checkFields, checkPercent, checkText } from './context.js';
import type { CheckpointInput } from './context.js';
import type { Engine, Handler } from './engine.js';

/** What an attempt resumes from. */
export interface Resume {
  readonly explicit: Checkpoint | null;
  readonly automatic: Checkpoint | null;
  readonly reached: ReadonlySet<string>;
}

export class Journal {
  /** Monotonic time of the last sign of progress, in ms. */
  movedMs: number;
  readonly #engine: Engine;
  readonly #handler: Handler;
  readonly #live: LiveTask;
  readonly #writer: RecordWriter;
  readonly #assertUsable: () => void;
  /** Made with the first name: most tasks have none for long, and an empty set takes room, too. */
  #reached: Set<string> | null;
  /** The newest explicit checkpoint of an earlier attempt. */
  resumedFrom: Checkpoint | null;
  #lastText: CheckpointText | null = null;
  #lastAutomatic: Checkpoint | null;
  #explicit: Checkpoint | null;
  #automaticAt: number;

  /** `assertUsable` throws when the attempt is over. */
  constructor(
    engine: Engine,
    handler: Handler,
    live: LiveTask,
    writer: RecordWriter,
    resume: Resume,
    assertUsable: () => void,
  ) {
    this.#engine = engine;
    this.#handler = handler;
    this.#live = live;
    this.#writer = writer;
    this.#assertUsable = assertUsable;
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

  /** The newest checkpoint. Decoded on demand: most tasks never look. */
  last(): Checkpoint | null {
    if (this.#lastText !== null) {
      this.#explicit = checkpointOf(this.#lastText, this.#live.start.taskId);
      this.#lastText = null;
    }
    return this.#lastAutomatic ?? this.#explicit;
  }

  async progress(percent: number, step?: string, description?: string): Promise<void> {
    this.#assertUsable();
    checkPercent('percent', percent);
    checkText('step', step, 1_024);
    checkText('description', description, 1_024);
    const nowMs = this.#engine.store.estimatedNowMs(this.#writer.partition);
    this.movedMs = this.#engine.clock.monotonicMs();
    this.#writer.note((draft) =>
      this.#live.progress(draft, percent, step ?? null, description ?? null, nowMs),
    );
    const every = this.#handler.checkpointFrequency;
    if (every === null || Math.floor(percent / every) <= Math.floor(this.#automaticAt / every)) return;
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
    };
  }

  async checkpoint(written: CheckpointInput): Promise<void> {
    this.#assertUsable();
    checkFields(written);
    // Each is read once: a getter may say something else the second time.
    const { name, progressPercent, stepDescription, recoverableData, databaseState } = written;
    checkCheckpoint(name, progressPercent, stepDescription);
    const { checkpointBytes, checkpointNames } = this.#engine.settings.limits;
    if (!this.reached(name) && (this.#reached?.size ?? 0) >= checkpointNames) {
      throw new RecoveryError(
        'LIMIT_EXCEEDED',
        `A task has at most ${checkpointNames} checkpoint names; reuse some.`,
      );
    }
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
    };
    this.movedMs = nowHereMs;
    this.#automaticAt = progressPercent;
    let event: Fields | null = null;
    const nowMs = await this.#writer.write((draft) => {
      this.#live.checkpoint(draft, checkpoint);
      if (this.#engine.settings.checkpointEvents) {
        event = this.#live.event(draft, 'checkpoint_created', {
          checkpoint: name,
          progress_percent: String(progressPercent),
        });
      }
    });
    (this.#reached ??= new Set()).add(name);
    this.#lastText = checkpoint;
    this.#lastAutomatic = null;
    if (event !== null) this.#engine.emitter.emit(localEvent(event, nowMs));
  }
}
