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

/** Runs from which others go on: their faults so far, and the places of the process that came last. */
interface Level {
  readonly faults: readonly PlannedFault[];
  readonly places: number;
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
      writes: this.#normal.writes,
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
    let level: Level[] = [{ faults: [], places: this.#normal.points[0]?.length ?? 0 }];
    for (let depth = 1; depth <= this.#what.depth; depth += 1) {
      const next: Level[] = [];
      for (const faults of this.#sample(level, depth)) {
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

  /** The runs that go on from a level: all, or as many as it may have, drawn by the seed, in order. */
  #sample(level: readonly Level[], depth: number): PlannedFault[][] {
    const { faults: kinds, maxRuns, seed } = this.#what;
    const all = level.reduce((sum, { places }) => sum + places * kinds.length, 0);
    // What is left is shared by the levels that are still to come.
    const left = Math.floor(Math.max(0, maxRuns + 2 - this.#runs) / (this.#what.depth - depth + 1));
    const kept = all <= left ? null : this.#drawn(all, left);
    if (kept !== null)
      this.note(
        `${all} runs would be needed at depth ${depth}, ${left} were made (maxRuns), drawn with seed ${seed}.`,
      );
    const plans: PlannedFault[][] = [];
    let number = 0;
    for (const { faults, places } of level) {
      for (let at = 1; at <= places; at += 1) {
        for (const fault of kinds) {
          if (kept === null || kept.has(number)) plans.push([...faults, { at, fault }]);
          number += 1;
        }
      }
    }
    return plans;
  }

  /** So many different numbers under another one. */
  #drawn(under: number, count: number): Set<number> {
    const drawn = new Set<number>();
    // Floyd's way: each number is as likely, and no list of all of them is made.
    for (let last = under - count; last < under; last += 1) {
      const number = Math.floor(this.#fraction() * (last + 1));
      drawn.add(drawn.has(number) ? last : number);
    }
    return drawn;
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
