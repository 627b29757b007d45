/** What a task function is given. The work behind it is the attempt's. */
import { RecoveryError } from '../errors.js';
import { checkId } from '../domain/ids.js';
import type { Checkpoint } from '../domain/task.js';
import type { ItemContext, MapCount, MapOptions, MapOutcome } from './items.js';
import type { StepOptions } from './steps.js';
import type { JsonObject } from './task-options.js';

/** An explicit checkpoint, as its author writes it. */
export interface CheckpointInput<D = unknown> {
  /** Its name: 1 to 256 characters. The same name may be used again. */
  readonly name: string;
  /** How far the task is, 0 to 100. */
  readonly progressPercent: number;
  readonly stepDescription?: string;
  /** Whatever the task needs to go on from here: JSON data, at most 1 MiB together with `databaseState`. */
  readonly recoverableData?: D;
  /** What the task's own database looked like at this point, for `validate` and for the resumed run. */
  readonly databaseState?: unknown;
}

/** The signatures of `ctx.map`: its options decide what it resolves to. */
export interface MapItems {
  <T, R>(
    name: string,
    items: readonly T[],
    fn: (item: T, context: ItemContext) => R | Promise<R>,
    options: MapOptions<T> & { readonly keepResults: false },
  ): Promise<MapCount>;
  <T, R>(
    name: string,
    items: readonly T[],
    fn: (item: T, context: ItemContext) => R | Promise<R>,
    options: MapOptions<T> & { readonly minSuccessRatio: number },
  ): Promise<MapOutcome<R>>;
  <T, R>(
    name: string,
    items: readonly T[],
    fn: (item: T, context: ItemContext) => R | Promise<R>,
    options: MapOptions<T>,
  ): Promise<R[]>;
}

/** The signatures of `ctx.step`: without its result being kept, a later attempt gets `undefined`. */
export interface RunStep {
  <R>(
    name: string,
    fn: () => R | Promise<R>,
    options: StepOptions<R> & { readonly keepResult: false },
  ): Promise<R | undefined>;
  <R>(name: string, fn: () => R | Promise<R>, options?: StepOptions<R>): Promise<R>;
}

/** The first argument of every wrapped function. Its methods are bound: they can be taken apart. */
export interface RecoveryContext<D = unknown> {
  readonly taskId: string;
  readonly name: string;
  /** Which run of the task this is, from 1. */
  readonly attempt: number;
  /** Rises with each claim. Put it into your own writes (`... WHERE fence <= ?`) to keep zombies out of them too. */
  readonly fence: number;
  /**
   * Aborts when the task is not to go on here, with a `RecoveryError` as its reason: it was lost or cancelled, ran too
   * long, or the deadline of a shutdown is near.
   */
  readonly signal: AbortSignal;
  /** What the `userContext` option captured when the task was called; null without that option. */
  readonly userContext: JsonObject | null;
  /** The newest explicit checkpoint of an earlier attempt; null on a first run and after a clean restart. */
  readonly resumedFrom: Checkpoint<D> | null;
  /** The newest checkpoint of all, automatic ones and this attempt's included. */
  readonly lastCheckpoint: Checkpoint<D> | null;
  /** Whether a checkpoint of this name was made, in this attempt or in what it resumes from. */
  readonly reached: (checkpointName: string) => boolean;
  /**
   * Reports progress. It is written with the next commit or heartbeat, so it costs nothing by itself; only when an
   * automatic checkpoint is due does it wait for the storage.
   * @throws `INVALID_VALUE`, `CONTEXT_CLOSED`, `LEASE_LOST`, `LEASE_UNCERTAIN`, `TASK_CANCELLED`, `TASK_TIMED_OUT`, `SHUT_DOWN`
   */
  readonly updateProgress: (percent: number, step?: string, description?: string) => Promise<void>;
  /**
   * Makes a checkpoint and resolves once it is durable. The last 5 are kept.
   * @throws `INVALID_VALUE`, `NOT_JSON` with the path, `PAYLOAD_TOO_LARGE`, `CODEC_FAILED`, `CONTEXT_CLOSED`,
   *   `LEASE_LOST`, `LEASE_UNCERTAIN`, `TASK_CANCELLED`, `TASK_TIMED_OUT`, `STORAGE_FULL`, and `SHUT_DOWN` once it is made
   * @example
   * await ctx.createCheckpoint({ name: 'parsed', progressPercent: 40, recoverableData: { rows } });
   */
  readonly createCheckpoint: (checkpoint: CheckpointInput<D>) => Promise<void>;
  /**
   * Runs a named piece of work and keeps its result: a later attempt gets it back without running it.
   * @throws what `fn` and `verify` throw; `DUPLICATE_STEP`, `STEP_RESULT_NOT_STORABLE` (it counts as done), `LIMIT_EXCEEDED`,
   *   `INVALID_ID`, `INVALID_OPTION`, `INVALID_VALUE`, and as `createCheckpoint` does
   * @example
   * const text = await ctx.step('extract', () => extract(documentId));
   */
  readonly step: RunStep;
  /**
   * Runs a piece of work an item, keeping each result as it is done: a later attempt runs only the rest.
   * @throws `ITEMS_FAILED`, `DUPLICATE_KEY`, and as `step` does
   * @example
   * const pages = await ctx.map('pages', document.pages, analyse, { key: (page) => page.id, concurrency: 4 });
   */
  readonly map: MapItems;
  /**
   * A key for the outside world: the same in every attempt of this task, and never given for another task or name.
   * @throws `INVALID_ID`
   */
  readonly idempotencyKey: (name: string) => string;
}

const KNOWN = new Set(['name', 'progressPercent', 'stepDescription', 'recoverableData', 'databaseState']);

function invalid(message: string): RecoveryError {
  return new RecoveryError('INVALID_VALUE', message);
}

/** @throws `INVALID_VALUE` */
export function checkPercent(what: string, percent: unknown): void {
  if (typeof percent === 'number' && percent >= 0 && percent <= 100) return;
  throw invalid(
    `${what} must be a number from 0 to 100, not ${typeof percent === 'string' ? `the text '${percent}'` : String(percent)}.`,
  );
}

/** @throws `INVALID_VALUE` */
export function checkText(what: string, text: unknown, maxCharacters: number): void {
  if (text === undefined || text === null) return;
  if (typeof text !== 'string') throw invalid(`${what} must be a text.`);
  if (text.length > maxCharacters)
    throw invalid(`${what} has ${text.length} characters, over ${maxCharacters}.`);
  if (!text.isWellFormed()) throw invalid(`${what} holds a lone surrogate.`);
}

/** Refuses a checkpoint with fields that there are not. @throws `INVALID_VALUE` */
export function checkFields(given: CheckpointInput): void {
  if (typeof given !== 'object' || given === null) throw invalid('createCheckpoint needs an object.');
  for (const key of Object.keys(given)) {
    if (!KNOWN.has(key))
      throw invalid(`createCheckpoint: "${key}" is unknown (known: ${[...KNOWN].join(', ')}).`);
  }
}

/** @throws `INVALID_VALUE`, `INVALID_ID` */
export function checkCheckpoint(name: unknown, progressPercent: unknown, stepDescription: unknown): void {
  checkId('The checkpoint name', name);
  checkPercent('progressPercent', progressPercent);
  checkText('stepDescription', stepDescription, 1_024);
}
