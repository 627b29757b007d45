/** The built-in rules of recovery. Each is a value with one pure function. */
import { KEPT_CRASHES } from '../domain/task.js';
import type {
  Checkpoint,
  CrashBudget,
  CrashEvidence,
  Decision,
  JsonValue,
  RecoveryStrategy,
  TaskSnapshot,
} from '../domain/task.js';

/** Options of {@link defaultStrategies}, in percent of progress. */
export interface StrategyOptions {
  /** An automatic checkpoint is resumed from above this progress. Default 25. */
  readonly resumeAbovePercent?: number;
  /** Above this progress a task with a `validate` hook is asked whether it is in fact done. Default 95. */
  readonly validateAbovePercent?: number;
  /** Below this progress no checkpoint at all is resumed from, explicit ones included. Default 0. */
  readonly minProgressPercent?: number;
}

const HOUR_MS = 3_600_000;

/** From this many crashes on a task is a suspect: it was there when a process died, and there again. */
const SUSPECT_AT = 2;
/** Halving the suspects this often leaves one of any number that fits into a process; whatever goes on longer is stuck. */
const MOST_HALVINGS = 12;

/** The crashes that count: those within the budget's window. */
export function recentCrashes(
  crashes: readonly CrashEvidence[],
  { windowMs }: CrashBudget,
  nowMs: number,
): CrashEvidence[] {
  return crashes.filter(({ atMs }) => atMs > nowMs - windowMs);
}

/** Whether a task with these recent crashes may be what kills its workers. */
export function isSuspect(recent: readonly CrashEvidence[]): boolean {
  return recent.length >= SUSPECT_AT;
}

/** Whether its next crash may be its last: where it is then is to be known for certain. Before, that costs more than it tells. */
export function isTraced(recent: readonly CrashEvidence[], { count }: CrashBudget): boolean {
  return isSuspect(recent) || (recent.length > 0 && recent.length + 1 >= count);
}

/**
 * Whether a task is to be given up. Others that ran beside it are charged with the same crashes: one with a budget that
 * leaves room for it is given up only when it was the only suspect in its process.
 */
export function isSpent(recent: readonly CrashEvidence[], { count }: CrashBudget): boolean {
  if (recent.length < count) return false;
  const most = Math.min(count + MOST_HALVINGS, KEPT_CRASHES);
  return count <= SUSPECT_AT || recent.at(-1)?.suspects === 1 || recent.length >= most;
}

function evidenceOf({
  atMs,
  owner,
  attempt,
  cause,
  step,
  progressPercent,
  suspects,
}: CrashEvidence): JsonValue {
  return { atMs, owner, attempt, cause, step, progressPercent, suspects };
}

/** Gives a task up that crashed its workers too often, so that it can't take them down for ever. */
export function crashBudget(): RecoveryStrategy {
  return {
    name: 'crash-budget',
    decide({ crashes, crashBudget: budget, nowMs }): Decision | null {
      const recent = recentCrashes(crashes, budget, nowMs);
      if (!isSpent(recent, budget)) return null;
      const { count, windowMs } = budget;
      const hours = Math.round((windowMs / HOUR_MS) * 10) / 10;
      const step = recent.at(-1)?.step ?? null;
      return {
        action: 'dead_letter',
        reason:
          `It crashed ${recent.length === 1 ? 'once' : `${recent.length} times`} within ${hours} h; the budget is ${count}.` +
          (step === null ? '' : ` The last step it reported was "${step}".`),
        evidence: { crashes: recent.map(evidenceOf), count, windowMs },
      };
    },
  };
}

/** Applies `onVersionMismatch` where the code has changed and there is no `migrate` to decide. */
export function versionPolicy(): RecoveryStrategy {
  return {
    name: 'version-policy',
    decide({ versionChange }): Decision | null {
      if (versionChange === null || versionChange.hasMigrate || versionChange.policy === 'resume')
        return null;
      const { from, to, policy } = versionChange;
      const what = `It is of version "${from}", the code here of "${to}", and there is no migrate function`;
      const evidence = { from, to, policy };
      if (policy === 'restart') return { action: 'restart', reason: `${what}: it starts again.`, evidence };
      return { action: 'dead_letter', reason: `${what}: it is kept as a dead letter.`, evidence };
    },
  };
}

