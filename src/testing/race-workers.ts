/** Lets several workers call one task at once, in many orders of their messages, and checks that it is done once. */
import { isRecoveryError, RecoveryError } from '../errors.js';
import { checkOptions, isBoolean, isFunction, isObject, isText, number } from '../domain/check-options.js';
import { faultFound } from './explore/judge.js';
import type { Define, ExploreRecoveryOptions, ExploreWorld } from './explore/incarnation.js';
import { NOTHING_KNOWN } from './explore/trial.js';
import type { Subject } from './explore/trial.js';
import { undisturbed } from './explore/undisturbed.js';
import { loadFastCheck } from './load-fast-check.js';
import { raceFault } from './race/judge.js';
import { Race } from './race/race.js';

/** Options of {@link raceWorkers}. */
export interface RaceOptions<I> {
  /** Defines the tasks on a Recovery and returns the one to call, anew for each worker, as for `exploreCrashes`. */
  readonly define: Define<I>;
  /** What each worker calls it with. */
  readonly input: I;
  /** How many call it at once, 2 to 8. Default 2. */
  readonly workers?: number | undefined;
  /** How many orders are tried. Default 100. */
  readonly runs?: number | undefined;
  /** fast-check's seed. Default: from the clock; the report and the error say which. */
  readonly seed?: number | undefined;
  /** Only this one run, as an error named it; with the seed that it named. */
  readonly path?: string | undefined;
  /** Throws when something is wrong with the end of a run: the effects there are, and what the calls returned. */
  readonly invariant?: ((world: Pick<ExploreWorld, 'effects'>, result: unknown) => unknown) | undefined;
  /**
   * Whether each race must have the effects of a run by one worker, by key. Default true; where two runs by one worker
   * differ already, it is not asked.
   */
  readonly sameEffects?: boolean | undefined;
  /** Options of each worker's Recovery, such as `leaseMs`. */
  readonly recovery?: ExploreRecoveryOptions | undefined;
  /** Real time without any progress after which a run is given up, in ms. Default 5,000. */
  readonly stallMs?: number | undefined;
}

/** What was tried, and that nothing was wrong. */
export interface RaceReport {
  readonly runs: number;
  /** How many different orders of messages there were among them. */
  readonly orders: number;
  /** The effects of a run by one worker, which were those of each race. */
  readonly effects: readonly string[];
  readonly seed: number;
}

const CHECKS = {
  define: isFunction,
  input: () => null,
  workers: number(2, 8),
  runs: number(1, 1_000_000),
  seed: number(-2_147_483_648, 2_147_483_647),
  path: isText,
  invariant: isFunction,
  sameEffects: isBoolean,
  recovery: (value: unknown) => (isObject(value) ? null : 'must be an object'),
  stallMs: number(100, 600_000),
};
/** Deliveries whose turn is drawn; later ones come in the order in which they were sent. */
const MOST_CHOICES = 240;

/**
 * Several workers call the same task with the same input at once, on one memory storage. fast-check draws in which
 * order their messages (to the storage, to the receiver of effects, and back) are delivered; virtual time goes on when
 * none is on its way. After each run: calls that resolved did so with the same value; the effects are those of a run
 * by one worker; no key came with two values; at most one attempt at a time held the lease, and fences rose; the
 * invariant holds. A worker may be refused (`TASK_RUNNING_ELSEWHERE`). Needs the optional peer `fast-check`.
 *
 * @throws `CRASH_UNSAFE` with a timeline of the run that went wrong, shrunk, and the `seed` and `path` to repeat it;
 *   `EXPLORE_STALLED` when the task awaits something outside for too long; `DRIVER_MISSING`; `INVALID_OPTION`
 * @example
 * await raceWorkers({
 *   define: (recovery, world) =>
 *     recovery.withRecovery(
 *       async (ctx, order) => {
 *         await ctx.step('charge', () => world.effect(ctx.idempotencyKey('charge'), order.total));
 *         return 'paid';
 *       },
 *       { name: 'pay', taskId: (order) => order.id },
 *     ),
 *   input: { id: 'order-7', total: 12 },
 *   workers: 3,
 * });
 */
export async function raceWorkers<I>(options: RaceOptions<I>): Promise<RaceReport> {
  checkOptions('raceWorkers', options, CHECKS, ['define']);
  const { define, input, workers = 2, runs = 100, path, invariant = null, stallMs = 5_000 } = options;
  const seed = options.seed ?? Date.now() % 2_147_483_647;
  const fc = await loadFastCheck('raceWorkers');
  const subject: Subject<I> = { define, input, options: options.recovery ?? {}, stallMs, ...NOTHING_KNOWN };
  const { normal: lone, stable, sameEffects } = await undisturbed(subject, () => {});
  // Keys that are drawn at random tell nothing of who else has them.
  const asked = { sameEffects: (options.sameEffects ?? true) && sameEffects, invariant };
  const alone = await faultFound(lone, lone, { sameResult: false, sameEffects: false, invariant });
  if (alone !== null) throw unsafe('Even by one worker', alone, lone.timeline);
  const orders = new Set<string>();
  const choices = fc.array(fc.nat({ max: 2 * workers - 1 }), { maxLength: MOST_CHOICES, size: 'max' });
  const property = fc.asyncProperty(choices, async (drawn) => {
    const result = await new Race({ ...subject, stable }, workers, drawn).run();
    orders.add(result.order);
    const found = await raceFault(result, lone, asked);
    if (found !== null) throw unsafe(`Broken by a race of ${workers} workers`, found, result.timeline);
  });
  const only = path === undefined ? {} : { path, endOnFailure: true };
  const checked = await fc.check(property, { seed, numRuns: runs, ...only });
  if (checked.failed) throw repeatable(checked.errorInstance, seed, checked.counterexamplePath ?? '');
  return { runs: checked.numRuns, orders: orders.size, effects: lone.effectWords, seed };
}

function unsafe(when: string, found: string, timeline: readonly string[]): RecoveryError {
  const lines = timeline.map((line) => `  ${line}`);
  return new RecoveryError('CRASH_UNSAFE', [`${when}: ${found}.`, ...lines].join('\n'), {
    details: { found, timeline },
  });
}

/** The error of the smallest run that fails, and how to see it again. */
function repeatable(error: unknown, seed: number, path: string): unknown {
  if (!isRecoveryError(error)) return error;
  const { code, message, details } = error;
  return new RecoveryError(code, `${message}\nRepeat it with seed: ${seed}, path: '${path}'.`, {
    details: { ...details, seed, path },
    cause: error,
  });
}
