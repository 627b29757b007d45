/** Worker processes in miniature: each has its own Recovery, its own way to die, and shares storage and clock. */
import { afterEach, beforeEach, expect } from 'vitest';
import type { RecoveryEvent } from '../../src/domain/events.js';
import { RecoveryError } from '../../src/errors.js';
import { recoveryOf } from '../../src/runtime/create-recovery.js';
import type { Recovery } from '../../src/runtime/recovery.js';
import { deferred } from '../../src/runtime/deferred.js';
import type { ProcessTable } from '../../src/runtime/identity.js';
import type { RecoveryOptions } from '../../src/runtime/options.js';
import { memoryStorage } from '../../src/storage/memory.js';
import type { Batch, Storage } from '../../src/storage/storage.js';
import { ManualClock, settled } from '../support/manual-clock.js';

export const LEASE_MS = 3_000;
export const SWEEP_MS = 60_000;

/** Fails the test in which a rejection was left unhandled. */
export function trapUnhandledRejections(): void {
  const unhandled: unknown[] = [];
  const trap = (reason: unknown): void => void unhandled.push(reason);
  beforeEach(() => void process.on('unhandledRejection', trap));
  afterEach(async () => {
    await settled();
    process.off('unhandledRejection', trap);
    expect(unhandled.splice(0)).toEqual([]);
  });
}

/** One storage call on its way. */
export interface Call {
  readonly kind: 'read' | 'commit' | 'range' | 'count' | 'events' | 'inspect';
  readonly keys: readonly string[];
  readonly batches: readonly Batch[];
}

interface Held {
  readonly reached: Promise<void>;
  readonly release: () => void;
}

/** The storage as one process sees it. */
class Line {
  readonly commits: Batch[] = [];
  dead = false;
  /** What every call fails with; null while the storage is there. */
  down: RecoveryError | null = null;
  readonly storage: Storage;
  readonly #gates: { wants: (call: Call) => boolean; reach: () => void; opened: Promise<void> }[] = [];

  constructor(inner: Storage) {
    this.storage = {
      name: inner.name,
      partitions: inner.partitions,
      read: (partition, keys, fields, options) =>
        this.#pass({ kind: 'read', keys, batches: [] }, () => inner.read(partition, keys, fields, options)),
      commit: (partition, batches, options) =>
        this.#pass({ kind: 'commit', keys: batches.map(({ guard }) => guard.key), batches }, () => {
          this.commits.push(...batches);
          return inner.commit(partition, batches, options);
        }),
      range: (partition, index, query, options) =>
        this.#pass({ kind: 'range', keys: [index], batches: [] }, () =>
          inner.range(partition, index, query, options),
        ),
      count: (partition, index, bounds, options) =>
        this.#pass({ kind: 'count', keys: [index], batches: [] }, () =>
          inner.count(partition, index, bounds, options),
        ),
      events: (partition, query, options) =>
        this.#pass({ kind: 'events', keys: [], batches: [] }, () => inner.events(partition, query, options)),
      close: () => inner.close(),
    };
  }

  /** Stops the next call of this kind until it is released; then it goes on as if it had been slow. */
  hold(wants: (call: Call) => boolean): Held {
    const [reached, opened] = [deferred<void>(), deferred<void>()];
    this.#gates.push({ wants, reach: () => reached.resolve(), opened: opened.promise });
    return { reached: reached.promise, release: () => opened.resolve() };
  }

  async #pass<T>(call: Call, run: () => Promise<T>): Promise<T> {
    const at = this.#gates.findIndex(({ wants }) => wants(call));
    const [gate] = at < 0 ? [] : this.#gates.splice(at, 1);
    gate?.reach();
    await gate?.opened;
    if (this.down !== null) throw this.down;
    const reply = this.dead ? deferred<T>().promise : await run();
    return this.dead ? deferred<T>().promise : reply;
  }
}

export const away = (): RecoveryError =>
  new RecoveryError('STORAGE_UNAVAILABLE', 'The storage is away.', { retryable: true });

