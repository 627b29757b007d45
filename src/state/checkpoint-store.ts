import { crc32 } from 'node:zlib';
import { isRecoveryError, RecoveryError } from '../errors.js';
import { fromJsonText } from '../domain/json.js';
import { checkId } from '../domain/ids.js';
import type { Checkpoint } from '../domain/task.js';
import type { Fields, StoredRecord } from '../storage/storage.js';
import { decodeHead } from './head.js';
import type { Head } from './head.js';
import { KEPT_CHECKPOINTS, keys } from './keys.js';
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
}

const FIELDS = ['seq', 'name', 'percent', 'at', 'step', 'data', 'state'] as const;

function checksum(values: readonly string[]): string {
  return crc32(values.join('\0')).toString(36);
}

/** The fields of a checkpoint's record. All are always written: the records form a ring, and nothing old may stay. */
export function encodeCheckpoint(checkpoint: CheckpointText): Fields {
  const seq = String(checkpoint.seq);
  const percent = String(checkpoint.progressPercent);
  const at = String(checkpoint.createdAtMs);
  const step = checkpoint.stepDescription === null ? '' : `=${checkpoint.stepDescription}`;
  const { name, dataText: data, stateText: state } = checkpoint;
  return {
    seq,
    name,
    percent,
    at,
    step,
    data,
    state,
    sum: checksum([seq, name, percent, at, step, data, state]),
  };
}

/** @throws `CORRUPT_RECORD` when a part is missing or the checksum does not fit */
export function decodeCheckpoint(taskId: string, seq: number, record: StoredRecord | null): Checkpoint {
  const values = FIELDS.map((field) => record?.get(field) ?? '');
  const [storedSeq = '', name = '', percent = '', at = '', step = '', data = '', state = ''] = values;
  if (record?.get('sum') !== checksum(values) || storedSeq !== String(seq)) {
    throw new RecoveryError(
      'CORRUPT_RECORD',
      `Checkpoint ${seq} of task "${taskId}" does not fit its checksum.`,
      {
        details: { taskId, seq },
      },
    );
  }
  const stepDescription = step.startsWith('=') ? step.slice(1) : null;
  const text = { name, seq, progressPercent: Number(percent), stepDescription, createdAtMs: Number(at) };
  return checkpointOf({ ...text, dataText: data, stateText: state }, taskId);
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
   * @throws `INVALID_ID`, `CORRUPT_RECORD` when the task's head can't be read, `STORAGE_UNAVAILABLE`
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
   * @throws `INVALID_ID`, `CORRUPT_RECORD` when the task's head can't be read, `STORAGE_UNAVAILABLE`
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
    };
    return { explicit, automatic, corrupt };
  }

  #keptNumbers({ checkpointSeq, checkpointBase }: Head): number[] {
    const oldest = Math.max(checkpointBase, checkpointSeq - KEPT_CHECKPOINTS);
    return Array.from({ length: checkpointSeq - oldest }, (_, back) => checkpointSeq - back);
  }

  async #head(taskId: string): Promise<Head | null> {
    checkId('The task id', taskId);
    const { records } = await this.#store.read(this.#store.partitionOf(taskId), [keys.head(taskId)]);
    return records[0] ? decodeHead(taskId, records[0]) : null;
  }

  async #readOne(taskId: string, seq: number): Promise<Checkpoint | null> {
    try {
      const { records } = await this.#store.read(this.#store.partitionOf(taskId), [
        keys.checkpoint(taskId, seq),
      ]);
      return decodeCheckpoint(taskId, seq, records[0] ?? null);
    } catch (error) {
      // A wrong type in the storage shows as STORAGE_REFUSED; both mean that this one is of no use.
      if (isRecoveryError(error, 'CORRUPT_RECORD') || isRecoveryError(error, 'STORAGE_REFUSED')) return null;
      throw error;
    }
  }
}
