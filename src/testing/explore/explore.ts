/**
 * Kills a task at every durable write and every outside effect, in turn, and checks each time that recovery comes to
 * what an undisturbed run comes to.
 */
import { isDeepStrictEqual } from 'node:util';
import { RecoveryError } from '../../errors.js';
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
import { seededFractions } from '../virtual-clock.js';
import { faultFound } from './judge.js';
import type { Judgement } from './judge.js';
import type { Define, ExploreRecoveryOptions, ExploreWorld } from './incarnation.js';
import { CRASH_FAULTS, faultsOf, pathOf } from './points.js';
import type { CrashFault, PlannedFault } from './points.js';
import { Trial } from './trial.js';
import type { Subject, TrialResult } from './trial.js';

/** Options of `exploreCrashes`. */
export interface ExploreOptions<I> {
  /**
   * Defines the tasks on a Recovery and returns the one to call, anew for each process: what it closes over is lost
   * with a crash. For tasks at module level: `define: (recovery) => task.with(recovery)`.
   */
  readonly define: Define<I>;
  /** The input, or a fast-check arbitrary of inputs. */
  readonly input: I | InputArbitrary<I>;
  /** Throws when something is wrong with the end of a run: the effects there are, and what the call returned. */
  readonly invariant?: ((world: Pick<ExploreWorld, 'effects'>, result: unknown) => unknown) | undefined;
  /** Whether each run must return what the undisturbed one does. Default true. */
  readonly sameResult?: boolean | undefined;
  /** Whether each run must have the same effects, by key. Default true. */
  readonly sameEffects?: boolean | undefined;
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
  depth: number(1, 3),
  faults: listOf(oneOf(...CRASH_FAULTS)),
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
  const { define, recovery = {}, stallMs = 5_000 } = options;
  const first: Subject<I> = { define, input, options: recovery, stallMs, rootId: null };
  const once = await new Trial(first, []).run();
  assertBegun(once);
  const twice = await new Trial(first, []).run();
  // With an id of its own the task can be called again; else it is one of a kind, and waited for in the storage.
  const subject = { ...first, rootId: once.rootId === twice.rootId ? once.rootId : null };
  const explorer = new Explorer(subject, once, {
    judgement: {
      sameResult: options.sameResult ?? true,
      sameEffects: options.sameEffects ?? true,
      invariant: options.invariant ?? null,
    },
    faults: options.faults ?? CRASH_FAULTS,
    depth: options.depth ?? 1,
    maxRuns: options.maxRuns ?? 5_000,
    seed,
  });
  if (!isDeepStrictEqual(placesOf(once), placesOf(twice))) {
    explorer.note(
      'NOT_DETERMINISTIC: two undisturbed runs did not write the same; places are tried by number.',
    );
  }
  if (path.length > 0) await explorer.one(path);
  else await explorer.all();
  return explorer.report();
}

/** A run without a task would come to the same whatever happens. */
function assertBegun({ rootId, end }: TrialResult): void {
  if (rootId !== null) return;
  if (end.ended === 'threw') throw end.error;
  throw new RecoveryError(
    'INVALID_OPTION',
    'exploreCrashes: what "define" returned began no task on the Recovery that it was given. For a task at module level: task.with(recovery).',
  );
}

/** The places of an undisturbed run; random ids are left out. */
function placesOf({ points, rootId }: TrialResult): string[] {
  return (points[0] ?? []).map((words) => (rootId === null ? words : words.replaceAll(rootId, 'task')));
}

interface Exploration {
  readonly judgement: Judgement;
  readonly faults: readonly CrashFault[];
  readonly depth: number;
  readonly maxRuns: number;
  readonly seed: number;
}

class Explorer<I> {
  readonly #subject: Subject<I>;
  readonly #normal: TrialResult;
  readonly #what: Exploration;
  readonly #notes: string[] = [];
  readonly #fraction: () => number;
  #runs = 2;

  constructor(subject: Subject<I>, normal: TrialResult, what: Exploration) {
    this.#subject = subject;
    this.#normal = normal;
    this.#what = what;
    this.#fraction = seededFractions(what.seed);
  }

  note(text: string): void {
    this.#notes.push(text);
  }

  report(): ExplorationReport {
    const all = this.#normal.points[0] ?? [];
    return {
      writes: all.filter((words) => !words.startsWith('effect ')),
      effects: this.#normal.effectWords,
      runs: this.#runs,
      exhaustive: this.#notes.length === 0,
      notes: this.#notes,
      seed: this.#what.seed,
    };
  }

  /** Tries all places, those of the first process at first. */
  async all(): Promise<void> {
    await this.#judge(this.#normal, []);
    let level: { readonly faults: readonly PlannedFault[]; readonly places: number }[] = [
      { faults: [], places: this.#normal.points[0]?.length ?? 0 },
    ];
    for (let depth = 1; depth <= this.#what.depth; depth += 1) {
      const plans = level.flatMap(({ faults, places }) => this.#next(faults, places));
      const next: typeof level = [];
      for (const faults of this.#sample(plans)) {
        const result = await this.one(faults);
        next.push({ faults, places: result.points[faults.length]?.length ?? 0 });
      }
      level = next;
    }
  }

  async one(faults: readonly PlannedFault[]): Promise<TrialResult> {
    this.#runs += 1;
    const result = await new Trial(this.#subject, faults).run();
    await this.#judge(result, faults);
    return result;
  }

  #next(faults: readonly PlannedFault[], places: number): PlannedFault[][] {
    return Array.from({ length: places }, (_, at) => at + 1).flatMap((at) =>
      this.#what.faults.map((fault) => [...faults, { at, fault }]),
    );
  }

  /** As many as there may be runs still, drawn by the seed, in order. */
  #sample(plans: PlannedFault[][]): PlannedFault[][] {
    const left = Math.max(0, this.#what.maxRuns + 2 - this.#runs);
    if (plans.length <= left) return plans;
    this.note(
      `${plans.length} runs would be needed, ${left} were made (maxRuns), drawn with seed ${this.#what.seed}.`,
    );
    const drawn = plans.map((plan, at) => ({ plan, at, key: this.#fraction() }));
    const kept = drawn.toSorted((a, b) => a.key - b.key).slice(0, left);
    return kept.toSorted((a, b) => a.at - b.at).map(({ plan }) => plan);
  }

  async #judge(result: TrialResult, faults: readonly PlannedFault[]): Promise<void> {
    const found = await faultFound(result, this.#normal, this.#what.judgement);
    if (found === null) return;
    const path = pathOf(faults);
    const where = faults.map(({ at, fault }, n) => `${fault} ${result.points[n]?.[at - 1] ?? `place ${at}`}`);
    throw new RecoveryError(
      'CRASH_UNSAFE',
      [
        `${where.length === 0 ? 'Even undisturbed' : `Broken by ${where.join(', then ')}`}: ${found}.`,
        ...result.timeline.map((line) => `  ${line}`),
        `Repeat it with path: '${path}', seed: ${this.#what.seed}.`,
      ].join('\n'),
      { details: { path, seed: this.#what.seed, found, timeline: result.timeline } },
    );
  }
}
