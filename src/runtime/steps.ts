/** Named pieces of a task whose results are kept: a later attempt gets them back without running them. */
import { checkOptions, isBoolean, isFunction } from '../domain/check-options.js';
import { toJsonText } from '../domain/json.js';
import type { StoredError } from '../domain/task.js';
import { messageOf, RecoveryError } from '../errors.js';
import type { Draft } from '../state/draft.js';
import { keys } from '../state/keys.js';
import { decodeEntry, ELSEWHERE, entries, STEP_FIELD } from '../state/ledger.js';
import type { Entry, KeptPieces } from '../state/ledger.js';
import type { LiveTask } from '../state/live-task.js';
import type { Hooks } from './hooks.js';
import type { Bounds } from './options.js';

/** What the outside world says about a step that was started and never reported back. */
export type StepVerdict<R> = { readonly done: true; readonly result: R } | { readonly done: false };

/** Options of `ctx.step`. */
export interface StepOptions<R> {
  /**
   * Asked before a step that was started in an earlier attempt, without a result, is run again: is it done? With it,
   * the start is written before `fn` runs. What it throws fails the attempt; the step stays in doubt.
   */
  readonly verify?: (doubt: {
    readonly idempotencyKey: string;
    readonly signal: AbortSignal;
  }) => StepVerdict<R> | Promise<StepVerdict<R>>;
  /** `false`: only that it is done is kept, and a later attempt gets `undefined`. Default true. */
  readonly keepResult?: boolean | undefined;
}

const CHECKS = { verify: isFunction, keepResult: isBoolean };

/** What is asked about a result that is to be kept. */
interface Keeping {
  readonly keep: boolean;
  readonly what: string;
  readonly option: 'keepResult' | 'keepResults';
  readonly maxBytes: number;
  readonly seal: (text: string) => string;
}

/** The text to keep of a result, `undefined` where there is none; or why it can't be kept. */
export function keepableText(
  value: unknown,
  { keep, what, option, maxBytes, seal }: Keeping,
): { readonly entry: string; readonly refused: RecoveryError | null } {
  if (!keep || value === undefined) return { entry: entries.done(null), refused: null };
  try {
    return { entry: entries.done(seal(toJsonText(value, { what, maxBytes }))), refused: null };
  } catch (cause) {
    // Whatever it was, a getter that throws included: the work is done, and that has to be kept.
    const refused = new RecoveryError(
      'STEP_RESULT_NOT_STORABLE',
      `${what} is done, but could not be kept: ${messageOf(cause)} Return JSON data that your codec, if you have one, can encode, or pass ${option}: false. It will not run again: later attempts get undefined. tasks.remove(id) lets the whole task begin anew.`,
      { cause },
    );
    return { entry: entries.unstorable, refused };
  }
}

/** What steps and maps need of their attempt. */
export interface PieceWorld {
  readonly taskId: string;
  readonly taskName: string;
  readonly kept: KeptPieces;
  readonly limits: Bounds;
  readonly signal: () => AbortSignal;
  readonly assertUsable: () => void;
  readonly idempotencyKey: (name: string) => string;
  /** Whether payloads are encoded. */
  readonly encoded: boolean;
  /** Payloads on their way to the storage and back; `place` is the piece's. */
  readonly seal: (text: string, place: string) => string;
  readonly open: (stored: string, place: string) => string;
  readonly errorOf: (thrown: unknown) => StoredError;
  readonly read: (key: string, fields: readonly string[]) => Promise<ReadonlyMap<string, string> | null>;
  /** Resolves with the storage's time once it is durable. */
  readonly write: (change: (draft: Draft) => void) => Promise<number>;
  /** `write(change).then(then)` with a promise less. */
  readonly writeThen: <T>(change: (draft: Draft) => void, then: (nowMs: number) => T) => Promise<T>;
  /** Monotonic. */
  readonly nowMs: () => number;
  readonly live: LiveTask;
  readonly hooks: Hooks;
}

