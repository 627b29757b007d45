/** Whether a run under faults came to what the run without any came to. */
import { isDeepStrictEqual, inspect } from 'node:util';
import { isRecoveryError } from '../../errors.js';
import { told } from './incarnation.js';
import type { CallEnd, ExploreWorld } from './incarnation.js';
import type { TrialResult } from './trial.js';

/** What is asked of a run. */
export interface Judgement {
  readonly sameResult: boolean;
  /** `count`: only as many, where undisturbed runs have different ones. */
  readonly sameEffects: boolean | 'count';
  /** The consumer's own word: it throws when something is wrong. */
  readonly invariant: ((world: Pick<ExploreWorld, 'effects'>, result: unknown) => unknown) | null;
}

function short(value: unknown): string {
  return inspect(value, { depth: 4, breakLength: Infinity, maxStringLength: 200, maxArrayLength: 20 });
}

export function endWords(end: CallEnd): string {
  return end.ended === 'returned' ? `returned ${short(end.value)}` : `was rejected with ${told(end.error)}`;
}

/** A result as the storage gives it back. */
function asStored(value: unknown): unknown {
  try {
    const text = JSON.stringify(value);
    return text === undefined ? undefined : JSON.parse(text);
  } catch {
    return value;
  }
}

export function sameEnd(a: CallEnd, b: CallEnd): boolean {
  if (a.ended === 'returned')
    return b.ended === 'returned' && isDeepStrictEqual(asStored(a.value), asStored(b.value));
  if (b.ended !== 'threw') return false;
  // The library's own messages may tell of times and attempts.
  if (isRecoveryError(a.error) && isRecoveryError(b.error)) return a.error.code === b.error.code;
  return told(a.error) === told(b.error);
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
    const answer = await invariant?.({ effects }, end.ended === 'returned' ? end.value : undefined);
    return answer === false ? 'the invariant answered false' : null;
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
  if (sameEffects === 'count' && result.effects.length !== normal.effects.length)
    return `there are ${result.effects.length} effects; without a fault there are ${normal.effects.length}`;
  const difference = differenceOf(normal.effectWords, result.effectWords, 'a run without a fault');
  if (sameEffects === true && difference !== null) return difference;
  return invariantFault(invariant, result.effects, result.end);
}
