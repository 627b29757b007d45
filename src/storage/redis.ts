/**
 * The Redis storage: standalone, Sentinel or Cluster, through an ioredis client that the caller owns.
 *
 * Each call is one Lua script on one partition's keys, so that it is atomic, sees one instant of the server's
 * clock and always runs on a master. ioredis may send a call twice; the guard's token makes that harmless, and
 * any options of the client are fine.
 */
import { systemClock } from '../clock.js';
import { RecoveryError } from '../errors.js';
import { log } from '../log.js';
import { checkBatch, checkKnown } from './check.js';
import { cheapestCall, generalCall } from './redis/call.js';
import type { CommitCall } from './redis/call.js';
import { runScript, runScriptAndWait, withDeadline } from './redis/client.js';
import type { RedisArgument, RedisClient, RedisNode, RedisPipeline } from './redis/client.js';
import { OutcomeReader, list, toEntries, toEventPage, toPart, toRecord, whole } from './redis/decode.js';
import { hasTooLargeEvent } from './redis/encode.js';
import { closedError } from './redis/errors.js';
import { inspectRedis } from './redis/inspect.js';
import { eventsKey, indexKey, recordKey } from './redis/keys.js';
import { pack } from './redis/pack.js';
import { NOT_PLAIN } from './redis/plain-script.js';
import { CANNOT_UNPACK } from './redis/script.js';
import type { Script } from './redis/script.js';
import { COUNT, EVENTS, RANGE, READ } from './redis/scripts.js';
import { DEFAULT_CALL_DEADLINE_MS, DEFAULT_MAX_EVENTS } from './storage.js';
import type {
  Batch,
  Bound,
  CallOptions,
  CommitReply,
  Outcome,
  RangeQuery,
  Refusal,
  Storage,
  StoredRecord,
} from './storage.js';

export type { RedisArgument, RedisClient, RedisNode, RedisPipeline };

/** Options of {@link redisStorage}. */
export interface RedisStorageOptions {
  /**
   * Over how many partitions a namespace is spread. Default 1, and 16 for a Cluster client, where partitions
   * are on different nodes. Fixed for a namespace once written.
   */
  readonly partitions?: number;
  /**
   * How many replicas must have a commit before it counts. Default 0. With fewer in time a commit throws
   * `STORAGE_UNAVAILABLE`. Redis answers nothing else on the client's connection while it waits: give the
   * storage a client of its own then.
   */
  readonly waitReplicas?: number;
  /** By when a call ends that names no deadline itself, in ms. Default 5,000. */
  readonly callDeadlineMs?: number;
  /** About how many events a partition keeps at least. Default 10,000. */
  readonly maxEvents?: number;
}

interface Settings {
  readonly partitions: number;
  readonly waitReplicas: number;
  readonly callDeadlineMs: number;
  readonly maxEvents: number;
}

const CLUSTER_PARTITIONS = 16;
/** Redis keeps counts as 64-bit numbers, Lua as doubles; no page is larger than this anyway. */
const LARGEST_LIMIT = 1_000_000_000;
/** Fewer arguments than this are not worth packing. */
const PACKED_FROM = 24;
const STREAM_ID = /^\d{1,19}-\d{1,19}$/;

function atLeast(name: string, value: number, least: number): number {
  if (Number.isSafeInteger(value) && value >= least) return value;
  const message = `redisStorage: ${name} must be a whole number of at least ${least}, not ${String(value)}.`;
  throw new RecoveryError('INVALID_OPTION', message, { details: { option: name } });
}

function settingsOf(client: RedisClient, options: RedisStorageOptions): Settings {
  const fallback = client.isCluster === true ? CLUSTER_PARTITIONS : 1;
  return {
    partitions: atLeast('partitions', options.partitions ?? fallback, 1),
    waitReplicas: atLeast('waitReplicas', options.waitReplicas ?? 0, 0),
    callDeadlineMs: atLeast('callDeadlineMs', options.callDeadlineMs ?? DEFAULT_CALL_DEADLINE_MS, 1),
    maxEvents: atLeast('maxEvents', options.maxEvents ?? DEFAULT_MAX_EVENTS, 1),
  };
}

