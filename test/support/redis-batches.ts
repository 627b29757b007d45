/** Connections and batches for the tests of the Redis storage. */
import { randomBytes } from 'node:crypto';
import { Redis } from 'ioredis';
import type { Cluster, RedisOptions } from 'ioredis';
import type { RedisClient } from '../../src/storage/redis.js';
import type { Batch, Outcome, Storage } from '../../src/storage/storage.js';

/** The partition that the tests write to. */
export const PART = 'rekindle:0';

/** A batch whose token is known. */
export type TokenBatch = Batch & { readonly guard: { readonly next: string } };

const opened: (Redis | Cluster)[] = [];
let tokens = 0;

/** Connects, to be ended by {@link disconnectAll}. */
export function connect(options: RedisOptions): Redis {
  return opens(new Redis(options));
}

/** Remembers a client for {@link disconnectAll}. */
export function opens<T extends Redis | Cluster>(client: T): T {
  opened.push(client);
  return client;
}

/** Ends all connections of this file. */
export function disconnectAll(): void {
  for (const client of opened.splice(0)) client.disconnect();
}

const token = (): string => `1.${randomBytes(4).toString('hex')}.${(tokens += 1)}`;

/** A batch that makes a record. */
export function create(key: string, more: Partial<Batch> = {}): TokenBatch {
  return { ...more, guard: { key, expect: null, next: token() }, notAfter: Date.now() + 60_000 };
}

/** A batch that changes a record. */
export function change(key: string, expect: string, more: Partial<Batch> = {}): TokenBatch {
  return { ...more, guard: { key, expect, next: token() } };
}

/** Teaches the server all scripts that commit: faults are to hit a call's own request. Nothing is written. */
export async function warm(on: Storage, partition: string = PART): Promise<void> {
  const guard = { key: 'none', expect: 'a', next: 'b' };
  for (const kind of [{}, { index: [] }, { observe: [] }]) await on.commit(partition, [{ guard, ...kind }]);
}

/** Commits one batch. */
export async function one(on: Storage, batch: Batch): Promise<Outcome> {
  const { outcomes } = await on.commit(PART, [batch]);
  const [outcome] = outcomes;
  if (outcome === undefined || outcomes.length !== 1) throw new Error('Not one outcome.');
  return outcome;
}

/** The fields of a record. */
export async function fieldsOf(on: Storage, key: string): Promise<Record<string, string> | null> {
  const { records } = await on.read(PART, [key]);
  return records[0] ? Object.fromEntries(records[0]) : null;
}

/** The client, and `note` is told the hash of each script that is run. */
export function watchScripts(client: Redis, note: (sha: string) => void): RedisClient {
  return {
    evalsha: (sha, count, args) => {
      note(sha);
      return client.evalsha(sha, count, args);
    },
    eval: (text, count, args) => client.eval(text, count, args),
    pipeline: () => client.pipeline(),
    info: (section) => client.info(section),
    config: (get, name) => client.config(get, name),
    on: (event, listener) => client.on(event, listener),
    off: (event, listener) => client.off(event, listener),
  };
}