function newestPercent({ task, checkpoint, automaticCheckpoint }: TaskSnapshot): number {
  return Math.max(
    task.progressPercent,
    checkpoint?.progressPercent ?? 0,
    automaticCheckpoint?.progressPercent ?? 0,
  );
}

/** Nearly done: asks the task's `validate` hook whether it is done in fact, and follows its answer. */
export function validationOnly(
  options: Pick<StrategyOptions, 'validateAbovePercent'> = {},
): RecoveryStrategy {
  const above = options.validateAbovePercent ?? 95;
  return {
    name: 'validation-only',
    decide(snapshot): Decision | null {
      const progressPercent = newestPercent(snapshot);
      if (!snapshot.hasValidate || progressPercent <= above) return null;
      const { validation } = snapshot;
      if (validation === null) {
        const reason = `It was at ${progressPercent} %, above ${above} %: its validate hook is asked whether it is done.`;
        return { action: 'validate', reason, evidence: { progressPercent, validateAbovePercent: above } };
      }
      if ('error' in validation) return null;
      const evidence = { progressPercent, answer: validation.answer };
      switch (validation.answer) {
        case 'complete':
          return { action: 'complete', reason: 'Its validate hook says that it is done.', evidence };
        case 'unrecoverable':
          return { action: 'fail', reason: 'Its validate hook says that it cannot be recovered.', evidence };
        case 'restart':
          return { action: 'restart', reason: 'Its validate hook asks for a clean restart.', evidence };
        default:
          return null;
      }
    },
  };
}

/** Resumes from an explicit checkpoint always, and from an automatic one above a threshold. */
export function checkpointResume(
  options: Pick<StrategyOptions, 'resumeAbovePercent' | 'minProgressPercent'> = {},
): RecoveryStrategy {
  const above = options.resumeAbovePercent ?? 25;
  const least = options.minProgressPercent ?? 0;
  const described = (checkpoint: Checkpoint): string =>
    checkpoint.automatic ? 'automatic checkpoint' : `checkpoint "${checkpoint.name}"`;
  return {
    name: 'checkpoint-resume',
    decide({ checkpoint, automaticCheckpoint, corruptCheckpoints }): Decision | null {
      const automatic =
        automaticCheckpoint !== null && automaticCheckpoint.progressPercent > above
          ? automaticCheckpoint
          : null;
      const chosen = checkpoint ?? automatic;
      if (chosen === null) return null;
      const progressPercent = Math.max(chosen.progressPercent, automatic?.progressPercent ?? 0);
      if (progressPercent < least) return null;
      return {
        action: 'resume',
        reason: `Resumes from ${described(chosen)} at ${progressPercent} %.`,
        evidence: { checkpoint: chosen.name, seq: chosen.seq, progressPercent, corruptCheckpoints },
      };
    },
  };
}

/** The last resort: from the beginning, though whatever was kept of finished work is still skipped. */
export function cleanRestart(): RecoveryStrategy {
  return {
    name: 'clean-restart',
    decide({ checkpoint, automaticCheckpoint, corruptCheckpoints, task }): Decision {
      const percent = automaticCheckpoint?.progressPercent ?? task.progressPercent;
      const found = checkpoint !== null || automaticCheckpoint !== null;
      const why = found
        ? `There is too little progress to resume from (${percent} %).`
        : 'There is no usable checkpoint; steps and items that were kept are skipped.';
      return { action: 'restart', reason: why, evidence: { progressPercent: percent, corruptCheckpoints } };
    },
  };
}

/**
 * The rules in their usual order: crash budget, version policy, validation, checkpoint resume, clean restart. Add, replace and
 * reorder as you like; the first that decides wins.
 *
 * @example
 * createRecovery({ storage, strategies: [myRule, ...defaultStrategies({ resumeAbovePercent: 50 })] });
 */
export function defaultStrategies(options: StrategyOptions = {}): RecoveryStrategy[] {
  return [crashBudget(), versionPolicy(), validationOnly(options), checkpointResume(options), cleanRestart()];
}
