/** Whether a race came to what a run by one worker came to. */
import { isRecoveryError } from '../../errors.js';
import { conflictIn, differenceOf, endWords, invariantFault, sameEnd } from '../explore/judge.js';
import type { Judgement } from '../explore/judge.js';
import type { CallEnd } from '../explore/incarnation.js';
import type { TrialResult } from '../explore/trial.js';
import type { RaceResult } from './race.js';

/** How a call may end for a worker that does not have the task, or has no longer. */
const LOSERS = ['TASK_RUNNING_ELSEWHERE', 'LEASE_LOST', 'LEASE_UNCERTAIN', 'STORAGE_UNAVAILABLE'] as const;

/** Messages may tell of times and ids; the kind of error is what counts. */
function kindOf(error: unknown): unknown {
  return isRecoveryError(error) ? error.code : error instanceof Error ? error.name : typeof error;
}

/** What is wrong with the ways in which the calls ended. */
function endFault(ends: readonly CallEnd[], lone: CallEnd): string | null {
  const named = ends.map((end, at) => ({ end, words: `#${at + 1}'s call ${endWords(end)}` }));
  const returned = named.filter(({ end }) => end.ended === 'returned');
  const [first, ...others] = returned;
  const other = others.find(({ end }) => first !== undefined && !sameEnd(end, first.end));
  if (first !== undefined && other !== undefined)
    return `two results of one task: ${first.words}, ${other.words}`;
  const odd = named.find(({ end }) => {
    if (end.ended === 'returned' || LOSERS.some((code) => isRecoveryError(end.error, code))) return false;
    return lone.ended === 'returned' || kindOf(lone.error) !== kindOf(end.error);
  });
  if (odd !== undefined) return `${odd.words}; that of one worker alone ${endWords(lone)}`;
  if (lone.ended === 'returned' && first === undefined)
    return `no call came to a result: ${named.map(({ words }) => words).join(', ')}`;
  return null;
}

/** What is wrong with a race; null when nothing is. `lone`: the run by one worker. */
export async function raceFault(
  result: RaceResult,
  lone: TrialResult,
  { sameEffects, invariant }: Pick<Judgement, 'sameEffects' | 'invariant'>,
): Promise<string | null> {
  const [leaseFault] = result.leaseFaults;
  const found =
    leaseFault ??
    conflictIn(result.conflicts) ??
    endFault(result.ends, lone.end) ??
    (sameEffects === true ? differenceOf(lone.effectWords, result.effectWords, 'a run by one worker') : null);
  if (found !== null) return found;
  const done = result.ends.find(({ ended }) => ended === 'returned');
  return invariantFault(invariant, result.effects, done ?? lone.end);
}
