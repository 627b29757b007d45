/** The tasks that this process is running, starting or claiming. "Own" means: in here. */
import { isRecoveryError } from '../errors.js';
import { deferred } from './deferred.js';
import type { Deferred } from './deferred.js';

/** One of them. */
export interface Flight {
  readonly taskId: string;
  /** The task's name. */
  readonly name: string;
  /** Whether a start or a claim won; false: look again. Rejects with what made it fail. */
  readonly ready: Promise<boolean>;
  /** What the task comes to, once it is won. Never an unhandled rejection. */
  readonly result: Promise<unknown>;
  /** JSON text of the arguments, once known. */
  inputText: string | null;
}

/** A flight from the side of whoever opened it. */
export interface OwnFlight {
  readonly flight: Flight;
  /** It is ours and running. */
  won(result: Promise<unknown>): void;
  /** It is somebody else's, or there is nothing to run. */
  lost(): void;
  /** The start failed; whoever waits hears the same. */
  failed(error: unknown): void;
}

/** Whether a start or a claim won. A job that finds no task under the id keeps no call from making one: that looks again. */
export function isReady({ ready }: Flight, creates: boolean): Promise<boolean> {
  if (!creates) return ready;
  return ready.catch((error: unknown) => {
    if (isRecoveryError(error, 'TASK_NOT_FOUND')) return false;
    throw error;
  });
}

function ignore(): void {}

const WON = Promise.resolve(true);
const LOST = Promise.resolve(false);
const NOT_YET = Promise.resolve();

/** Thousands are in the air at once, and few are joined: what a joiner waits for is made when one comes. */
class Own implements Flight, OwnFlight {
  readonly taskId: string;
  readonly name: string;
  inputText: string | null;
  result: Promise<unknown> = NOT_YET;
  readonly #close: (own: Own) => void;
  #start: Deferred<boolean> | null = null;
  #started: Promise<boolean> | null = null;

  constructor(taskId: string, name: string, inputText: string | null, close: (own: Own) => void) {
    this.taskId = taskId;
    this.name = name;
    this.inputText = inputText;
    this.#close = close;
  }

  get flight(): Flight {
    return this;
  }

  get ready(): Promise<boolean> {
    if (this.#started !== null) return this.#started;
    if (this.#start === null) {
      this.#start = deferred<boolean>();
      this.#start.promise.catch(ignore);
    }
    return this.#start.promise;
  }

  won(result: Promise<unknown>): void {
    this.result = result;
    const close = (): void => this.#close(this);
    result.then(close, close);
    this.#settle(WON);
  }

  lost(): void {
    this.#close(this);
    this.#settle(LOST);
  }

  failed(reason: unknown): void {
    this.#close(this);
    const failure = Promise.reject<boolean>(reason);
    failure.catch(ignore);
    this.#settle(failure);
  }

  #settle(started: Promise<boolean>): void {
    this.#started = started;
    this.#start?.resolve(started);
    this.#start = null;
  }
}

export class Flights {
  readonly #flights = new Map<string, Flight>();
  #waiters: (() => void)[] = [];

  get size(): number {
    return this.#flights.size;
  }

  get(taskId: string): Flight | undefined {
    return this.#flights.get(taskId);
  }

  has(taskId: string): boolean {
    return this.#flights.has(taskId);
  }

  /** Reserves an id. The caller has just seen that it is free, in the same turn. */
  open(taskId: string, name: string, inputText: string | null): OwnFlight {
    const own = new Own(taskId, name, inputText, this.#close);
    this.#flights.set(taskId, own);
    return own;
  }

  /** Resolves once nothing is in flight. */
  landed(): Promise<void> {
    if (this.#flights.size === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#waiters.push(resolve);
    });
  }

  readonly #close = (flight: Flight): void => {
    if (this.#flights.get(flight.taskId) === flight) this.#flights.delete(flight.taskId);
    if (this.#flights.size > 0) return;
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const resolve of waiters) resolve();
  };
}
