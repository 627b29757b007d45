import { messageOf } from '../errors.js';
import type { Decision, Plan, RecoveryStrategy, TaskSnapshot } from '../domain/task.js';

const ACTIONS = new Set<unknown>([
  'resume',
  'restart',
  'validate',
  'complete',
  'fail',
  'dead_letter',
  'skip',
]);

/** A reason is stored with the task's events. */
const LONGEST_REASON = 1_000;

function isDecision(value: Decision | null | undefined): value is Decision {
  return (
    typeof value === 'object' &&
    value !== null &&
    ACTIONS.has(value.action) &&
    typeof value.reason === 'string'
  );
}

/**
 * Decides what becomes of an orphan: a pure function of a snapshot, no I/O and no clock. The first strategy that
 * decides wins; one that throws or answers nonsense is passed over, and the plan says so.
 *
 * @example
 * const plan = new RecoveryPlanner(defaultStrategies()).plan(snapshot);
 */
export class RecoveryPlanner {
  readonly strategies: readonly RecoveryStrategy[];

  constructor(strategies: readonly RecoveryStrategy[]) {
    this.strategies = [...strategies];
  }

  readonly plan = (
    snapshot: TaskSnapshot,
    strategies: readonly RecoveryStrategy[] = this.strategies,
  ): Plan => {
    const passedOver: string[] = [];
    for (const strategy of strategies) {
      try {
        const decision = strategy.decide(snapshot);
        if (decision === null || decision === undefined) continue;
        if (isDecision(decision)) return this.#finish(decision, strategy.name, passedOver);
        passedOver.push(`${strategy.name}: no valid decision`);
        // An async one by mistake: what it rejects with must not end the process.
        Promise.resolve<unknown>(decision).catch(() => {});
      } catch (thrown) {
        passedOver.push(`${strategy.name}: ${messageOf(thrown)}`);
      }
    }
    const restart: Decision = { action: 'restart', reason: 'No strategy decided.', evidence: {} };
    return this.#finish(restart, 'none', passedOver);
  };

  #finish(decision: Decision, strategy: string, passedOver: readonly string[]): Plan {
    const evidence =
      passedOver.length === 0 ? (decision.evidence ?? {}) : { ...decision.evidence, passedOver };
    return {
      action: decision.action,
      reason: decision.reason.slice(0, LONGEST_REASON).toWellFormed(),
      evidence,
      strategy,
    };
  }
}
