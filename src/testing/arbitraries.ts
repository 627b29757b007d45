/** Values for property tests of tasks: what users, documents and machines come up with. */
import type * as FastCheck from 'fast-check';
import { checkOptions, number } from '../domain/check-options.js';
import { MAX_ID_LENGTH } from '../domain/ids.js';
import type { JsonValue } from '../domain/task.js';
import type { CheckpointInput } from '../runtime/context.js';
import type { FailureReport } from '../state/failure-filter.js';
import { nodeErrors } from './node-errors.js';
import { CRASH_FAULTS, pathOf } from './explore/points.js';

/** The module, imported as a namespace or by its default export. */
export type FastCheckModule = Omit<typeof FastCheck, 'default'>;

/** Options of `crashSchedule`. */
export interface CrashScheduleOptions {
  /** How many places there are to break a run at: `places` of an exploration's report. */
  readonly places: number;
  /** How many processes in a row fall at most, 1 to 3. Default 1. */
  readonly depth?: number;
}

/** Arbitraries of {@link arbitraries}. */
export interface Arbitraries {
  /**
   * Any value that comes back from JSON as it went in: all of Unicode but lone surrogates, keys such as `__proto__`,
   * nesting to some hundred levels; no -0.
   */
  json(): FastCheck.Arbitrary<JsonValue>;
  /** Ids, names and slots that are allowed: 1 to 256 characters, no braces, no control characters. */
  taskId(): FastCheck.Arbitrary<string>;
  /** What `ctx.createCheckpoint` takes. */
  checkpoint(): FastCheck.Arbitrary<CheckpointInput<JsonValue>>;
  /** Errors as Node, its modules, drivers and careless code throw them, with codes and causes. */
  error(): FastCheck.Arbitrary<Error>;
  /** What `recovery.failures.record` takes; `name` and `args` are left to the test. */
  failureReport(): FastCheck.Arbitrary<FailureReport>;
  /** Values for the option `path` of `exploreCrashes`. @throws `INVALID_OPTION` */
  crashSchedule(options: CrashScheduleOptions): FastCheck.Arbitrary<string>;
}

/** Keys and ids that have been trouble somewhere. */
const ODD_NAMES = [
  '__proto__',
  'constructor',
  'toString',
  'token',
  'h:t',
  'a:b:c',
  ' ',
  '0',
  '-1',
  'null',
  'é',
  'e\u0301',
  '😀',
];
const LONGEST_TEXT = 40;
const DEEPEST = 300;

/** Texts of any code points but surrogates, from `min` to `max` UTF-16 units. */
function textOf(fc: FastCheckModule, min: number, max: number, from = 0): FastCheck.Arbitrary<string> {
  const point = fc.oneof(
    fc.integer({ min: Math.max(from, 0x20), max: 0x7e }),
    fc.integer({ min: from, max: 0x2ff }),
    fc.integer({ min: 0x2000, max: 0xd7ff }),
    fc.integer({ min: 0xe000, max: 0x1_0ffff }),
  );
  const points = fc.array(point, { minLength: min, maxLength: max });
  return points.map((each) => cut(String.fromCodePoint(...each), max));
}

/** At most so many UTF-16 units, no character cut in two. */
function cut(text: string, max: number): string {
  const short = text.slice(0, max);
  return short.isWellFormed() ? short : short.slice(0, -1);
}

function jsonOf(fc: FastCheckModule): FastCheck.Arbitrary<JsonValue> {
  const text = textOf(fc, 0, LONGEST_TEXT);
  const double = fc.double({ noNaN: true, noDefaultInfinity: true }).map((n) => (n === 0 ? 0 : n));
  const leaf = fc.oneof(text, double, fc.integer(), fc.boolean(), fc.constant(null));
  const key = fc.oneof(text, fc.constantFrom(...ODD_NAMES));
  const { value } = fc.letrec<{ value: JsonValue }>((tie) => ({
    value: fc.oneof(
      { maxDepth: 4, withCrossShrink: true },
      leaf,
      fc.array(tie('value'), { maxLength: 6 }),
      // Not by assignment, which takes `__proto__` for the prototype.
      fc.array(fc.tuple(key, tie('value')), { maxLength: 6 }).map((members) => Object.fromEntries(members)),
    ),
  }));
  const deep = fc.tuple(value, fc.nat(DEEPEST), fc.boolean()).map(([inner, levels, lists]) => {
    let nested = inner;
    for (let level = 0; level < levels; level += 1) nested = lists ? [nested] : { in: nested };
    return nested;
  });
  return fc.oneof({ arbitrary: value, weight: 7 }, { arbitrary: deep, weight: 1 });
}

function idOf(fc: FastCheckModule): FastCheck.Arbitrary<string> {
  const any = textOf(fc, 1, MAX_ID_LENGTH, 0x20).map((text) => text.replaceAll(/[{}\u007f]/g, '_'));
  return fc.oneof(any, fc.constantFrom(...ODD_NAMES), fc.uuid(), fc.constant('x'.repeat(MAX_ID_LENGTH)));
}

function pathTextOf(fc: FastCheckModule): FastCheck.Arbitrary<string> {
  const part = textOf(fc, 1, 30).map((text) => text.replaceAll('/', '_'));
  const parts = fc.array(part, { minLength: 1, maxLength: 5 });
  return fc.oneof(
    parts.map((each) => `/data/${each.join('/')}.pdf`),
    parts.map((each) => `C:\\in\\${each.join('\\')}.docx`),
    fc.webUrl({ withQueryParameters: true }),
  );
}

/**
 * Arbitraries for property tests, made with the fast-check module of the caller: 3.15 or later.
 *
 * @example
 * import * as fc from 'fast-check';
 *
 * const { json, taskId } = arbitraries(fc);
 * await fc.assert(
 *   fc.asyncProperty(taskId(), json(), async (id, value) => {
 *     assert.deepEqual(await echo(id, value), value); // a wrapped task of yours
 *   }),
 * );
 */
export function arbitraries(fc: FastCheckModule): Arbitraries {
  const json = jsonOf(fc);
  const id = idOf(fc);
  const error = fc.oneof(...nodeErrors(fc, pathTextOf(fc), textOf(fc, 0, LONGEST_TEXT)));
  const percent = fc.oneof(fc.integer({ min: 0, max: 100 }), fc.double({ min: 0, max: 100, noNaN: true }));
  const text = textOf(fc, 0, LONGEST_TEXT);
  return {
    json: () => json,
    taskId: () => id,
    checkpoint: () =>
      fc.record(
        {
          name: id,
          progressPercent: percent,
          stepDescription: text,
          recoverableData: json,
          databaseState: json,
        },
        { requiredKeys: ['name', 'progressPercent'] },
      ),
    error: () => error,
    failureReport: () =>
      fc.record(
        {
          documentPath: pathTextOf(fc),
          error,
          taskId: id,
          query: text,
          metadata: json,
          workerId: id,
          version: id,
        },
        { requiredKeys: ['documentPath', 'error'] },
      ),
    crashSchedule(options) {
      const checks = { places: number(1, 999_999_999), depth: number(1, 3) };
      checkOptions('crashSchedule', options, checks, ['places']);
      const { places, depth = 1 } = options;
      const fault = fc.record({
        at: fc.integer({ min: 1, max: places }),
        fault: fc.constantFrom(...CRASH_FAULTS),
      });
      return fc.array(fault, { minLength: 1, maxLength: depth }).map(pathOf);
    },
  };
}
