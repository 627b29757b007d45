/** The tasks that this process is running, starting or claiming. "Own" means: in here. */
import { deferred } from './deferred.js';

/** One of them. */
export interface Flight {
  readonly taskId: string;
  /** The task's name. */
  readonly name: string;
  /** Whether a start or a claim won; false: look again. Rejects with what made it fail. */
  readonly ready: Promise<boolean>;
  /** What the task comes to. Never an unhandled rejection. */
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

function ignore(): void {}

export class Flights {
  readonly #flights = new Map<string, Flight>();
  readonly #abandon = new WeakMap<Flight, (error: unknown) => void>();
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
    const ready = deferred<boolean>();
    const result = deferred<unknown>();
    ready.promise.catch(ignore);
    result.promise.catch(ignore);
    const flight: Flight = { taskId, name, ready: ready.promise, result: result.promise, inputText };
    this.#abandon.set(flight, result.reject);
    const close = (): void => this.#close(flight);
    this.#flights.set(taskId, flight);
    return {
      flight,
      won(outcome) {
        outcome.then(result.resolve, result.reject);
        outcome.then(close, close);
        ready.resolve(true);
      },
      lost() {
        close();
        ready.resolve(false);
      },
      failed(error) {
        close();
        ready.reject(error);
      },
    };
  }

  /** Rejects what waits for one task whose function was fenced off, and lets go of it. */
  abandon(taskId: string, error: unknown): void {
    const flight = this.#flights.get(taskId);
    if (flight === undefined) return;
    this.#abandon.get(flight)?.(error);
    this.#close(flight);
  }

  /** Rejects what still waits: a function that is deaf to its signal must not keep its callers for ever. */
  abandonAll(error: unknown): void {
    for (const flight of this.#flights.values()) this.#abandon.get(flight)?.(error);
  }

  /** Resolves once nothing is in flight. */
  landed(): Promise<void> {
    if (this.#flights.size === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#waiters.push(resolve);
    });
  }

  #close(flight: Flight): void {
    if (this.#flights.get(flight.taskId) === flight) this.#flights.delete(flight.taskId);
    if (this.#flights.size > 0) return;
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const resolve of waiters) resolve();
  }
}
