import { RecoveryError } from '../errors.js';

/** Waits no longer than this for something that may never come. @throws `STORAGE_UNAVAILABLE` */
export async function inTime<T>(work: Promise<T>, timeoutMs: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(
        new RecoveryError('STORAGE_UNAVAILABLE', `no answer within ${timeoutMs} ms`, { retryable: true }),
      );
    }, timeoutMs);
  });
  // Once it is late nobody else hears of its failure.
  work.catch(() => {});
  return Promise.race([work, late]).finally(() => clearTimeout(timer));
}