/** Scores keep their exact value as text; `n` marks ms from the storage's now. */
function boundText(bound: Bound): string {
  if (typeof bound !== 'number') return `n${bound.fromNow}`;
  if (bound === Infinity) return '+inf';
  return bound === -Infinity ? '-inf' : String(bound);
}

function limitText(limit: number): string {
  return String(Math.max(0, Math.min(Math.floor(limit), LARGEST_LIMIT)));
}

function refusalOf(batch: Batch): Refusal | null {
  const refusal = checkBatch(batch);
  if (refusal !== null || !hasTooLargeEvent(batch)) return refusal;
  return { status: 'refused', code: 'TOO_LARGE', message: 'append: an event has too many fields.' };
}

function readOutcomes(
  reply: unknown,
  batches: readonly Batch[],
  refused: readonly (Refusal | null)[],
): CommitReply {
  const reader = new OutcomeReader(reply);
  const outcomes: Outcome[] = batches.map((batch, at) => refused[at] ?? reader.next(batch));
  return { nowMs: reader.nowMs, outcomes };
}

/** Something was written now, or by an earlier sending of the same batch. */
function wroteSomething(outcomes: readonly Outcome[]): boolean {
  return outcomes.some(({ status }) => status === 'applied' || status === 'duplicate');
}

class RedisCalls {
  readonly #client: RedisClient;
  readonly #settings: Settings;
  /** False once the server has turned out to be a stand-in that lacks MessagePack. */
  #packs = true;
  #closed = false;
  #lastError: Error | null = null;

  constructor(client: RedisClient, settings: Settings) {
    this.#client = client;
    this.#settings = settings;
    client.on('error', this.onError);
  }

  close(): void {
    this.#closed = true;
    this.#client.off('error', this.onError);
  }

  /** ioredis prints errors that nobody listens to; and the last one may tell why a call had no answer. */
  readonly onError = (error: Error): void => {
    this.#lastError = error;
  };

  readonly lastError = (): Error | null => this.#lastError;

