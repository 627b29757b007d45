/** A connection to Redis for one command: it is there within seconds, or the command says why not. */
import { messageOf, RecoveryError } from '../errors.js';
import { redisStorage } from '../storage/redis.js';
import type { Storage } from '../storage/storage.js';
import { inTime } from './in-time.js';
import type { Secrets } from './secrets.js';

const LONGEST_PAUSE_MS = 1_000;

/** An open storage. */
export interface Opened {
  readonly storage: Storage;
  /** What it is called in messages, without secrets. */
  readonly place: string;
  readonly close: () => void;
}

/** The parts of a URL that may be printed; the others are remembered as secrets. @throws `INVALID_OPTION` */
function readRedisUrl(url: string, secrets: Secrets): string {
  if (url.includes('@')) secrets.add(url);
  const parsed = URL.canParse(url) ? new URL(url) : null;
  if (parsed === null || !/^rediss?:$/.test(parsed.protocol) || parsed.hostname === '') {
    throw new RecoveryError(
      'INVALID_OPTION',
      'The Redis URL must be redis://host[:port][/db], or rediss:// for TLS; a user and password go before the host.',
    );
  }
  // Where a password ends the authority early, its rest would pass for a host, a path or a name.
  if (`${parsed.pathname}${parsed.search}${parsed.hash}`.includes('@')) {
    throw new RecoveryError(
      'INVALID_OPTION',
      'The Redis URL has an "@" behind its host: "/", "?", "#" and "@" of a password must be percent-encoded.',
    );
  }
  for (const text of [parsed.password, parsed.searchParams.get('password') ?? '']) {
    secrets.add(text);
    secrets.add(decoded(text));
  }
  return `${parsed.protocol}//${parsed.host}${parsed.pathname}`;
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** @throws `INVALID_OPTION`, `DRIVER_MISSING`, `STORAGE_UNAVAILABLE` */
export async function openRedis(url: string, secrets: Secrets, timeoutMs: number): Promise<Opened> {
  const place = readRedisUrl(url, secrets);
  const { Redis } = await import('ioredis').catch((cause: unknown) => {
    throw new RecoveryError('DRIVER_MISSING', 'Redis needs ioredis here: npm install ioredis.', { cause });
  });
  let connected = false;
  const client = new Redis(url, {
    lazyConnect: true,
    connectTimeout: timeoutMs,
    // Before the first connection there is nothing to wait for; an outage later may be a short one.
    retryStrategy: (times) => (connected ? Math.min(50 * times, LONGEST_PAUSE_MS) : null),
  });
  let last: unknown = null;
  client.on('error', (error) => (last = error));
  try {
    await inTime(client.connect(), timeoutMs);
    connected = true;
    return { storage: redisStorage(client), place, close: () => client.disconnect() };
  } catch (error) {
    client.disconnect();
    throw new RecoveryError('STORAGE_UNAVAILABLE', `Redis at ${place}: ${reasonOf(last ?? error)}`, {
      retryable: true,
    });
  }
}

function reasonOf(error: unknown): string {
  // Several addresses that were tried in vain come as one error without a message.
  if (error instanceof AggregateError && error.message === '') return error.errors.map(messageOf).join(', ');
  return messageOf(error);
}
