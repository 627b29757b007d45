/** The runs of an exploration: each place with each fault, one after the other. */
import { RecoveryError } from '../../errors.js';
import { seededFractions } from '../virtual-clock.js';
import type { ExplorationReport } from './explore.js';
import { faultFound } from './judge.js';
import type { Judgement } from './judge.js';
import { pathOf } from './points.js';
import type { CrashFault, PlannedFault } from './points.js';
import { Trial } from './trial.js';
import type { Subject, TrialResult } from './trial.js';

interface Exploration {
  readonly judgement: Judgement;
  readonly faults: readonly CrashFault[];
  readonly depth: number;
  readonly maxRuns: number;
  readonly seed: number;
}

export class Explorer<I> {
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
      writes: all.filter((words) => !/^(?:effect|call) /.test(words)),
      effects: this.#normal.effectWords,
      places: all.length,
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

  /** Only this run. What comes after the first fall may have fewer places than a schedule that was drawn thinks. */
  async replay(faults: readonly PlannedFault[]): Promise<void> {
    const { points } = await this.one(faults);
    const [first] = faults;
    if (first === undefined || first.at <= (points[0]?.length ?? 0)) return;
    throw new RecoveryError(
      'INVALID_OPTION',
      `exploreCrashes: the run has no place ${first.at} to break it at: "path" is that of another task, or input.`,
    );
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
        ...(path === '' ? [] : [`Repeat it with path: '${path}', seed: ${this.#what.seed}.`]),
      ].join('\n'),
      { details: { path, seed: this.#what.seed, found, timeline: result.timeline } },
    );
  }
}
