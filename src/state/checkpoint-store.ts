import { crc32 } from 'node:zlib';
import { isRecoveryError, RecoveryError } from '../errors.js';
import { fromJsonText } from '../domain/json.js';
import { isObject } from '../domain/check-options.js';
import { checkId } from '../domain/ids.js';
import type { Checkpoint } from '../domain/task.js';
import type { Fields, StoredRecord } from '../storage/storage.js';
import { decodeHead, FIRST_VERSION } from './head.js';
import type { Head } from './head.js';
import { KEPT_CHECKPOINTS, keys } from './keys.js';
import type { Payloads } from './payloads.js';
import type { Store } from './store.js';

/** An explicit checkpoint, its data already JSON text. */
export interface CheckpointText {
  readonly name: string;
  readonly seq: number;
  readonly progressPercent: number;
  readonly stepDescription: string | null;
  readonly dataText: string;
  readonly stateText: string;
  readonly createdAtMs: number;
  /** The version of the code that made it. */
  readonly version: string;
}

/** The place of a checkpoint's data, for a codec. */
export function checkpointPlace(seq: number): string {
  return `checkpoint ${seq}`;
}

/** One field holds it all: its parts are written and read together only, and fields are what a write costs. */
const FIELD = 'data';

function checksum(text: string): string {
  return String(crc32(text));
}

/** A checkpoint's data and state as one JSON text. */
export function payloadOf({ dataText, stateText }: CheckpointText): string {
  return `"data":${dataText},"state":${stateText}`;
}

/**
 * The field of a checkpoint's record: a checksum, and JSON around the author's own, which is left as it is.
 * @param sealed what a codec has made of {@link payloadOf}, in braces; null without one
 */
export function encodeCheckpoint(checkpoint: CheckpointText, sealed: string | null): Fields {
  const { name, seq, progressPercent, stepDescription, createdAtMs, version } = checkpoint;
  const step = stepDescription === null ? 'null' : JSON.stringify(stepDescription);
  const text =
    `{"seq":${seq},"name":${JSON.stringify(name)},"percent":${progressPercent},"at":${createdAtMs},` +
    `"step":${step},${version === FIRST_VERSION ? '' : `"version":${JSON.stringify(version)},`}` +
    `${sealed === null ? payloadOf(checkpoint) : `"sealed":${JSON.stringify(sealed)}`}}`;
  return { [FIELD]: `${checksum(text)} ${text}` };
}

function parsed(stored: string): Readonly<Record<string, unknown>> | null {
  const space = stored.indexOf(' ');
  const text = stored.slice(space + 1);
  if (stored.slice(0, Math.max(0, space)) !== checksum(text)) return null;
  const value = fromJsonText(text, 'a checkpoint');
  return isObject(value) ? value : null;
}

/** @throws `CORRUPT_RECORD` when it is missing or does not fit its checksum, `CODEC_FAILED` */
export function decodeCheckpoint(
  taskId: string,
  seq: number,
  record: StoredRecord | null,
  payloads: Payloads,
): Checkpoint {
  const found = parsed(record?.get(FIELD) ?? '');
  if (found === null || found['seq'] !== seq) {
    throw new RecoveryError(
      'CORRUPT_RECORD',
      `Checkpoint ${seq} of task "${taskId}" does not fit its checksum.`,
      {
        details: { taskId, seq },
      },
    );
  }
  const { name, percent, at, step, version } = found;
  const { data, state } = opened(taskId, seq, found, payloads);
  return {
    name: typeof name === 'string' ? name : null,
    seq,
    automatic: false,
    progressPercent: Number(percent),
    stepDescription: typeof step === 'string' ? step : null,
    recoverableData: data,
    databaseState: state,
    createdAtMs: Number(at),
    version: typeof version === 'string' ? version : FIRST_VERSION,
  };
}

function opened(
  taskId: string,
  seq: number,
  { data, state, sealed }: Readonly<Record<string, unknown>>,
  payloads: Payloads,
): Readonly<Record<string, unknown>> {
  if (typeof sealed !== 'string' && !payloads.encoded) return { data, state };
  // One from before there was a codec: whether it may pass is the codec's to say.
  const stored = typeof sealed === 'string' ? sealed : JSON.stringify({ data, state });
  const text = payloads.open(stored, taskId, checkpointPlace(seq));
  const value = fromJsonText(text, `checkpoint ${seq} of task "${taskId}"`);
  return isObject(value) ? value : { data: null, state: null };
}

