/** What happens to documents: schedules at random, for the model and for the real thing. */
import * as fc from 'fast-check';
import type { Outcome, Rules } from './documents-model.js';

export const IDS: readonly string[] = ['a', 'b', 'c'];
export const DAY_MS = 86_400_000;

const id = fc.constantFrom(...IDS);
const outcome = fc.constantFrom<Outcome>('ok', 'first', 'first', 'second');
/** How each ends in a run; one of them kills the process, perhaps. */
export interface Outcomes {
  readonly each: readonly Outcome[];
  readonly guilty: number | null;
}

const outcomes: fc.Arbitrary<Outcomes> = fc.record({
  each: fc.tuple(outcome, outcome, outcome),
  guilty: fc.option(fc.nat(IDS.length - 1), { freq: 3 }),
});
export type Command =
  | { readonly what: 'call'; readonly id: string; readonly outcome: Outcome }
  | { readonly what: 'crash' | 'record' | 'requeue' | 'forget' | 'remove'; readonly id: string }
  | { readonly what: 'run'; readonly outcomes: Outcomes }
  | { readonly what: 'redrive'; readonly id: string; readonly outcomes: Outcomes }
  | { readonly what: 'wait'; readonly ms: number | 'early' | 'due' };

export const commands: fc.Arbitrary<Command[]> = fc.array(
  fc.oneof(
    { weight: 4, arbitrary: fc.record({ what: fc.constant('call' as const), id, outcome }) },
    { weight: 1, arbitrary: fc.record({ what: fc.constant('crash' as const), id }) },
    { weight: 2, arbitrary: fc.record({ what: fc.constant('record' as const), id }) },
    { weight: 6, arbitrary: fc.record({ what: fc.constant('run' as const), outcomes }) },
    { weight: 2, arbitrary: fc.record({ what: fc.constant('redrive' as const), id, outcomes }) },
    {
      weight: 3,
      arbitrary: fc.record({
        what: fc.constantFrom('requeue' as const, 'forget' as const, 'remove' as const),
        id,
      }),
    },
    {
      weight: 6,
      arbitrary: fc.record({
        what: fc.constant('wait' as const),
        // Just before the next one is due, just then, or in plain time.
        ms: fc.oneof(
          fc.constantFrom<'early' | 'due'>('early', 'due'),
          fc.constantFrom(1, 3_600_000, DAY_MS, 8 * DAY_MS, 31 * DAY_MS),
        ),
      }),
    },
  ),
  { maxLength: 30, size: 'max' },
);

export const rules: fc.Arbitrary<Rules> = fc
  .record({
    maxRetries: fc.nat(4),
    minRetryIntervalMs: fc.constantFrom(1, 1_000, 3_600_000),
    factor: fc.constantFrom(1, 3, 24),
  })
  .map(({ maxRetries, minRetryIntervalMs, factor }) => ({
    maxRetries,
    minRetryIntervalMs,
    maxRetryIntervalMs: minRetryIntervalMs * factor,
    retentionMs: 7 * DAY_MS,
    deadLetterRetentionMs: 30 * DAY_MS,
  }));
