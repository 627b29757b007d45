/** BullMQ on a real Redis, and several workers with a Recovery each on one storage. */
import { Queue, QueueEvents, Worker } from 'bullmq';
import type { JobsOptions, Processor, WorkerOptions } from 'bullmq';
import { createRecovery } from '../../../src/runtime/create-recovery.js';
import type { RecoveryOptions } from '../../../src/runtime/options.js';
import type { Recovery } from '../../../src/runtime/recovery.js';
import { memoryStorage } from '../../../src/storage/memory.js';
import type { Storage } from '../../../src/storage/storage.js';
import { redisCommand, startRedis, waitFor } from '../../support/redis-server.js';
import type { RedisServer } from '../../support/redis-server.js';

export interface Ended {
  readonly state: string;
  readonly value: unknown;
  readonly reason: string | undefined;
  readonly attemptsMade: number;
}

let server: RedisServer | null = null;
let count = 0;

export async function openServer(): Promise<void> {
  server = await startRedis();
}
export async function closeServer(): Promise<void> {
  await server?.stop();
}

/** One queue, and what works on it. */
export class Lab {
  readonly storage: Storage = memoryStorage();
  readonly connection: { host: string; port: number };
  readonly name: string = `q${(count += 1)}`;
  readonly queue: Queue;
  readonly errors: string[] = [];
  readonly #events: QueueEvents;
  readonly #workers: Worker[] = [];
  readonly #recoveries: Recovery[] = [];

  constructor() {
    if (server === null) throw new Error('openServer() first.');
    this.connection = { host: server.host, port: server.port };
    this.queue = new Queue(this.name, { connection: this.connection });
    this.#events = new QueueEvents(this.name, { connection: this.connection });
  }

  recovery(options: Partial<RecoveryOptions> = {}): Recovery {
    const made = createRecovery({ storage: this.storage, leaseMs: 2_000, sweepIntervalMs: 50, ...options });
    this.#recoveries.push(made);
    return made;
  }

  worker(processor: Processor, options: Partial<WorkerOptions> = {}, name: string = this.name): Worker {
    const worker = new Worker(name, processor, { connection: this.connection, ...options });
    worker.on('error', ({ message }) => this.errors.push(message));
    this.#workers.push(worker);
    return worker;
  }

  async add(data: unknown, options: JobsOptions = {}): Promise<string> {
    const { id } = await this.queue.add('job', data, options);
    return id ?? '';
  }

  async state(id: string): Promise<string> {
    return this.queue.getJobState(id);
  }

  async inState(id: string, ...states: string[]): Promise<void> {
    await waitFor(`job ${id} to be ${states.join(' or ')}`, async () =>
      states.includes(await this.state(id)),
    );
  }

  /** Resolves once the job is completed or failed. */
  async ended(id: string): Promise<Ended> {
    await this.inState(id, 'completed', 'failed');
    const job = await this.queue.getJob(id);
    return {
      state: await this.state(id),
      value: job?.returnvalue,
      reason: job?.failedReason,
      attemptsMade: job?.attemptsMade ?? -1,
    };
  }

  /** Takes the lock of a job away, as if it had run out. */
  async unlock(id: string): Promise<void> {
    const [removed] = await redisCommand(this.connection.port, ['DEL', `bull:${this.name}:${id}:lock`]);
    if (removed !== 1) throw new Error(`Job ${id} has no lock.`);
  }

  async close(): Promise<void> {
    await Promise.all(this.#recoveries.map((recovery) => recovery.shutdown({ timeoutMs: 100 })));
    await Promise.all(this.#workers.map((worker) => worker.close(true)));
    await this.#events.close();
    await this.queue.close();
  }
}