/** A process table in which this process was born at `born`. */
function tableOf(born: string): ProcessTable {
  const stat = `${process.pid} (odd) name) S ${'0 '.repeat(18)}${born} 0`;
  return {
    readText: (path) => (path.endsWith('/stat') ? stat : 'boot'),
    readLink: () => 'namespace',
    signal0: () => 'exists',
  };
}

export interface Proc {
  readonly recovery: Recovery;
  readonly line: Line;
  /** What its listeners heard. */
  readonly heard: RecoveryEvent[];
  /** From now on nothing of it settles, and none of its timers fires. */
  readonly crash: () => void;
}

export type ProcOptions = Partial<Omit<RecoveryOptions, 'storage' | 'clock'>> & {
  /** Processes born at different times know each other for dead; all are born at the same time by default. */
  readonly born?: string;
  readonly over?: Storage;
};

let nonces = 0;

export class World {
  readonly clock: ManualClock = new ManualClock();
  readonly memory: Storage;
  readonly #procs: Proc[] = [];

  constructor(partitions = 1) {
    this.memory = memoryStorage({ clock: this.clock, partitions });
  }

  proc({ born = '1', over = this.memory, ...options }: ProcOptions = {}): Proc {
    const line = new Line(over);
    const { clock } = this;
    const recovery = recoveryOf(
      {
        leaseMs: LEASE_MS,
        sweepIntervalMs: SWEEP_MS,
        random: { nonce: () => `nonce${(nonces += 1)}`, fraction: () => 0.5 },
        ...options,
        storage: line.storage,
        clock: {
          wallMs: () => clock.wallMs(),
          monotonicMs: () => clock.monotonicMs(),
          schedule: (delayMs, fn) => clock.schedule(delayMs, () => (line.dead ? undefined : fn())),
          defer: (fn) => clock.defer(fn),
        },
      },
      tableOf(born),
    );
    const heard: RecoveryEvent[] = [];
    recovery.on('*', (event) => heard.push(event));
    const proc = { recovery, line, heard, crash: () => void (line.dead = true) };
    this.#procs.push(proc);
    return proc;
  }

  /** Waits for something while time passes in small steps, a minute at most. */
  async until<T>(work: Promise<T>): Promise<T> {
    const state = { done: false };
    const end = (): void => void (state.done = true);
    work.then(end, end);
    await settled();
    for (let tries = 0; !state.done && tries < 600; tries += 1) await this.clock.advance(100);
    if (!state.done) throw new Error('it did not end within a minute of virtual time');
    return work;
  }

  async end(): Promise<void> {
    for (const { recovery, line } of this.#procs) {
      line.down = null;
      if (!line.dead) await this.until(recovery.shutdown({ timeoutMs: 1_000 }));
    }
  }
}

/** Something a test can wait at. */
export interface Gate {
  readonly passed: Promise<void>;
  readonly open: () => void;
}

export function gate(): Gate {
  const opened = deferred<void>();
  return { passed: opened.promise, open: () => opened.resolve() };
}

/** What a promise rejects with; fails when it resolves. */
export async function rejectionOf(work: Promise<unknown>): Promise<unknown> {
  let value: unknown;
  try {
    value = await work;
  } catch (error) {
    return error;
  }
  throw new Error(`it resolved with ${JSON.stringify(value)}`);
}

/** A task function that never ends by itself, unless its signal aborts. */
export function untilAborted(ctx: { readonly signal: AbortSignal }): Promise<never> {
  return new Promise((_resolve, reject) => {
    const stop = (): void => reject(ctx.signal.reason);
    if (ctx.signal.aborted) stop();
    else ctx.signal.addEventListener('abort', stop);
  });
}

export const namesOf = (events: readonly RecoveryEvent[]): string[] => events.map(({ event }) => event);

export const alertsOf = (events: readonly RecoveryEvent[]): (string | undefined)[] =>
  events.filter(({ event }) => event === 'alert').map(({ details }) => details['kind']);
