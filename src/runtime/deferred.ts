import type { Clock } from '../clock.js';

/** A promise and its two ends. (`Promise.withResolvers` exists from Node 22.) */
export interface Deferred<T> {
  readonly promise: Promise<T>;
  readonly resolve: (value: T | PromiseLike<T>) => void;
  readonly reject: (error: unknown) => void;
}

export function deferred<T>(): Deferred<T> {
  let resolve: Deferred<T>['resolve'] = () => {};
  let reject: Deferred<T>['reject'] = () => {};
  const promise = new Promise<T>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  return { promise, resolve, reject };
}

/** The outcome of `work`, or a rejection with `late()` once `timeoutMs` have passed. `work` goes on all the same. */
export async function within<T>(
  clock: Clock,
  timeoutMs: number,
  work: Promise<T>,
  late: () => Error,
): Promise<T> {
  const timeout = deferred<never>();
  const cancel = clock.schedule(timeoutMs, () => timeout.reject(late()), true);
  try {
    return await Promise.race([work, timeout.promise]);
  } finally {
    cancel();
  }
}

/** A function that does its work at most once. */
export function once(fn: () => unknown): () => void {
  let done = false;
  return () => {
    if (done) return;
    done = true;
    fn();
  };
}
