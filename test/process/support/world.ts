/** A storage that worker processes share with the test, and what the test does with it behind their backs. */
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Cluster, Redis } from 'ioredis';
import type { RedisOptions } from 'ioredis';
import { afterAll, afterEach, expect } from 'vitest';
import type { Recovery, RecoveryOptions, Storage, StoredRecord, TaskRecord } from '../../../src/index.js';
import { recoveryOf } from '../../../src/runtime/create-recovery.js';
import { systemProcessTable } from '../../../src/runtime/identity.js';
import type { ProcessTable } from '../../../src/runtime/identity.js';
import { redisStorage } from '../../../src/storage/redis.js';
import type { RedisStorageOptions } from '../../../src/storage/redis.js';
import { sqliteStorage } from '../../../src/storage/sqlite.js';
import { startRedis, waitFor } from '../../support/redis-server.js';
import type { RedisServer } from '../../support/redis-server.js';
import { journalViolations, storedEvents, violations } from './invariants.js';
import { WorkerProcess, endWorkers } from './worker-process.js';
import type { Report, WorkerTraits } from './worker-process.js';

export type Kind = 'sqlite' | 'redis';
export const KINDS: readonly Kind[] = ['sqlite', 'redis'];
/** Kill tests run this often. */
export const ROUNDS: number = Number(process.env['REKINDLE_ROUNDS'] ?? 5);
/** For tests whose length depends on them, in ms. */
export const ROUNDS_TIMEOUT_MS: number = 60_000 + 4_000 * ROUNDS;
/** More than one, so that what spans partitions is met. */
const PARTITIONS = 3;

/** Options of `createRecovery`, and what else is to be said of a worker; `port` leads it to Redis through a proxy. */
type WorkerOptions = Partial<Omit<RecoveryOptions, 'storage'>> & WorkerTraits & { readonly port?: number };

/** Where a world's records are, if not in a file: what `new Redis()` or `new Cluster()` takes. */
export interface Place {
  readonly redis?: RedisOptions;
  readonly cluster?: readonly { readonly host: string; readonly port: number }[];
  readonly storage?: RedisStorageOptions;
}

let shared: Promise<RedisServer> | null = null;
let worlds: World[] = [];
let count = 0;

/** One namespace for one test. */
export class World {
  readonly storage: Storage;
  /** Looks only: it never signs on as a worker. */
  readonly observer: Recovery;
  readonly namespace: string;
  readonly folder: string = mkdtempSync(join(tmpdir(), 'rekindle-process-'));
  /** False once the test has destroyed what is checked after each one. */
  checked = true;
  /** False once the storage has lost what it had acknowledged: the workers remember more than it does. */
  remembers = true;
  readonly #place: Place | null;
  readonly #opened: Recovery[] = [];
  readonly #clients: (Redis | Cluster)[] = [];

  constructor(place: Place | null) {
    count += 1;
    this.namespace = `test-${process.pid}-${count}`;
    this.#place = place;
    this.storage = this.open();
    this.observer = this.recovery();
    worlds.push(this);
  }

  get home(): string {
    return `${this.namespace}:0`;
  }

  get partitions(): string[] {
    return Array.from({ length: this.storage.partitions }, (_, index) => `${this.namespace}:${index}`);
  }

