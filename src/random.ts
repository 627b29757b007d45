import { randomBytes } from 'node:crypto';

/** The library's one source of chance; `rekindle/testing` may put a seeded one in its place. */
export interface RandomSource {
  /** A text that no other call returns: 128 bits, URL-safe. */
  nonce(): string;
  /** A number from 0 up to, not including, 1. For jitter. */
  fraction(): number;
}

const NONCE_BYTES = 16;
const POOL_NONCES = 128;

/** Nonces from `crypto.randomBytes`, drawn a pool at a time: a draw each costs more than a commit's encoding. */
export function systemRandom(): RandomSource {
  let pool = Buffer.alloc(0);
  let offset = 0;
  return {
    nonce() {
      if (offset >= pool.length) {
        pool = randomBytes(NONCE_BYTES * POOL_NONCES);
        offset = 0;
      }
      offset += NONCE_BYTES;
      return pool.toString('base64url', offset - NONCE_BYTES, offset);
    },
    fraction: () => Math.random(),
  };
}
