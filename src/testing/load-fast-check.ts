/** fast-check is an optional peer: it is loaded only where it is needed. */
import { RecoveryError } from '../errors.js';

/** @throws `DRIVER_MISSING` */
export async function loadFastCheck(what: string): Promise<typeof import('fast-check')> {
  try {
    return await import('fast-check');
  } catch (cause) {
    throw new RecoveryError(
      'DRIVER_MISSING',
      `${what} needs fast-check: npm install --save-dev fast-check.`,
      {
        cause,
      },
    );
  }
}