/** A checkpoint with its data as values. @throws `CORRUPT_RECORD` */
export function checkpointOf({ dataText, stateText, ...rest }: CheckpointText, taskId: string): Checkpoint {
  const what = `checkpoint ${rest.seq} of task "${taskId}"`;
  const recoverableData = fromJsonText(dataText, what);
  return { ...rest, automatic: false, recoverableData, databaseState: fromJsonText(stateText, what) };
}

/** What there is to resume from. */
export interface ReadCheckpoints {
  readonly explicit: Checkpoint | null;
  readonly automatic: Checkpoint | null;
  /** How many newer explicit ones failed verification; they are left alone as evidence. */
  readonly corrupt: number;
}

/** Reads the checkpoints of tasks. They are written with the task's head, by its owner only. */
export class CheckpointStore {
  readonly #store: Store;

  constructor(store: Store) {
    this.#store = store;
  }

  /**
   * The newest checkpoint that verifies, explicit or automatic; null when there is none.
   * @throws `INVALID_ID`, `CORRUPT_RECORD` when the task's head can't be read, `CODEC_FAILED`, `STORAGE_UNAVAILABLE`
   * @example const checkpoint = await recovery.checkpoints.latest('invoice-7');
   */
  readonly latest = async (taskId: string): Promise<Checkpoint | null> => {
    const head = await this.#head(taskId);
    if (head === null) return null;
    const { automatic, explicit } = await this.newest(head);
    return automatic ?? explicit;
  };

  /**
   * The explicit checkpoints kept (the last 5), newest first. Ones that fail verification are left out.
   * @throws `INVALID_ID`, `CORRUPT_RECORD` when the task's head can't be read, `CODEC_FAILED`, `STORAGE_UNAVAILABLE`
   */
  readonly list = async (taskId: string): Promise<Checkpoint[]> => {
    const head = await this.#head(taskId);
    if (head === null) return [];
    const read = await Promise.all(this.#keptNumbers(head).map((seq) => this.#readOne(taskId, seq)));
    return read.filter((checkpoint) => checkpoint !== null);
  };

  /** The newest checkpoints of a head. A corrupt one is skipped and counted, and the one before it is used. */
  async newest(head: Head): Promise<ReadCheckpoints> {
    let corrupt = 0;
    let explicit: Checkpoint | null = null;
    for (const seq of this.#keptNumbers(head)) {
      explicit = await this.#readOne(head.task.taskId, seq);
      if (explicit !== null) break;
      corrupt += 1;
    }
    const mark = head.automatic;
    if (mark === null) return { explicit, automatic: null, corrupt };
    const automatic: Checkpoint = {
      name: null,
      seq: explicit?.seq ?? 0,
      automatic: true,
      progressPercent: mark.percent,
      stepDescription: mark.step,
      recoverableData: explicit?.recoverableData ?? null,
      databaseState: explicit?.databaseState ?? null,
      createdAtMs: mark.atMs,
      version: explicit?.version ?? head.task.version,
    };
    return { explicit, automatic, corrupt };
  }

  #keptNumbers({ checkpointSeq, checkpointBase }: Head): number[] {
    const oldest = Math.max(checkpointBase, checkpointSeq - KEPT_CHECKPOINTS);
    return Array.from({ length: checkpointSeq - oldest }, (_, back) => checkpointSeq - back);
  }

  async #head(taskId: string): Promise<Head | null> {
    checkId('The task id', taskId);
    await this.#store.look();
    const { records } = await this.#store.read(this.#store.partitionOf(taskId), [keys.head(taskId)]);
    const head = records[0] ? decodeHead(taskId, records[0]) : null;
    // One that is being removed is gone.
    return head?.purged === null ? head : null;
  }

  async #readOne(taskId: string, seq: number): Promise<Checkpoint | null> {
    try {
      const { records } = await this.#store.read(this.#store.partitionOf(taskId), [
        keys.checkpoint(taskId, seq),
      ]);
      return decodeCheckpoint(taskId, seq, records[0] ?? null, this.#store.payloads);
    } catch (error) {
      // A wrong type in the storage shows as STORAGE_REFUSED; both mean that this one is of no use.
      if (isRecoveryError(error, 'CORRUPT_RECORD') || isRecoveryError(error, 'STORAGE_REFUSED')) return null;
      throw error;
    }
  }
}
