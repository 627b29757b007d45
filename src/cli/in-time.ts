import { RecoveryError } from '../errors.js';

function unavailable(timeoutMs: number): Error {
  return new RecoveryError('STORAGE_UNAVAILABLE', `no answer within ${timeoutMs} ms`, { retryable: true });
}

/** Waits no longer than this for something that may never come. @throws `STORAGE_UNAVAILABLE`, or what `late` gives */
export async function inTime<T>(
  work: Promise<T>,
  timeoutMs: number,
  late: (timeoutMs: number) => Error = unavailable,
): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const over = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(late(timeoutMs)), timeoutMs);
  });
  // Once it is late nobody else hears of its failure.
  work.catch(() => {});
  return Promise.race([work, over]).finally(() => clearTimeout(timer));
}