/** The place of a step's result, for a codec. */
function stepPlace(name: string): string {
  return `step ${name}`;
}

function whatIs(world: PieceWorld, name: string): string {
  return `step "${name}" of "${world.taskName}"`;
}

/** Runs a step, unless an earlier attempt has. */
export function runStep<R>(
  world: PieceWorld,
  name: string,
  fn: () => R | Promise<R>,
  options: StepOptions<R>,
): Promise<R> {
  checkOptions(`step "${name}"`, options, CHECKS, []);
  const isNew = !world.kept.steps.has(name) && options.verify === undefined && !world.live.start.traced;
  return isNew ? runNow(world, name, fn, options) : runOnce(world, name, fn, options);
}

async function runNow<R>(
  world: PieceWorld,
  name: string,
  fn: () => R | Promise<R>,
  options: StepOptions<R>,
): Promise<R> {
  const value = await (world.hooks.active ? watchedStep(world, name, fn) : fn());
  // Kept also in a shutdown: it is done, and the lease is still ours.
  return keepValue(world, name, value, options);
}

function put(world: PieceWorld, name: string, entry: string): Promise<number> {
  return world.write((draft) => world.live.step(draft, name, entry));
}

function keepValue<R>(world: PieceWorld, name: string, value: R, { keepResult }: StepOptions<R>): Promise<R> {
  const { entry, refused } = keepableText(value, {
    keep: keepResult ?? true,
    what: whatIs(world, name),
    option: 'keepResult',
    maxBytes: world.limits.resultBytes,
    seal: (text) => world.seal(text, stepPlace(name)),
  });
  return world.writeThen(
    (draft) => world.live.step(draft, name, entry),
    () => {
      if (refused !== null) throw refused;
      world.assertUsable();
      return value;
    },
  );
}

/** A step that an earlier attempt may have run, or begun, or that says what it does before it does it. */
async function runOnce<R>(
  world: PieceWorld,
  name: string,
  fn: () => R | Promise<R>,
  options: StepOptions<R>,
): Promise<R> {
  const what = whatIs(world, name);
  const entry = await readEntry(world, name, what);
  // Kept by this very step in an earlier attempt, or out of reach because JSON could not hold it.
  if (entry?.state === 'done') return entry.value as R;
  if (entry?.state === 'unstorable') return undefined as R;
  if (options.verify !== undefined) {
    if (entry?.state === 'started') {
      const doubt = { idempotencyKey: world.idempotencyKey(name), signal: world.signal() };
      const verdict = await options.verify(doubt);
      world.assertUsable();
      if (typeof verdict !== 'object' || verdict === null || typeof verdict.done !== 'boolean') {
        throw new RecoveryError(
          'INVALID_VALUE',
          `verify of ${what} must answer { done: true, result } or { done: false }.`,
        );
      }
      if (verdict.done) return keepValue(world, name, verdict.result, options);
    } else await put(world, name, entries.started);
  }
  if (world.live.start.traced) await world.write((draft) => world.live.at(draft, name));
  world.assertUsable();
  return runNow(world, name, fn, options);
}

function watchedStep<R>(
  { hooks, taskId, taskName, live }: PieceWorld,
  step: string,
  fn: () => R | Promise<R>,
): Promise<R> {
  return hooks.step({ taskId, name: taskName, attempt: live.start.attempt, step }, fn);
}

async function readEntry(world: PieceWorld, name: string, what: string): Promise<Entry | null> {
  const inHead = world.kept.steps.get(name);
  const open = (sealed: string): string => world.open(sealed, stepPlace(name));
  if (inHead !== ELSEWHERE) return decodeEntry(inHead, what, open);
  const record = await world.read(keys.step(world.taskId, name), [STEP_FIELD]);
  // Its record is gone: that it was there is known, what it said is not.
  return decodeEntry(record?.get(STEP_FIELD) ?? '', what, open);
}
