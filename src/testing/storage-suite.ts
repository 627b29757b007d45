/** The conformance suite of the storage contract: whoever writes an adapter runs it on theirs. */
import { randomBytes } from 'node:crypto';
import { RecoveryError, messageOf } from '../errors.js';
import type { Storage } from '../storage/storage.js';
import { LAW_WORDS } from './suite/bench.js';
import type { Bench, Law, LawCase, StorageFaults } from './suite/bench.js';
import { atomicCases } from './suite/atomic.js';
import { clockCases } from './suite/clock.js';
import { differentialCases } from './suite/differential.js';
import { eventCases } from './suite/events.js';
import { exactCases } from './suite/exact.js';
import { watched, withFaults } from './suite/faults.js';
import { guardedCases } from './suite/guarded.js';
import { honestCases } from './suite/honest.js';
import { idempotentCases } from './suite/idempotent.js';
import { indexCases } from './suite/indexes.js';

/** With what a case wants its store opened. */
export interface SuiteOpenOptions {
  /** How many events a partition keeps. Absent: the adapter's default. */
  readonly maxEvents?: number;
}

/** A store that was opened for one case. */
export interface SuiteStore {
  readonly storage: Storage;
  /** Another connection to the same store. */
  readonly second?: Storage;
  readonly faults?: StorageFaults;
  /** Closes everything. Called after the case, also when it failed. */
  dispose(): Promise<void>;
}

/** A case that an adapter cannot pass, and why. */
export interface SuiteSkip {
  readonly law: Law;
  /** The title of the case, without the law. */
  readonly case: string;
  readonly reason: string;
}

/** The functions of a test runner: those of vitest, jest and `node:test` fit. */
export interface SuiteRunner {
  describe(name: string, body: () => void): unknown;
  test: {
    (name: string, body: () => Promise<void>): unknown;
    skip?(name: string, body: () => Promise<void>): unknown;
  };
}

/** Options of {@link storageSuite}. */
export interface StorageSuiteOptions {
  /** The adapter, for titles. */
  readonly name: string;
  /** Opens a store for one case. It may hold data of earlier cases: each uses partitions of its own. */
  open(options: SuiteOpenOptions): Promise<SuiteStore>;
  /** Registers the cases as tests. Absent: nothing is registered, and `run()` runs them. */
  readonly runner?: SuiteRunner;
  readonly skip?: readonly SuiteSkip[];
  /** How often each property runs. Default 40. */
  readonly runs?: number;
  /** Seed of the properties. Default: a new one, printed on failure. */
  readonly seed?: number;
  /** After how many ms a call counts as hanging. Default 15,000. */
  readonly hangMs?: number;
}

/** One case of the suite. */
export interface SuiteCase {
  readonly law: Law;
  readonly title: string;
  /** Why it is skipped. */
  readonly skipped?: string;
  /** Opens a store, runs the case, disposes of the store; rejects when the adapter breaks the law. */
  run(): Promise<void>;
}

/** What {@link StorageSuite.run} found. */
export interface SuiteReport {
  readonly passed: number;
  readonly failed: readonly { readonly law: Law; readonly title: string; readonly error: unknown }[];
  readonly skipped: readonly { readonly law: Law; readonly title: string; readonly reason: string }[];
}

/** The suite for one adapter. */
export interface StorageSuite {
  readonly cases: readonly SuiteCase[];
  /** Runs the cases one after another, those of the given laws only when there are any. */
  run(...laws: readonly Law[]): Promise<SuiteReport>;
}

const LAW_CASES: readonly LawCase[] = [
  ...atomicCases,
  ...differentialCases,
  ...guardedCases,
  ...idempotentCases,
  ...clockCases,
  ...indexCases,
  ...eventCases,
  ...exactCases,
  ...honestCases,
];