  /** Runs `call` under the deadline, unless the storage is closed. */
  within<T>(what: string, options: CallOptions | undefined, call: (ms: number) => Promise<T>): Promise<T> {
    if (this.#closed) return Promise.reject(closedError());
    const deadlineMs = options?.deadlineMs ?? this.#settings.callDeadlineMs;
    return withDeadline(what, deadlineMs, this.lastError, () => call(deadlineMs));
  }

  /** Runs a script on some keys and lets `decode` read the reply. */
  script<T>(
    what: string,
    options: CallOptions | undefined,
    script: Script,
    keys: readonly string[],
    args: readonly string[],
    decode: (reply: unknown) => T,
  ): Promise<T> {
    return this.within(what, options, () =>
      runScript(this.#client, script, keys.length, [...keys, ...args]).then(decode),
    );
  }

  commit(partition: string, batches: readonly Batch[], options?: CallOptions): Promise<CommitReply> {
    const refused = batches.map(refusalOf);
    const sent = refused.every((one) => one === null)
      ? batches
      : batches.filter((_, at) => refused[at] === null);
    // Without a batch there is no key, and a Cluster would ask any node for the time.
    if (sent.length === 0) {
      const keys = [recordKey(partition, '')];
      return this.script('a commit', options, READ, keys, [], (reply) => ({
        nowMs: whole(list(reply)[0]),
        outcomes: refused.filter((one) => one !== null),
      }));
    }
    const decode = (reply: unknown): CommitReply => readOutcomes(reply, batches, refused);
    const { maxEvents } = this.#settings;
    return this.within('a commit', options, async (ms) => {
      const until = systemClock.monotonicMs() + ms;
      let reply = await this.#ask(cheapestCall(partition, sent, maxEvents), until, decode);
      if (reply === NOT_PLAIN)
        reply = await this.#ask(generalCall(partition, sent, maxEvents), until, decode);
      return decode(reply);
    });
  }

  /** Once more with plain arguments when the server cannot unpack them. */
  async #ask(call: CommitCall, until: number, decode: (reply: unknown) => CommitReply): Promise<unknown> {
    const reply = await this.#send(call, until, decode);
    if (reply !== CANNOT_UNPACK) return reply;
    this.#packs = false;
    return this.#send(call, until, decode);
  }

  #send(
    { script, keys, args }: CommitCall,
    until: number,
    decode: (reply: unknown) => CommitReply,
  ): Promise<unknown> {
    const all: RedisArgument[] = [...keys];
    if (this.#packs && args.length >= PACKED_FROM) all.push(pack(args));
    else for (const arg of args) all.push(String(arg));
    const replicas = this.#settings.waitReplicas;
    if (replicas === 0) return runScript(this.#client, script, keys.length, all);
    // A text says that nothing was done.
    const wrote = (reply: unknown): boolean =>
      typeof reply !== 'string' && wroteSomething(decode(reply).outcomes);
    return runScriptAndWait(this.#client, script, keys.length, all, { replicas, until, wrote });
  }
}

function rangeArgs({ from, to, limit, reverse, after }: RangeQuery): string[] {
  const args = [
    boundText(from ?? -Infinity),
    boundText(to ?? Infinity),
    limitText(limit),
    reverse === true ? '1' : '0',
  ];
  if (after !== undefined) args.push(boundText(after.score), after.id);
  return args;
}

/**
 * Keeps everything in Redis 7 or later. The client is yours: configure, share and close it yourself; the
 * storage only adds an `error` listener, because ioredis prints errors that nobody listens to.
 *
 * Throws `INVALID_OPTION` for options out of range. Calls throw `STORAGE_UNAVAILABLE` (also by their deadline),
 * `STORAGE_READONLY`, `STORAGE_FULL` and `CORRUPT_RECORD`; see `docs/errors.md`.
 *
 * @example
 * const client = new Redis('redis://localhost:6379');
 * const recovery = createRecovery({ storage: redisStorage(client) });
 */
export function redisStorage(client: RedisClient, options: RedisStorageOptions = {}): Storage {
  if (typeof client?.evalsha !== 'function' || typeof client.on !== 'function') {
    throw new RecoveryError(
      'INVALID_OPTION',
      'redisStorage needs an ioredis client first, not a URL or options.',
    );
  }
  checkKnown('redisStorage', options, ['partitions', 'waitReplicas', 'callDeadlineMs', 'maxEvents']);
  const settings = settingsOf(client, options);
  const calls = new RedisCalls(client, settings);
  log.storage('redis with %d partitions, waits for %d replicas', settings.partitions, settings.waitReplicas);
  return {
    name: 'redis',
    partitions: settings.partitions,
    read: (partition, keys, fields, callOptions) => {
      const decode = (record: unknown): StoredRecord | null =>
        fields === undefined ? toRecord(record) : toPart(record, fields);
      // A call without keys still asks the partition's own node for the time.
      const redisKeys = (keys.length === 0 ? [''] : keys).map((key) => recordKey(partition, key));
      return calls.script('a read', callOptions, READ, redisKeys, fields ?? [], (reply) => {
        const [nowMs, ...records] = list(reply);
        return { nowMs: whole(nowMs), records: records.slice(0, keys.length).map(decode) };
      });
    },
    commit: (partition, batches, callOptions) => calls.commit(partition, batches, callOptions),
    range: (partition, index, query, callOptions) =>
      calls.script('a range', callOptions, RANGE, [indexKey(partition, index)], rangeArgs(query), (reply) => {
        const [nowMs, flat] = list(reply);
        const entries = toEntries(flat);
        return { nowMs: whole(nowMs), entries: query.reverse === true ? entries.toReversed() : entries };
      }),
    count: (partition, index, { from = -Infinity, to = Infinity } = {}, callOptions) => {
      const bounds = [boundText(from), boundText(to)];
      return calls.script('a count', callOptions, COUNT, [indexKey(partition, index)], bounds, whole);
    },
    events: (partition, { after, limit }, callOptions) => {
      const foreign = after !== null && !STREAM_ID.test(after);
      const args = after === null || foreign ? [limitText(limit)] : [limitText(limit), after];
      return calls.script('events', callOptions, EVENTS, [eventsKey(partition)], args, (reply) =>
        toEventPage(reply, foreign),
      );
    },
    inspect: (callOptions) =>
      calls.within('inspect', callOptions, () => inspectRedis(client, settings.waitReplicas)),
    close: async () => {
      calls.close();
    },
  };
}
