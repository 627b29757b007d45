/** Which script applies some batches. */
import type { Batch } from '../storage.js';
import { encodeCommit } from './encode.js';
import type { EncodedCommit } from './encode.js';
import { PLAIN } from './plain-script.js';
import { encodePlain } from './plain.js';
import { encodePuts } from './put.js';
import type { Script } from './script.js';
import { COMMIT, PUT } from './scripts.js';

/** A script and what it is given. */
export interface CommitCall extends EncodedCommit {
  readonly script: Script;
}

/** The call that can apply any batches. */
export function generalCall(partition: string, batches: readonly Batch[], maxEvents: number): CommitCall {
  return { script: COMMIT, ...encodeCommit(partition, batches, maxEvents) };
}

/** The cheapest call that can apply these batches. */
export function cheapestCall(partition: string, batches: readonly Batch[], maxEvents: number): CommitCall {
  const puts = encodePuts(partition, batches);
  if (puts !== null) return { script: PUT, ...puts };
  const plain = encodePlain(partition, batches, maxEvents);
  return plain === null ? generalCall(partition, batches, maxEvents) : { script: PLAIN, ...plain };
}
