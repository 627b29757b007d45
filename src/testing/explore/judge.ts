/** Whether a run under faults came to what the run without any came to. */
import { isDeepStrictEqual, inspect } from 'node:util';
import { told } from './incarnation.js';
import type { CallEnd, ExploreWorld } from './incarnation.js';
import type { TrialResult } from './trial.js';

/** What is asked of a run. */
export interface Judgement {
  readonly sameResult: boolean;
  readonly sameEffects: boolean;
  /** The consumer's own word: it throws when something is wrong. */
  readonly invariant: ((world: Pick<ExploreWorld, 'effects'>, result: unknown) => unknown) | null;
}

function short(value: unknown): string {
  return inspect(value, { depth: 4, breakLength: Infinity, maxStringLength: 200, maxArrayLength: 20 });
}

export function endWords(end: CallEnd): string {
  return end.ended === 'returned' ? `returned ${short(end.value)}` : `was rejected with ${told(end.error)}`;
}

function sameEnd(a: CallEnd, b: CallEnd): boolean {
  if (a.ended === 'returned') return b.ended === 'returned' && isDeepStrictEqual(a.value, b.value);
  return b.ended === 'threw' && told(a.error) === told(b.error);
}

/** A key that came with two values, in words. */
export function conflictIn([conflict]: TrialResult['conflicts']): string | null {
  if (conflict === undefined) return null;
  return `the effect ${JSON.stringify(conflict.key)} came with two values: ${short(conflict.first)}, then ${short(conflict.second)}`;
}

/** What effects are missing, or too many. `model`: the run that they were expected of. */
export function differenceOf(
  expected: readonly string[],
  found: readonly string[],
  model: string,
): string | null {
  const missing = expected.filter((key) => !found.includes(key));
  const extra = found.filter((key) => !expected.includes(key));
  if (missing.length > 0) return `effects are missing: ${missing.join(', ')}`;
  if (extra.length > 0) return `effects came that ${model} has not: ${extra.join(', ')}`;
  return null;
}

/** What the consumer's invariant says against it. */
export async function invariantFault(
  invariant: Judgement['invariant'],
  effects: TrialResult['effects'],
  end: CallEnd,
): Promise<string | null> {
  try {
    await invariant?.({ effects }, end.ended === 'returned' ? end.value : undefined);
    return null;
  } catch (thrown) {
    return `the invariant does not hold: ${told(thrown)}`;
  }
}

/** What is wrong with a run; null when nothing is. `normal`: the run without faults. */
export async function faultFound(
  result: TrialResult,
  normal: TrialResult,
  { sameResult, sameEffects, invariant }: Judgement,
): Promise<string | null> {
  const conflict = conflictIn(result.conflicts);
  if (conflict !== null) return conflict;
  if (sameResult && !sameEnd(result.end, normal.end)) {
    return `the call ${endWords(result.end)}; without a fault it ${endWords(normal.end)}`;
  }
  const difference = differenceOf(normal.effectWords, result.effectWords, 'a run without a fault');
  if (sameEffects && difference !== null) return difference;
  return invariantFault(invariant, result.effects, result.end);
}
