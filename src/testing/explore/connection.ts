/** The way between an incarnation and the one storage: each call takes a moment there and back, and may be its last. */
import type { CommitReply, Storage } from '../../storage/storage.js';
import { isStart, taskIdOf, wordsOf } from './points.js';
import type { CrashFault } from './points.js';
import type { ProcessClock } from '../virtual-clock.js';

/** The side of an incarnation that messages need. */
export interface Caller {
  readonly label: string;
  readonly clock: ProcessClock;
  /** Counts a place to break the run at; says what is to happen there. */
  point(words: string, isWrite: boolean): CrashFault | null;
  /** What is to happen there happens. */
  fall(fault: CrashFault): void;
  answered(words: string, refused: string | null): void;
  /** A task is about to be made. */
  began(taskId: string): void;
}

/** Something on its way, there or back. */
export interface Message {
  readonly from: Caller;
  readonly way: 'there' | 'back';
  /** What it does, in words; null when that is of no interest. */
  readonly words: string | null;
  /** How long it takes where time alone decides, in ms. */
  readonly hopMs: number;
}

/** Brings messages over, each in its time. */
export type Carry = (message: Message, deliver: () => void) => void;

/** One way to the storage, and to anybody else. */
const HOP_MS = 1;
export const FAR_HOP_MS = 5;

/** A message to somebody outside and the answer; never settles for a process that dies. */
export function send<T>(
  carry: Carry,
  caller: Caller,
  words: string | null,
  act: () => Promise<T>,
  hopMs: number = HOP_MS,
): Promise<T> {
  const { clock } = caller;
  if (clock.state === 'dead') return new Promise(() => {});
  // What goes far is for somebody else than the storage.
  const fault = words === null ? null : caller.point(words, hopMs === HOP_MS);
  return new Promise((resolve, reject) => {
    const answer = (deliver: () => void): void => {
      carry({ from: caller, way: 'back', words, hopMs }, () => clock.enter('reply', deliver));
    };
    const run = (): void => {
      // It may not have left the machine yet when that dies.
      if (clock.state === 'dead') return;
      const acted = act();
      if (fault === 'crash-after' || fault === 'zombie-after') caller.fall(fault);
      acted.then(
        (value) => answer(() => resolve(value)),
        (error: unknown) => answer(() => reject(error)),
      );
    };
    const leave = (): void => {
      carry({ from: caller, way: 'there', words, hopMs }, run);
    };
    if (fault === 'crash-before' || fault === 'zombie-before') {
      caller.fall(fault);
      clock.enter('reply', leave);
    } else leave();
  });
}

/** The storage as one incarnation sees it. */
export function connected(inner: Storage, carry: Carry, caller: Caller): Storage {
  const quietly = <T>(act: () => Promise<T>): Promise<T> => send(carry, caller, null, act);
  return {
    name: inner.name,
    partitions: inner.partitions,
    read: (partition, keys, fields) => quietly(() => inner.read(partition, keys, fields)),
    async commit(partition, batches): Promise<CommitReply> {
      const each = batches.map(wordsOf);
      for (const made of batches.filter((batch) => isStart(batch))) caller.began(taskIdOf(made) ?? '');
      const known = each.filter((words) => words !== null);
      const words = known.length === 0 ? null : known.join(' + ');
      const reply = await send(carry, caller, words, () => inner.commit(partition, batches));
      for (const [at, outcome] of reply.outcomes.entries()) {
        const about = each[at] ?? null;
        const ok = outcome.status === 'applied' || outcome.status === 'duplicate';
        if (about !== null) caller.answered(about, ok ? null : outcome.status);
      }
      return reply;
    },
    range: (partition, index, query) => quietly(() => inner.range(partition, index, query)),
    count: (partition, index, bounds) => quietly(() => inner.count(partition, index, bounds)),
    events: (partition, query) => quietly(() => inner.events(partition, query)),
    close: async () => {},
  };
}
