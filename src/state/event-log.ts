import { setMaxListeners } from 'node:events';
import type { Clock } from '../clock.js';
import { RecoveryError } from '../errors.js';
import type { RecoveryEvent } from '../domain/events.js';
import { decodeParts, encodeParts } from './cursor.js';
import { decodeEvent } from './task-events.js';
import type { EventPage } from '../storage/storage.js';
import type { Store } from './store.js';

const PAGE = 100;
/** How often a follower looks for new events, in ms. */
const POLL_MS = 250;

type Positions = (string | null)[];

function foreign(): RecoveryError {
  return new RecoveryError('INVALID_VALUE', 'This is no event cursor of this namespace. Start without one.');
}

function decode(cursor: string, partitions: number): Positions {
  const positions = decodeParts(cursor);
  if (positions.length !== partitions) throw foreign();
  return positions.map(positionOf);
}

const LONGEST_POSITION = 256;

/** @throws `INVALID_VALUE` */
function positionOf(position: unknown): string | null {
  if (position === null) return null;
  if (typeof position === 'string' && position !== '' && position.length <= LONGEST_POSITION) return position;
  throw foreign();
}

function truncated(nowMs: number): RecoveryEvent {
  return {
    event: 'alert',
    task_id: null,
    name: null,
    timestamp: nowMs,
    recovery: false,
    seq: null,
    cursor: null,
    details: {
      kind: 'events_truncated',
      advice: 'Events behind the cursor are no longer kept; some were missed.',
    },
  };
}

/** A sleep that an abort ends. */
function pause(clock: Clock, delayMs: number, signals: readonly AbortSignal[]): Promise<void> {
  return new Promise((resolve) => {
    const cancel = clock.schedule(delayMs, () => end(), true);
    const end = (): void => {
      cancel();
      for (const signal of signals) signal.removeEventListener('abort', end);
      resolve();
    };
    for (const signal of signals) signal.addEventListener('abort', end);
  });
}

/** Options of `events()`. */
export interface EventsOptions {
  /** The `cursor` of the last event that was seen. Default: from the oldest event kept. */
  readonly after?: string;
  /** Ends the iteration. */
  readonly signal?: AbortSignal;
  /** `false`: ends with the newest event that there is, instead of waiting for more. Default true. */
  readonly follow?: boolean;
}

/** Follows the log over all partitions: in commit order within each, interleaved between them. */
export async function* followEvents(
  store: Store,
  options: EventsOptions = {},
  closed?: AbortSignal,
): AsyncGenerator<RecoveryEvent> {
  const { after, signal, follow = true } = options;
  const positions: Positions =
    after === undefined ? store.partitions.map(() => null) : decode(after, store.partitions.length);
  const signals = [signal, closed].filter((each) => each !== undefined);
  // It is every follower's: many listeners are no leak.
  if (closed !== undefined) setMaxListeners(0, closed);
  const ended = (): boolean => signals.some((each) => each.aborted);
  await store.look();
  while (!ended()) {
    let found = 0;
    for (const [index, partition] of store.partitions.entries()) {
      const page = await readPage(store, partition, positions[index] ?? null, ended);
      if (page === null) return;
      if (page.truncated) yield truncated(store.estimatedNowMs(partition));
      for (const { cursor, fields } of page.events) {
        if (ended()) return;
        positions[index] = cursor;
        found += 1;
        yield decodeEvent(fields, encodeParts(positions));
      }
      // Nothing is left at a cursor that was trimmed away: continue at the oldest event kept.
      if (page.truncated && page.events.length === 0) positions[index] = null;
    }
    if (found === 0 && !follow) return;
    if (found === 0 && !ended()) await pause(store.clock, POLL_MS, signals);
  }
}

/** Null when the storage was closed under the reader's hands. */
async function readPage(
  store: Store,
  partition: string,
  after: string | null,
  ended: () => boolean,
): Promise<EventPage | null> {
  try {
    return await store.events(partition, after, PAGE);
  } catch (error) {
    if (ended()) return null;
    throw error;
  }
}
