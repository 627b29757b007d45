/** Two runs without a fault: what the others are held against, and what of it is the same each time. */
import { differenceOf } from './judge.js';
import type { StableIds } from './receiver.js';
import { Trial } from './trial.js';
import type { Subject, TrialResult } from './trial.js';

export interface Undisturbed {
  readonly normal: TrialResult;
  readonly again: TrialResult;
  /** Ids of tasks that are the same in both. */
  readonly stable: StableIds;
  /** Whether both have the same effects, by key. */
  readonly sameEffects: boolean;
}

/** `begun`: throws when the first one is no run to hold others against. */
export async function undisturbed<I>(
  subject: Subject<I>,
  begun: (once: TrialResult) => void,
): Promise<Undisturbed> {
  const once = await new Trial(subject, []).run();
  begun(once);
  const again = await new Trial({ ...subject, salt: 'again ' }, []).run();
  const stable = new Set([...once.taskIds].filter((id) => again.taskIds.has(id)));
  const normal = { ...once, effectWords: once.wordsBy(stable) };
  const difference = differenceOf(normal.effectWords, again.wordsBy(stable), 'the first run');
  return { normal, again, stable, sameEffects: difference === null };
}
