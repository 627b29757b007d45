/** pg-boss on a real PostgreSQL, and several workers with a Recovery each on one storage. */
import PgBoss from 'pg-boss';
import { createRecovery } from '../../../src/runtime/create-recovery.js';
import type { RecoveryOptions } from '../../../src/runtime/options.js';
import type { Recovery } from '../../../src/runtime/recovery.js';
import { memoryStorage } from '../../../src/storage/memory.js';
import type { Storage } from '../../../src/storage/storage.js';
import { startPostgres } from '../../support/postgres-server.js';
import type { PostgresServer } from '../../support/postgres-server.js';
import { waitFor } from '../../support/redis-server.js';

/** pg-boss looks for jobs twice a second at most; it is told to look now this often, in ms. */
const LOOK_MS = 20;

let server: PostgresServer | null = null;
let count = 0;

export async function openServer(): Promise<void> {
  server = await startPostgres();
}
export async function closeServer(): Promise<void> {
  await server?.stop();
}

/** One queue, and what works on it. */
export class Lab {
  readonly storage: Storage = memoryStorage();
  readonly name: string = `q${(count += 1)}`;
  readonly boss: PgBoss;
  readonly errors: string[] = [];
  readonly #recoveries: Recovery[] = [];
  readonly #looks: NodeJS.Timeout[] = [];

  constructor() {
    if (server === null) throw new Error('openServer() first.');
    this.boss = new PgBoss({ connectionString: server.url, supervise: false, schedule: false, max: 5 });
    this.boss.on('error', ({ message }) => this.errors.push(message));
  }

  async open(): Promise<void> {
    await this.boss.start();
    await this.boss.createQueue(this.name);
  }

  recovery(options: Partial<RecoveryOptions> = {}): Recovery {
    const made = createRecovery({ storage: this.storage, leaseMs: 2_000, sweepIntervalMs: 50, ...options });
    this.#recoveries.push(made);
    return made;
  }

  /** A loop that takes jobs, with nothing else to do than the first. Returns what ends it. */
  async worker<T>(handler: PgBoss.WorkHandler<T>, batchSize = 1): Promise<() => Promise<void>> {
    const id = await this.boss.work(this.name, { pollingIntervalSeconds: 0.5, batchSize }, handler);
    this.#looks.push(setInterval(() => this.boss.notifyWorker(id), LOOK_MS));
    return () => this.boss.offWork({ id });
  }

  async add(data: object, options: PgBoss.SendOptions = {}): Promise<string> {
    return (await this.boss.send(this.name, data, options)) ?? '';
  }

  async job(id: string): Promise<PgBoss.JobWithMetadata | null> {
    return this.boss.getJobById(this.name, id);
  }

  /** Jobs of the queue in one of these states, the oldest first. */
  async jobs(...states: string[]): Promise<{ id: string; data: unknown }[]> {
    const text =
      'SELECT id, data FROM pgboss.job WHERE name = $1 AND state::text = ANY($2) ORDER BY created_on';
    return (await this.boss.getDb().executeSql(text, [this.name, states])).rows;
  }

  async inState(id: string, ...states: string[]): Promise<PgBoss.JobWithMetadata> {
    let found: PgBoss.JobWithMetadata | null = null;
    await waitFor(`job ${id} to be ${states.join(' or ')}`, async () => {
      found = await this.job(id);
      return found !== null && states.includes(found.state);
    });
    if (found === null) throw new Error(`Job ${id} is gone.`);
    return found;
  }

  /** Resolves once the job is at its end. */
  async ended(id: string): Promise<PgBoss.JobWithMetadata> {
    return this.inState(id, 'completed', 'failed', 'cancelled');
  }

  /** Takes an active job for one whose worker has had it for too long, or is dead. */
  async expire(id: string): Promise<void> {
    const text = "UPDATE pgboss.job SET started_on = now() - interval '1 day' WHERE name = $1 AND id = $2";
    await this.boss.getDb().executeSql(text, [this.name, id]);
    await this.boss.expire();
  }

  async close(): Promise<void> {
    await Promise.all(this.#recoveries.map((recovery) => recovery.shutdown({ timeoutMs: 100 })));
    for (const look of this.#looks) clearInterval(look);
    await this.boss.stop({ graceful: false });
  }
}