  get #file(): string {
    return join(this.folder, 'store.db');
  }

  open(): Storage {
    if (this.#place === null) return sqliteStorage(this.#file, { synchronous: 'OFF' });
    const { redis = {}, cluster, storage } = this.#place;
    const client =
      cluster === undefined ? new Redis({ ...redis, retryStrategy: () => 50 }) : new Cluster([...cluster]);
    this.#clients.push(client);
    // The test itself waits for no replica.
    return redisStorage(client, { partitions: PARTITIONS, ...storage, waitReplicas: 0 });
  }

  /** A Recovery in the test's own process. */
  recovery(options: Partial<RecoveryOptions> = {}, table: ProcessTable = systemProcessTable): Recovery {
    const opened = recoveryOf({ namespace: this.namespace, storage: this.open(), ...options }, table);
    this.#opened.push(opened);
    return opened;
  }

  /** A new worker process, ready. */
  async worker(options: WorkerOptions = {}): Promise<WorkerProcess> {
    const { port, hold, dieAfter, dieAtItem, handleSignals, listens, under, nodeArgs, ...recovery } = options;
    const { redis, cluster, storage } = this.#place ?? {};
    const place = cluster === undefined ? { redis: { ...redis, ...(port && { port }) } } : { cluster };
    const traits = { hold, dieAfter, dieAtItem, handleSignals, listens, under, nodeArgs };
    const worker = new WorkerProcess({
      ...traits,
      storage:
        this.#place === null
          ? { sqlite: this.#file }
          : { ...place, options: { partitions: PARTITIONS, ...storage } },
      recovery: { namespace: this.namespace, ...recovery },
      journal: join(this.folder, 'journal'),
    });
    await worker.heard({ type: 'ready' });
    return worker;
  }

  /** What all workers have said, in order. */
  journal(match: Report = {}): Report[] {
    const file = join(this.folder, 'journal');
    const lines = existsSync(file) ? readFileSync(file, 'utf8').trim().split('\n') : [];
    const reports: Report[] = lines.map((line) => JSON.parse(line));
    return reports.filter((report) =>
      Object.entries(match).every(([field, value]) => report[field] === value),
    );
  }

  async task(id: string): Promise<TaskRecord> {
    const task = await this.observer.tasks.get(id);
    if (task === null) throw new Error(`There is no task "${id}".`);
    return task;
  }

  /** The stored events of a task. */
  async events(id: string): Promise<Record<string, string>[]> {
    const events = await storedEvents(this.storage, this.partitions);
    return events.filter((event) => event['task_id'] === id);
  }

  async checkpointNames(id: string): Promise<(string | null)[]> {
    return (await this.observer.checkpoints.list(id)).map(({ name }) => name);
  }

  /** Resolves once the storage's own clock has passed a moment. */
  async storageTimePasses(momentMs: number): Promise<void> {
    await waitFor(
      'the storage’s clock',
      async () => (await this.storage.read(this.home, [])).nowMs > momentMs,
    );
  }

  /** Writes over a worker's record. Returns the values that stood there. */
  async editWorker(
    incarnation: string | null,
    fields: Record<string, string>,
  ): Promise<Record<string, string>> {
    const key = `w:${incarnation}`;
    const { records } = await this.storage.read(this.home, [key]);
    const record: StoredRecord = records[0] ?? new Map();
    const expected = record.get('token');
    if (expected === undefined) throw new Error(`There is no worker "${incarnation}".`);
    count += 1;
    const guard = { key, expect: expected, next: `${expected}.${count}` };
    const { outcomes } = await this.storage.commit(this.home, [{ guard, set: [{ key, fields }] }]);
    expect(outcomes).toMatchObject([{ status: 'applied' }]);
    return Object.fromEntries(Object.keys(fields).map((field) => [field, record.get(field) ?? '']));
  }

  async end(): Promise<void> {
    for (const recovery of this.#opened) await recovery.shutdown({ timeoutMs: 100 });
    await this.storage.close();
    for (const client of this.#clients) client.disconnect();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** Makes a world: a file of its own, or a namespace on a server that the tests of a file share. */
export async function makeWorld(kind: Kind, server?: RedisServer): Promise<World> {
  if (kind === 'sqlite') return new World(null);
  shared ??= server === undefined ? startRedis() : null;
  const port = (server ?? (await shared))?.port;
  return new World(port === undefined ? {} : { redis: { port } });
}

/** Makes a world on servers that the caller has started. */
export const makeWorldAt = (place: Place): World => new World(place);

async function endWorlds(): Promise<void> {
  const ended = worlds;
  worlds = [];
  try {
    expect(await endWorkers()).toEqual([]);
    for (const world of ended) {
      if (world.checked)
        expect(await violations(world.storage, world.partitions, world.observer)).toEqual([]);
      if (world.checked && world.remembers) expect(journalViolations(world.journal())).toEqual([]);
    }
  } finally {
    for (const world of ended) await world.end();
  }
}

/** Each test file calls this once: workers and worlds end with their test, the server with the file. */
export function endWithEachTest(): void {
  afterEach(endWorlds);
  afterAll(async () => (await shared)?.stop());
}
