/** One process of a trial: a Recovery of its own, the consumer's tasks defined anew, and one call. */
import { isRecoveryError, RecoveryError } from '../../errors.js';
import { recoveryOf } from '../../runtime/create-recovery.js';
import type { Recovery } from '../../runtime/recovery.js';
import type { ProcessTable } from '../../runtime/identity.js';
import type { RecoveryContext } from '../../runtime/context.js';
import type { ItemContext } from '../../runtime/items.js';
import type { RecoveryOptions } from '../../runtime/options.js';
import { runIn } from '../../runtime/task-context.js';
import type { TaskOptions } from '../../runtime/task-options.js';
import type { AnyTaskOptions, TaskFunction, WithRecovery, WrappedTask } from '../../runtime/with-recovery.js';
import type { Storage } from '../../storage/storage.js';
import { ProcessClock, seededRandom } from '../virtual-clock.js';
import type { VirtualTime } from '../virtual-clock.js';
import { connected, FAR_HOP_MS, send } from './connection.js';
import type { Caller, Carry } from './connection.js';
import type { CrashFault, PlannedFault } from './points.js';
import type { Effect, Receiver } from './receiver.js';

/** The world that a consumer's task lives in while it is explored. */
export interface ExploreWorld {
  /**
   * An effect on the outside, at a receiver that honours keys: the first call is recorded, one with an equal value
   * absorbed and counted; one with another value makes the run unsafe, and is rejected here.
   */
  effect(key: string, value?: unknown): Promise<void>;
  /** What the receiver has seen so far, an entry a key. */
  readonly effects: readonly Effect[];
  /**
   * Something outside that answers: it takes a moment there and back, and is a place to break the run at, as an effect is.
   * @example const { status } = await world.call('fetch the order', () => shop.get(orderId));
   */
  call<T>(what: string, answer: () => T | Promise<T>): Promise<T>;
  /**
   * A stand-in for something outside, such as a table: made once a run, and there for all its processes.
   * @example const table = world.outside('orders', () => new Map());
   */
  outside<T>(name: string, make: () => T): T;
  /** Waits in virtual time: instead of a timer. */
  sleep(ms: number): Promise<void>;
  /** Virtual time in ms since 1970: instead of `Date.now()`. */
  now(): number;
}

/** Defines the consumer's tasks on a Recovery, anew for each process, and returns the one to call. */
export type Define<I> = (recovery: Recovery, world: ExploreWorld) => (input: I) => Promise<unknown>;

/** How a call ended. */
export type CallEnd =
  | { readonly ended: 'returned'; readonly value: unknown }
  | { readonly ended: 'threw'; readonly error: unknown };

/** Options of the Recovery that a trial's processes run on. */
export type ExploreRecoveryOptions = Omit<
  RecoveryOptions,
  'storage' | 'clock' | 'random' | 'slot' | 'namespace' | 'codec'
>;

/** What an incarnation needs of its trial. */
export interface Surroundings<I> {
  readonly time: VirtualTime;
  readonly storage: Storage;
  readonly receiver: Receiver;
  readonly define: Define<I>;
  readonly input: I;
  readonly options: ExploreRecoveryOptions;
  readonly fraction: () => number;
  /** Tells the ids that are drawn in one run from those of another. */
  readonly salt: string;
  /** Stand-ins for what is outside. */
  readonly outside: Map<string, unknown>;
  readonly carry: Carry;
  /** Whether a call waits while another process has the task; else it is rejected, as any call is. */
  readonly waits: boolean;
  tell(who: string, what: string): void;
  began(taskId: string): void;
  /** The task that was called first; null before there is one. */
  rootId(): string | null;
  progressed(): void;
}

/** Nothing can be proven: death shows by the lease alone. */
const NO_PROOF: ProcessTable = { readText: () => null, readLink: () => null, signal0: () => 'exists' };

/** Less virtual time than a run may go without progress. */
const NAP_MS = 300_000;
const POLL_MS = 1_000;

