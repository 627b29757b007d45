/**
 * Kills a task at every durable write and every outside effect, in turn, and checks each time that recovery comes to
 * what an undisturbed run comes to.
 */
import { isDeepStrictEqual } from 'node:util';
import { messageOf, RecoveryError } from '../../errors.js';
import {
  checkOptions,
  isBoolean,
  isFunction,
  isObject,
  isText,
  listOf,
  number,
  oneOf,
} from '../../domain/check-options.js';
import { Explorer } from './explorer.js';
import { sameEnd } from './judge.js';
import type { Define, ExploreRecoveryOptions, ExploreWorld } from './incarnation.js';
import { CRASH_FAULTS, faultsOf } from './points.js';
import type { CrashFault, PlannedFault } from './points.js';
import type { StableIds } from './receiver.js';
import { NOTHING_KNOWN } from './trial.js';
import type { Subject, TrialResult } from './trial.js';
import { undisturbed } from './undisturbed.js';

/** Options of `exploreCrashes`. */
export interface ExploreOptions<I> {
  /**
   * Defines the tasks on a Recovery and returns the one to call, anew for each process: what it closes over is lost
   * with a crash. For tasks at module level: `define: (recovery) => task.with(recovery)`.
   */
  readonly define: Define<I>;
  /** The input, or a fast-check arbitrary of inputs. */
  readonly input: I | InputArbitrary<I>;
  /** Throws, or answers false, when something is wrong with the end of a run: the effects there are, and what the call returned. */
  readonly invariant?: ((world: Pick<ExploreWorld, 'effects'>, result: unknown) => unknown) | undefined;
  /** Whether each run must return what the undisturbed one does. Default true. */
  readonly sameResult?: boolean | undefined;
  /** Whether each run must have the same effects, by key. Default true. */
  readonly sameEffects?: boolean | undefined;
  /** Whether the call is meant to be rejected. Default false: an undisturbed run that is rejected is a mistake of the test. */
  readonly fails?: boolean | undefined;
  /** How many processes in a row fall, 1 to 3. Default 1. */
  readonly depth?: number | undefined;
  /** Default: all of `crash-before`, `crash-after`, `zombie-before`, `zombie-after`. */
  readonly faults?: readonly CrashFault[] | undefined;
  /** Runs at most; with more places than that they are sampled. Default 5,000. */
  readonly maxRuns?: number | undefined;
  /** Inputs that are tried of an arbitrary. Default 10. */
  readonly inputs?: number | undefined;
  /** For the sample, and for the inputs. Default: from the clock; the report and the error say which. */
  readonly seed?: number | undefined;
  /** Only this one run, as an error named it: `3:crash-after`. */
  readonly path?: string | undefined;
  /** Options of the Recovery, such as `leaseMs`. */
  readonly recovery?: ExploreRecoveryOptions | undefined;
  /** Real time without any progress after which a run is given up, in ms. Default 5,000. */
  readonly stallMs?: number | undefined;
}

/** A fast-check arbitrary, as far as it matters here. */
export interface InputArbitrary<I> {
  generate(mrng: never, biasFactor: number | undefined): { readonly value: I };
  shrink(value: I, context: unknown): unknown;
}

/** What was explored, and that nothing was wrong. */
export interface ExplorationReport {
  /** The durable writes of an undisturbed run, in order, in words. */
  readonly writes: readonly string[];
  /** Its effects on the outside. */
  readonly effects: readonly string[];
  /** How many places there are to break a run at: writes, effects and calls. */
  readonly places: number;
  /** Runs in all, the undisturbed ones included. */
  readonly runs: number;
  /** Whether every place was tried with every fault. */
  readonly exhaustive: boolean;
  /** Why it was not: the task does not do the same each time, or there were too many places. */
  readonly notes: readonly string[];
  readonly seed: number;
}

const CHECKS = {
  define: isFunction,
  input: () => null,
  invariant: isFunction,
  sameResult: isBoolean,
  sameEffects: isBoolean,
  fails: isBoolean,
  depth: number(1, 3),
  faults: (value: unknown) =>
    Array.isArray(value) && value.length === 0 ? 'must not be empty' : listOf(oneOf(...CRASH_FAULTS))(value),
  maxRuns: number(1, 10_000_000),
  inputs: number(1, 100_000),
  seed: number(-2_147_483_648, 4_294_967_295),
  path: isText,
  recovery: (value: unknown) => (isObject(value) ? null : 'must be an object'),
  stallMs: number(100, 600_000),
};

/**
 * Runs a task once undisturbed and lists its durable writes and outside effects; then once for each of them and each
 * fault: the process dies there, or freezes and wakes when another one has finished its work. Recovers, and checks the
 * invariant, and that result and effects are those of the undisturbed run. Everything runs in memory and in virtual
 * time: no sleeps, no servers; any test runner will do.
 *
 * @throws `CRASH_UNSAFE` with a timeline of the run that went wrong and the `path` to repeat it; `EXPLORE_STALLED` when the
 *   task awaits something outside for too long; `INVALID_OPTION`
 * @example
 * await exploreCrashes({
 *   define: (recovery, world) =>
 *     recovery.withRecovery(
 *       async (ctx, order) => {
 *         await ctx.step('charge', () => world.effect(ctx.idempotencyKey('charge'), order.total));
 *         return 'paid';
 *       },
 *       { name: 'pay', taskId: (order) => order.id },
 *     ),
 *   input: { id: 'order-7', total: 12 },
 * });
 */
