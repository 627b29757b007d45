/** Promises that need not be waited for: a lost lease or a shutdown must not end a process that did not. */

function ignore(): void {}

/** A rejection that nobody has to handle. */
export function handledRejection(reason: unknown): Promise<never> {
  const rejected: Promise<never> = Promise.reject(reason);
  rejected.catch(ignore);
  return rejected;
}

/**
 * The promise of one value. Unlike one that had `catch` called on it, it costs no second promise unless it is rejected:
 * with `AsyncLocalStorage` on Node 20 that one is a thirtieth of what a checkpoint takes of the processor.
 */
export class HandledPromise<T> {
  readonly promise: Promise<T>;
  #resolve: (value: T) => void = ignore;
  #reject: (reason: unknown) => void = ignore;

  constructor() {
    this.promise = new Promise<T>((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
  }

  resolve(value: T): void {
    this.#resolve(value);
  }

  reject(reason: unknown): void {
    this.promise.catch(ignore);
    this.#reject(reason);
  }
}

/** What `call` returns, which is handled where it comes from; what it throws becomes a handled rejection. */
export function promised<T>(call: () => Promise<T>): Promise<T> {
  try {
    return call();
  } catch (error) {
    return handledRejection(error);
  }
}

/** What `call` returns or throws, as a promise that need not be waited for. */
export function handled<T>(call: () => Promise<T>): Promise<T> {
  const promise = promised(call);
  promise.catch(ignore);
  return promise;
}