/** Calls on a context that a dead process must never hear of again. */
const WAITED_FOR: ReadonlySet<string | symbol> = new Set([
  'updateProgress',
  'createCheckpoint',
  'step',
  'map',
]);

export class Incarnation<I> implements Caller {
  readonly clock: ProcessClock;
  readonly label: string;
  readonly recovery: Recovery;
  /** The places of this incarnation, in words. */
  readonly points: string[] = [];
  /** Those that are durable writes. */
  readonly writes: string[] = [];
  /** Set once it has crashed or frozen. */
  fallen: CrashFault | null = null;
  /** Set once its call has ended. */
  end: CallEnd | null = null;
  readonly #around: Surroundings<I>;
  readonly #fault: PlannedFault | null;

  constructor(number: number, around: Surroundings<I>, fault: PlannedFault | null) {
    this.label = `#${number}`;
    this.#around = around;
    this.#fault = fault;
    this.clock = new ProcessClock(around.time);
    this.recovery = recoveryOf(
      {
        maxCrashes: 50,
        ...around.options,
        storage: connected(around.storage, around.carry, this),
        clock: this.clock,
        random: seededRandom(around.salt + this.label, around.fraction),
      },
      NO_PROOF,
    );
  }

  /** Begins it. `again`: how it comes by the result after an earlier one has fallen. */
  start(again: (() => Promise<CallEnd | null>) | null): void {
    void this.#run(again).then((end) => {
      if (this.clock.state === 'dead') return;
      this.end = end;
      const error = end.ended === 'threw' ? end.error : null;
      this.#around.tell(
        this.label,
        error === null ? 'the call returned' : `the call was rejected: ${told(error)}`,
      );
    });
  }

  point(words: string, isWrite: boolean): CrashFault | null {
    this.points.push(words);
    if (isWrite) this.writes.push(words);
    this.#around.progressed();
    const here = this.#fault !== null && this.#fault.at === this.points.length && this.fallen === null;
    this.#around.tell(this.label, `${this.points.length}. ${words}`);
    return here ? (this.#fault?.fault ?? null) : null;
  }

  fall(fault: CrashFault): void {
    this.fallen = fault;
    const when = fault.endsWith('after') ? 'after this, before the answer' : 'before this';
    if (fault.startsWith('crash')) {
      this.clock.crash();
      this.#around.tell(this.label, `CRASH ${when}`);
    } else {
      this.clock.freeze();
      this.#around.tell(this.label, `FROZEN ${when}`);
    }
  }

  began(taskId: string): void {
    this.#around.began(taskId);
  }

  answered(words: string, refused: string | null): void {
    if (refused !== null) this.#around.tell(this.label, `refused (${refused}): ${words}`);
  }

  /** Wakes up as a zombie, with what arrived first. */
  wake(): void {
    this.#around.tell(this.label, 'WAKES UP');
    this.clock.thaw(false);
  }

  async #run(again: (() => Promise<CallEnd | null>) | null): Promise<CallEnd> {
    try {
      const call = this.#around.define(this.#guarded(), this.#world());
      if (typeof call !== 'function') throw notATask(call);
      if (again !== null) {
        await this.recovery.runStartupRecovery();
        const known = await again();
        if (known !== null) return known;
      }
      return { ended: 'returned', value: await this.#called(call) };
    } catch (error) {
      return { ended: 'threw', error };
    }
  }

  /** Calls as soon as nobody else has it. */
  async #called(call: (input: I) => Promise<unknown>): Promise<unknown> {
    if (!this.#around.waits) return call(structuredClone(this.#around.input));
    for (;;) {
      const taskId = this.#around.rootId();
      const task = taskId === null ? null : await this.recovery.tasks.get(taskId);
      if (task?.status === 'processing' && task.owner !== null) {
        await this.clock.sleep(Math.max(0, (task.leaseUntilMs ?? 0) - this.clock.wallMs()) + 1);
      }
      try {
        return await call(structuredClone(this.#around.input));
      } catch (error) {
        if (this.fallen !== null || !isRecoveryError(error, 'TASK_RUNNING_ELSEWHERE')) throw error;
        await this.clock.sleep(POLL_MS);
      }
    }
  }

  #world(): ExploreWorld {
    const { carry, receiver, outside, progressed } = this.#around;
    const { clock } = this;
    return {
      effect: async (key, value) => {
        const what = `effect ${receiver.wordsOf(key)}`;
        const copy = structuredClone(value);
        const kept = await send(carry, this, what, async () => receiver.receive(key, copy), FAR_HOP_MS);
        if (!kept) throw new Error(`${what} came with another value before.`);
      },
      get effects() {
        return receiver.effects;
      },
      call: (what, answer) =>
        send(carry, this, `call ${JSON.stringify(what)}`, async () => answer(), FAR_HOP_MS),
      outside: <T>(name: string, make: () => T): T => {
        if (!outside.has(name)) outside.set(name, make());
        return outside.get(name) as T;
      },
      sleep: async (ms) => {
        // However long, and however slow the machine: who sleeps awaits nothing that is outside.
        for (let sleptMs = 0; sleptMs === 0 || sleptMs < ms; sleptMs += NAP_MS) {
          progressed();
          await clock.sleep(Math.min(ms - sleptMs, NAP_MS));
        }
      },
      now: () => clock.wallMs(),
    };
  }

  /** The Recovery as the consumer gets it: what a dead process's functions await never comes. */
  #guarded(): Recovery {
    const withRecovery: WithRecovery = <A extends unknown[], R, D>(
      fn: TaskFunction<A, R, D>,
      options: AnyTaskOptions<A, R>,
    ): WrappedTask<A, R> => {
      const guarded: TaskFunction<A, R, D> = (ctx, ...args) => {
        const own = this.#guardedContext(ctx);
        // currentTask() is this one, too.
        return runIn(own as RecoveryContext, () => fn(own, ...args));
      };
      return this.recovery.withRecovery(guarded, options as TaskOptions<A, R>);
    };
    return { ...this.recovery, withRecovery };
  }

  #guardedContext<D>(ctx: RecoveryContext<D>): RecoveryContext<D> {
    const { receiver } = this.#around;
    const { taskId, name: taskName } = ctx;
    const note = (key: string, what: string): void => receiver.named(key, { what, taskId, taskName });
    const idempotencyKey = (name: string): string => {
      const key = ctx.idempotencyKey(name);
      note(key, `key("${name}")`);
      return key;
    };
    return new Proxy(ctx, {
      get: (target, name) => {
        const value: unknown = Reflect.get(target, name, target);
        if (name === 'idempotencyKey') return idempotencyKey;
        if (!WAITED_FOR.has(name) || typeof value !== 'function') return value;
        return (...args: unknown[]): unknown => {
          if (this.clock.state === 'dead') return new Promise(() => {});
          if (name === 'map') args[2] = namedItems(args[2], `of "${String(args[0])}"`, note);
          return Reflect.apply(value, target, args);
        };
      },
    });
  }
}

/** An item's function, its idempotency keys noted. */
function namedItems(fn: unknown, about: string, note: (key: string, what: string) => void): unknown {
  if (typeof fn !== 'function') return fn;
  return (item: unknown, context: ItemContext): unknown => {
    note(context.idempotencyKey, `key(item "${context.key}") ${about}`);
    return Reflect.apply(fn, undefined, [item, context]);
  };
}

function notATask(value: unknown): RecoveryError {
  const what = value instanceof Promise ? 'a promise' : typeof value;
  return new RecoveryError('INVALID_OPTION', `"define" must return the task to call, not ${what}.`);
}

/** An error in a line. */
export function told(error: unknown): string {
  if (isRecoveryError(error)) return `${error.code}: ${error.message}`;
  return error instanceof Error ? `${error.name}: ${error.message}` : String(error);
}