export async function exploreCrashes<I>(options: ExploreOptions<I>): Promise<ExplorationReport> {
  checkOptions('exploreCrashes', options, CHECKS, ['define']);
  const path = options.path === undefined ? [] : faultsOf(options.path);
  if (path === null)
    throw new RecoveryError('INVALID_OPTION', 'exploreCrashes: "path" is no path of a report.');
  const seed = options.seed ?? Date.now() % 2_147_483_647;
  if (!isArbitrary<I>(options.input)) return exploreOne(options, options.input, seed, path);
  const { exploreInputs } = await import('./inputs.js');
  return exploreInputs(options.input, { seed, inputs: options.inputs ?? 10 }, (input) =>
    exploreOne(options, input, seed, path),
  );
}

function isArbitrary<I>(input: I | InputArbitrary<I>): input is InputArbitrary<I> {
  return (
    isObject(input) &&
    typeof Reflect.get(input, 'generate') === 'function' &&
    typeof Reflect.get(input, 'shrink') === 'function'
  );
}

async function exploreOne<I>(
  options: ExploreOptions<I>,
  input: I,
  seed: number,
  path: readonly PlannedFault[],
): Promise<ExplorationReport> {
  assertPlain(input);
  const { define, recovery = {}, stallMs = 5_000 } = options;
  const first: Subject<I> = { define, input, options: recovery, stallMs, ...NOTHING_KNOWN };
  const lone = await undisturbed(first, (once) => assertBegun(once, options.fails ?? false));
  const { normal, again, stable } = lone;
  // With an id of its own the task can be called again; else it is one of a kind, and waited for in the storage.
  const rootId = normal.rootId !== null && stable.has(normal.rootId) ? normal.rootId : null;
  const same = {
    writes: isDeepStrictEqual(placesOf(normal, stable), placesOf(again, stable)),
    effects: lone.sameEffects,
    result: sameEnd(normal.end, again.end),
  };
  const { sameEffects = true, sameResult = true } = options;
  const explorer = new Explorer({ ...first, rootId, stable }, normal, {
    judgement: {
      sameResult: sameResult && same.result,
      sameEffects: sameEffects && (same.effects || 'count'),
      invariant: options.invariant ?? null,
      ownId: rootId !== null,
    },
    faults: options.faults ?? CRASH_FAULTS,
    depth: options.depth ?? 1,
    maxRuns: options.maxRuns ?? 5_000,
    seed,
  });
  if (!same.writes) explorer.note(fickle('did not write the same', 'places are tried by number'));
  if (sameEffects && !same.effects)
    explorer.note(fickle('had other effects', 'only how many there are is compared'));
  if (sameResult && !same.result) explorer.note(fickle('had other results', 'results are not compared'));
  if (path.length > 0) await explorer.replay(path);
  else await explorer.all();
  return explorer.report();
}

/** Each call gets a copy of its own. */
function assertPlain(input: unknown): void {
  try {
    structuredClone(input);
  } catch (cause) {
    throw new RecoveryError(
      'INVALID_OPTION',
      `exploreCrashes: "input" must be plain data, since each call gets a copy: ${messageOf(cause)}`,
      { cause },
    );
  }
}

function fickle(what: string, so: string): string {
  return `NOT_DETERMINISTIC: two undisturbed runs ${what}; ${so}.`;
}

/** A run without a task, or one that fails at once, would come to the same whatever happens. */
function assertBegun({ rootId, end, timeline }: TrialResult, fails: boolean): void {
  if (rootId === null && end.ended === 'threw') throw end.error;
  if (rootId === null) {
    throw new RecoveryError(
      'INVALID_OPTION',
      'exploreCrashes: what "define" returned began no task on the Recovery that it was given. For a task at module level: task.with(recovery).',
    );
  }
  if ((end.ended === 'threw') === fails) return;
  const ended = fails ? 'returned although "fails" is true' : 'was rejected; if that is meant: fails: true';
  throw new RecoveryError(
    'INVALID_OPTION',
    [`exploreCrashes: the undisturbed call ${ended}.`, ...timeline.map((line) => `  ${line}`)].join('\n'),
    end.ended === 'threw' ? { cause: end.error } : {},
  );
}

/** The places of an undisturbed run; random ids are left out. */
function placesOf({ points, taskIds }: TrialResult, stable: StableIds): string[] {
  const random = [...taskIds].filter((id) => !stable.has(id));
  return (points[0] ?? []).map((words) => random.reduce((text, id) => text.replaceAll(id, 'a task'), words));
}
