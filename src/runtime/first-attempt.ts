/** The first attempt of a task: nothing to resume, and nothing to plan. */
import type { KeptPieces } from '../state/ledger.js';
import { Attempt } from './attempt.js';
import type { Engine, Handler } from './engine.js';
import type { Resume } from './journal.js';

/** A first attempt's past, one for all: thousands of tasks run at once. */
const NOTHING_TO_RESUME: Resume = { explicit: null, automatic: null, reached: new Set() };
const NO_STEPS: KeptPieces['steps'] = new Map();
const NO_MAPS: KeptPieces['maps'] = new Map();

/** A commit that made a task, or began one that was submitted. */
export interface Begun {
  readonly taskId: string;
  /** As its record has it: that of the code here may be another one. */
  readonly priority: number;
  readonly partition: string;
  readonly fence: number;
  readonly nonce: string;
  /** Monotonic. */
  readonly sentMs: number;
  /** The fence that it was made under: idempotency keys rest on it. */
  readonly origin: number;
  readonly eventSeq: number;
  /** JSON text of the caller's context. */
  readonly userText: string | null;
  /** The arguments as the function gets them. */
  readonly args: readonly unknown[];
}

export function firstAttempt(engine: Engine, handler: Handler, begun: Begun): Attempt {
  const { taskId, priority, partition, fence, nonce, sentMs, origin, eventSeq, userText, args } = begun;
  const { name } = handler;
  const { leaseMs } = engine.settings;
  const live = {
    taskId,
    name,
    priority,
    attempt: 1,
    recovered: false,
    owner: engine.worker.incarnation,
    leaseMs,
    startedMs: sentMs,
    eventSeq,
    checkpointSeq: 0,
    hasAutomatic: false,
    failed: null,
    traced: false,
  };
  return new Attempt(engine, handler, {
    live,
    partition,
    fence,
    nonce,
    sentMs,
    resume: NOTHING_TO_RESUME,
    kept: { origin, steps: NO_STEPS, maps: NO_MAPS },
    userText,
    errorCount: 0,
    args: handler.document === null ? null : args,
    ranMs: 0,
    discover: null,
  });
}
