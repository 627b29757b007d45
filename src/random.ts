import { randomBytes } from 'node:crypto';

/** The library's one source of chance; `rekindle/testing` may put a seeded one in its place. */
export interface RandomSource {
  /** A text that no other call returns: of so many random bytes, by default 16, and URL-safe. */
  nonce(bytes?: number): string;
  /** A number from 0 up to, not including, 1. For jitter. */
  fraction(): number;
}

const NONCE_BYTES = 16;
const POOL_BYTES = 2_048;

/** Nonces from `crypto.randomBytes`, drawn a pool at a time: a draw each costs more than a commit's encoding. */
export function systemRandom(): RandomSource {
  let pool = Buffer.alloc(0);
  let offset = 0;
  return {
    nonce(bytes = NONCE_BYTES) {
      if (offset + bytes > pool.length) {
        pool = randomBytes(Math.max(POOL_BYTES, bytes));
        offset = 0;
      }
      offset += bytes;
      return pool.toString('base64url', offset - bytes, offset);
    },
    fraction: () => Math.random(),
  };
}