function skips(options: StorageSuiteOptions): Map<LawCase, string> {
  const reasons = new Map<LawCase, string>();
  for (const skip of options.skip ?? []) {
    const found = LAW_CASES.find(({ law, title }) => law === skip.law && title === skip.case);
    if (found === undefined) {
      throw new RecoveryError('INVALID_OPTION', `skip: there is no case ${skip.law} "${skip.case}".`);
    }
    if (skip.reason.trim() === '') {
      throw new RecoveryError('INVALID_OPTION', `skip: ${skip.law} "${skip.case}" has no reason.`);
    }
    reasons.set(found, skip.reason);
  }
  return reasons;
}

function benchOver(store: SuiteStore, options: StorageSuiteOptions): Bench {
  const hangMs = options.hangMs ?? 15_000;
  const wrapped = withFaults(watched(store.storage, hangMs));
  const nonce = randomBytes(6).toString('hex');
  let partitions = 0;
  let tokens = 0;
  const freshPartition = (): string => `suite-${nonce}-${++partitions}`;
  return {
    storage: wrapped.storage,
    second: store.second === undefined ? wrapped.storage : watched(store.second, hangMs),
    faults: { ...wrapped.faults, ...store.faults },
    partition: freshPartition(),
    freshPartition,
    token: () => `token-${++tokens}`,
    runs: options.runs ?? 40,
    seed: options.seed,
  };
}

async function runCase(lawCase: LawCase, options: StorageSuiteOptions): Promise<void> {
  const { maxEvents } = lawCase;
  const store = await options.open(maxEvents === undefined ? {} : { maxEvents });
  try {
    await lawCase.run(benchOver(store, options));
  } finally {
    await store.dispose();
  }
}

function register(cases: readonly SuiteCase[], name: string, { describe, test }: SuiteRunner): void {
  describe(`storage laws: ${name}`, () => {
    for (const { law, title, skipped, run } of cases) {
      const full = `${law} ${LAW_WORDS[law]}: ${title}`;
      if (skipped === undefined) test(full, run);
      else test.skip?.(`${full} [skipped: ${skipped}]`, run);
    }
  });
}

/**
 * The laws of the storage contract as tests. With a `runner` the cases are registered there; without one,
 * `run()` returns a report.
 *
 * @example
 * storageSuite({
 *   name: 'mine',
 *   runner: { describe, test },
 *   open: async ({ maxEvents }) => {
 *     const storage = myStorage({ maxEvents });
 *     return { storage, dispose: () => storage.close() };
 *   },
 * });
 */
export function storageSuite(options: StorageSuiteOptions): StorageSuite {
  const reasons = skips(options);
  const cases = LAW_CASES.map((lawCase): SuiteCase => {
    const skipped = reasons.get(lawCase);
    return {
      law: lawCase.law,
      title: lawCase.title,
      ...(skipped === undefined ? {} : { skipped }),
      run: () => runCase(lawCase, options),
    };
  });
  if (options.runner !== undefined) register(cases, options.name, options.runner);
  return {
    cases,
    async run(...laws) {
      let passed = 0;
      const failed: SuiteReport['failed'][number][] = [];
      const skipped: SuiteReport['skipped'][number][] = [];
      for (const { law, title, skipped: reason, run } of cases) {
        if (laws.length > 0 && !laws.includes(law)) continue;
        if (reason !== undefined) {
          skipped.push({ law, title, reason });
          continue;
        }
        try {
          await run();
          passed += 1;
        } catch (error) {
          failed.push({ law, title, error });
        }
      }
      return { passed, failed, skipped };
    },
  };
}

/** A property's message tells the counterexample; what went wrong with it is in the cause. */
function described(error: unknown): string {
  const cause = error instanceof Error && error.cause !== undefined ? ` (${messageOf(error.cause)})` : '';
  return `${messageOf(error)}${cause}`;
}

/** The report in words, a line a case that failed or was skipped. */
export function formatSuiteReport({ passed, failed, skipped }: SuiteReport): string {
  return [
    `${passed} passed, ${failed.length} failed, ${skipped.length} skipped`,
    ...failed.map(({ law, title, error }) => `${law} ${LAW_WORDS[law]}: ${title}: ${described(error)}`),
    ...skipped.map(({ law, title, reason }) => `${law} ${LAW_WORDS[law]}: ${title}: skipped, ${reason}`),
  ].join('\n');
}
