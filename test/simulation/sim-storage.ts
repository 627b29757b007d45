/**
 * The network between a simulated process and the one storage. Each call is two hops, a request and a reply, of seeded
 * length; the storage runs a request in one instant. Faults are tied to the number of a call.
 */
import { RecoveryError } from '../../src/errors.js';
import type { Batch, CallOptions, CommitReply, Storage } from '../../src/storage/storage.js';
import type { ProcessClock, VirtualTime } from '../../src/testing/virtual-clock.js';

export const FAULT_KINDS = [
  'crash-before',
  'crash-after',
  'pause-before',
  'pause-after',
  'lose-request',
  'lose-reply',
  'late-request',
  'late-duplicate',
  'storage-error',
  'clock-jump',
] as const;

export type FaultKind = (typeof FAULT_KINDS)[number];

/** What goes wrong at one call of one worker; calls count from 1, over all incarnations of the worker. */
export interface Fault {
  readonly worker: number;
  readonly call: number;
  readonly kind: FaultKind;
  /**
   * pause: how long; crash: how long until the restart; late: how much later; clock-jump: by how much. Unused for lost
   * messages and errors.
   */
  readonly ms: number;
}

/** How the storage can be away: it refuses calls at once, or never answers. */
export type Outage = 'refuses' | 'silent';

/** The side of a process that the network needs. */
export interface Peer {
  readonly label: string;
  readonly clock: ProcessClock;
  crash(restartInMs: number): void;
  /** Counts a call and says what goes wrong with it. */
  nextFault(): Fault | null;
  /** Set while it is cut off from the storage. */
  outage(): Outage | null;
}

/** What the network reports and shares, for the whole world. */
export interface Wire {
  readonly time: VirtualTime;
  readonly fraction: () => number;
  jump(ms: number): void;
  log(line: string): void;
  executed(peer: Peer, batches: readonly Batch[], reply: CommitReply): void;
}

function unknownOutcome(): RecoveryError {
  return new RecoveryError('STORAGE_UNAVAILABLE', 'No answer in time.', {
    retryable: true,
    details: { outcome: 'unknown' },
  });
}

function unreachable(): RecoveryError {
  return new RecoveryError('STORAGE_UNAVAILABLE', 'Connection refused.', { retryable: true });
}

const HOP_MS = 4;
const DEADLINE_MS = 5_000;

/** One process's connection. */
export function connection(inner: Storage, peer: Peer, wire: Wire): Storage {
  const { time, fraction } = wire;
  const hop = (): number => 1 + Math.floor(fraction() * HOP_MS);

  /** One request and its reply. `what` is for the log. */
  function call<T>(what: string, execute: () => Promise<T>, options: CallOptions | undefined): Promise<T> {
    if (peer.clock.state === 'dead') return new Promise(() => {});
    const fault = peer.nextFault();
    const kind = fault?.kind ?? null;
    const ms = fault?.ms ?? 0;
    const outage = peer.outage();
    const trouble = outage === null ? [] : [` ! ${outage}`];
    if (kind !== null) trouble.push(` ! ${kind} ${ms}`);
    wire.log(`${peer.label} ${what}${trouble.join('')}`);
    return new Promise((resolve, reject) => {
      const cancel = peer.clock.schedule(options?.deadlineMs ?? DEADLINE_MS, () => reject(unknownOutcome()));
      const answer = (deliver: () => void): void => {
        time.after(hop(), () =>
          peer.clock.enter('reply', () => {
            if (outage === null && peer.outage() !== null) return;
            cancel();
            deliver();
          }),
        );
      };
      const run = (answered: boolean): void => {
        if (kind === 'clock-jump') wire.jump(ms);
        const reply = execute();
        if (kind === 'crash-after') peer.crash(ms);
        if (kind === 'pause-after') peer.clock.pause(ms, fraction() < 0.5);
        if (answered && kind !== 'lose-reply') {
          reply.then(
            (value) => answer(() => resolve(value)),
            (error: unknown) => answer(() => reject(error)),
          );
        }
      };
      const send = (): void => {
        if (outage === 'silent') return;
        if (outage === 'refuses') return answer(() => reject(unreachable()));
        if (kind === 'storage-error') return answer(() => reject(new TypeError('The driver broke.')));
        if (kind === 'lose-request') return;
        time.after(kind === 'late-request' ? ms : hop(), () => run(true));
        if (kind === 'late-duplicate') time.after(ms, () => run(false));
      };
      if (kind === 'crash-before') return peer.crash(ms);
      if (kind === 'pause-before') {
        peer.clock.pause(ms, fraction() < 0.5);
        return peer.clock.enter('reply', send);
      }
      send();
    });
  }

  const commit = async (partition: string, batches: readonly Batch[]): Promise<CommitReply> => {
    // The inner storage has written when its call returns; nothing comes between it and the observer.
    const reply = await inner.commit(partition, batches);
    wire.executed(peer, batches, reply);
    return reply;
  };

  return {
    name: inner.name,
    partitions: inner.partitions,
    read: (partition, keys, fields, options) =>
      call(`read ${keys.join(' ')}`, () => inner.read(partition, keys, fields), options),
    commit: (partition, batches, options) =>
      call(
        `commit ${batches.map(({ guard }) => `${guard.key}=${guard.next}`).join(' ')}`,
        () => commit(partition, batches),
        options,
      ),
    range: (partition, index, query, options) =>
      call(`range ${index}`, () => inner.range(partition, index, query), options),
    count: (partition, index, bounds, options) =>
      call(`count ${index}`, () => inner.count(partition, index, bounds), options),
    events: (partition, query, options) => call('events', () => inner.events(partition, query), options),
    close: async () => {},
  };
}
