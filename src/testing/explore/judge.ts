/** Whether a run under faults came to what the run without any came to. */
import { isDeepStrictEqual, inspect } from 'node:util';
import { told } from './incarnation.js';
import type { CallEnd, ExploreWorld } from './incarnation.js';
import type { TrialResult } from './trial.js';

/** What is asked of a run. */
export interface Judgement {
  readonly sameResult: boolean;
  /** `count`: only as many, where undisturbed runs have different ones. */
  readonly sameEffects: boolean | 'count';
  /** Whether the task that is called has the same id each time. */
  readonly ownId?: boolean;
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

function codeOf(error: unknown): string | null {
  const code: unknown = typeof error === 'object' && error !== null ? Reflect.get(error, 'code') : null;
  return typeof code === 'string' ? code : null;
}

export function sameEnd(a: CallEnd, b: CallEnd): boolean {
  if (a.ended === 'returned')
    return b.ended === 'returned' && isDeepStrictEqual(asStored(a.value), asStored(b.value));
  if (b.ended !== 'threw') return false;
  // Messages of those that have a code may tell of times and attempts, as the library's own do.
  const [one, other] = [codeOf(a.error), codeOf(b.error)];
  return one === null || other === null ? told(a.error) === told(b.error) : one === other;
}

/** A key that came with two values, in words. */
export function conflictIn([conflict]: TrialResult['conflicts']): string | null {
  if (conflict === undefined) return null;
  return `the effect ${JSON.stringify(conflict.key)} came with two values: ${short(conflict.first)}, then ${short(conflict.second)}`;
}

/** Those of `some` that `others` has not, or has not as often. */
function beyond(some: readonly string[], others: readonly string[]): string[] {
  const left = new Map<string, number>();
  for (const key of others) left.set(key, (left.get(key) ?? 0) + 1);
  return some.filter((key) => {
    const count = left.get(key) ?? 0;
    left.set(key, count - 1);
    return count <= 0;
  });
}

/** What effects are missing, or too many. `model`: the run that they were expected of. */
export function differenceOf(
  expected: readonly string[],
  found: readonly string[],
  model: string,
): string | null {
  const missing = beyond(expected, found);
  const extra = beyond(found, expected);
  if (missing.length > 0) return `effects are missing: ${missing.join(', ')}`;
  if (extra.length > 0) return `effects came that ${model} has not: ${extra.join(', ')}`;
  return null;
}

/** Whatever is done to it, it is seen again. */
function copyOf<T>(value: T): T {
  try {
    return structuredClone(value);
  } catch {
    return value;
  }
}

/** What the consumer's invariant says against it. */
export async function invariantFault(
  invariant: Judgement['invariant'],
  effects: TrialResult['effects'],
  end: CallEnd,
): Promise<string | null> {
  try {
    const answer = await invariant?.(
      { effects: copyOf(effects) },
      end.ended === 'returned' ? copyOf(end.value) : undefined,
    );
    return answer === false ? 'the invariant answered false' : null;
  } catch (thrown) {
    return `the invariant does not hold: ${told(thrown)}`;
  }
}

/** What is wrong with a run; null when nothing is. `normal`: the run without faults. */
export async function faultFound(
  result: TrialResult,
  normal: TrialResult,
  { sameResult, sameEffects, invariant, ownId = true }: Judgement,
): Promise<string | null> {
  const conflict = conflictIn(result.conflicts);
  if (conflict !== null) return conflict;
  if (sameResult && !sameEnd(result.end, normal.end)) {
    return `the call ${endWords(result.end)}; without a fault it ${endWords(normal.end)}`;
  }
  if (sameEffects === 'count' && result.effects.length !== normal.effects.length)
    return `there are ${result.effects.length} effects; without a fault there are ${normal.effects.length}`;
  // A task without an id of its own that is called again may be another one: each of its effects may come twice.
  const once = (words: readonly string[]): readonly string[] => (ownId ? words : [...new Set(words)]);
  const difference = differenceOf(
    once(normal.effectWords),
    once(result.effectWords),
    'a run without a fault',
  );
  if (sameEffects === true && difference !== null) return difference;
  return invariantFault(invariant, result.effects, result.end);
}
