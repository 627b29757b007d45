import type { KeptPieces } from '../state/ledger.js';
import type { LiveTaskStart } from '../state/live-task.js';
import type { Resume } from './journal.js';
import type { DiscoverHook } from './pieces.js';

/** What a won create or claim hands over. */
export interface AttemptStart {
  readonly live: LiveTaskStart;
  readonly partition: string;
  readonly fence: number;
  readonly nonce: string;
  readonly sentMs: number;
  readonly resume: Resume;
  readonly kept: KeptPieces;
  /** JSON text of the caller's context; null without one. */
  readonly userText: string | null;
  /** Attempts that ended with an error so far. */
  readonly errorCount: number;
  /** The stored arguments; only for tasks whose failures are tracked as documents. */
  readonly args: readonly unknown[] | null;
  /** How long earlier attempts ran, in ms. */
  readonly ranMs: number;
  /** The user's hook, its arguments filled in; null on a first attempt, which has nothing to discover. */
  readonly discover: DiscoverHook | null;
}
