/** One incarnation of a worker: a Recovery of its own, with its own view of time and its own connection. */
import type { Dispatcher, TaskEnvelope } from '../../src/domain/dispatch.js';
import { isRecoveryError } from '../../src/errors.js';
import { sleep } from '../../src/clock.js';
import { recoveryOf } from '../../src/runtime/create-recovery.js';
import type { Recovery } from '../../src/runtime/recovery.js';
import type { ProcessTable } from '../../src/runtime/identity.js';
import type { RecoveryOptions } from '../../src/runtime/options.js';
import type { Storage } from '../../src/storage/storage.js';
import { registerTasks } from './jobs.js';
import type { Job, JobHost, Tasks } from './jobs.js';
import { connection } from './sim-storage.js';
import type { Fault, Outage, Peer, Wire } from './sim-storage.js';
import { ProcessClock, seededRandom } from '../../src/testing/virtual-clock.js';
import type { Witness } from './witness.js';

export const LEASE_MS = 600;
const RETRY_MS = 70;

/** What a process needs of the world around it. */
export interface Surroundings {
  readonly wire: Wire;
  readonly inner: Storage;
  readonly witness: Witness;
  readonly table: ProcessTable;
  readonly options: Partial<RecoveryOptions>;
  /** How long a poison runs before it takes its process down. */
  readonly poisonMs: number;
  /** The chance that the library has. */
  readonly jitter: () => number;
  /** What tasks go through; null: nothing. */
  readonly queue: Dispatcher | null;
  /** Whether there are jobs of the kind `pieces`. */
  readonly pieces: boolean;
  crashed(process: SimProcess, restartInMs: number): void;
  nextFault(worker: number): Fault | null;
  outage(worker: number): Outage | null;
}

/** The process id of an incarnation of a worker. */
export function pidOf(worker: number, incarnation: number): number {
  return 10_000 + worker * 1_000 + incarnation;
}

/** Under another process id: `process.pid` is what an identity is made of. */
function withPid<T>(pid: number, make: () => T): T {
  const real = Object.getOwnPropertyDescriptor(process, 'pid');
  Object.defineProperty(process, 'pid', { value: pid, configurable: true, enumerable: true });
  try {
    return make();
  } finally {
    if (real !== undefined) Object.defineProperty(process, 'pid', real);
  }
}

export class SimProcess implements Peer {
  readonly worker: number;
  readonly pid: number;
  readonly label: string;
  readonly clock: ProcessClock;
  readonly recovery: Recovery;
  /** Set while it shuts down, and afterwards. */
  closing: Promise<void> | null = null;
  closed = false;
  readonly #around: Surroundings;
  readonly #tasks: Tasks;

  constructor(worker: number, incarnation: number, around: Surroundings) {
    this.#around = around;
    this.worker = worker;
    this.pid = pidOf(worker, incarnation);
    this.label = `w${worker}i${incarnation}`;
    this.clock = new ProcessClock(around.wire.time);
    this.clock.skewMs = worker * 3_600_000;
    const { wire, inner, table, options } = around;
    this.recovery = withPid(this.pid, () =>
      recoveryOf(
        {
          storage: connection(inner, this, wire),
          clock: this.clock,
          random: seededRandom(this.label, around.jitter),
          leaseMs: LEASE_MS,
          sweepIntervalMs: 2 * LEASE_MS,
          maxCrashes: 50,
          optionalEvents: ['checkpoint_created'],
          ...(around.queue === null ? {} : { dispatch: around.queue, handOverMs: 3 * LEASE_MS }),
          ...options,
        },
        table,
      ),
    );
    const host: JobHost = {
      sleep: (ms) => sleep(this.clock, ms),
      poisonMs: around.poisonMs,
      crash: () => this.crash(100),
      entered: (ctx, step) => {
        if (this.closing !== null) around.witness.violations.add(`I14 ${ctx.taskId} began in a shutdown`);
        return around.witness.entered(this, ctx, step);
      },
    };
    this.#tasks = registerTasks(this.recovery, host, around.pieces);
    this.recovery.on('*', (event) => {
      const { kind, code, reason } = event.details;
      wire.log(`${this.label} ${event.event} ${event.task_id} ${kind ?? ''} ${code ?? ''} ${reason ?? ''}`);
      if (this.clock.state === 'dead') return;
      // What a supervisor does for a worker that says that it must stop.
      if (kind === 'slot_conflict') this.crash(1_000);
      if (event.event === 'lease_lost') around.witness.lost(this, event.task_id ?? '', code);
      if (kind?.startsWith('corrupt') === true) around.witness.violations.add(`I6 alert ${kind}: ${reason}`);
    });
  }

  nextFault(): Fault | null {
    return this.#around.nextFault(this.worker);
  }

  outage(): Outage | null {
    return this.#around.outage(this.worker);
  }

  crash(restartInMs: number): void {
    if (this.clock.state === 'dead' || this.closed) return;
    this.#around.wire.log(`${this.label} crashed`);
    this.clock.crash();
    this.#around.witness.gone(this);
    this.#around.crashed(this, restartInMs);
  }

  /**
   * What the user's boot code does: recover, then call what there is to do, again until it is done.
   * @param waits leave what was started before to recovery, and call only to hear how it ended
   */
  async boot(jobs: readonly Job[], waits: boolean): Promise<void> {
    await this.#untilDone(() => this.recovery.runStartupRecovery({ timeoutMs: 5_000 }));
    const get = async (job: Job): Promise<void> => {
      if (job.afterMs !== undefined) await sleep(this.clock, job.afterMs);
      if (this.#around.queue !== null) await this.#untilDone(() => this.#tasks[job.kind]?.submit(job.id));
      if (waits || this.#around.queue !== null) await this.#untilDone(() => this.#ended(job.id));
      await this.#untilDone(() => this.#call(job));
    };
    await Promise.all(jobs.map(get));
  }

  /** A job of the queue. What becomes of it is nobody's business but recovery's. */
  deliver(envelope: TaskEnvelope): void {
    this.#around.wire.log(`${this.label} got a job of ${envelope.taskId}, ${envelope.fence}`);
    this.clock.enter('reply', () => {
      this.recovery.runTask(envelope).catch((error: unknown) => {
        this.#around.wire.log(`${this.label} job of ${envelope.taskId} failed: ${String(error)}`);
      });
    });
  }

  /** An operator's command at this process. */
  async cancel(taskId: string): Promise<void> {
    const { witness, wire } = this.#around;
    witness.cancelAsked(taskId);
    try {
      const outcome = await this.recovery.tasks.cancel(taskId);
      wire.log(`${this.label} cancel ${taskId}: ${outcome}`);
      if (this.clock.state !== 'dead') witness.cancelAnswered(taskId, outcome);
    } catch (error) {
      wire.log(`${this.label} cancel ${taskId} failed: ${String(error)}`);
    }
  }

  /** Gives a task another life, and sees it through. */
  async requeue(job: Job): Promise<void> {
    const { witness } = this.#around;
    await this.#untilDone(() => this.recovery.tasks.requeue(job.id));
    witness.results.delete(job.id);
    await this.#untilDone(() => this.#call(job));
    witness.requeued.add(job.id);
  }

  shutdown(timeoutMs: number): Promise<void> {
    this.closing ??= this.recovery.shutdown({ timeoutMs }).then(() => {
      this.closed = true;
    });
    return this.closing;
  }

  async #call(job: Job): Promise<void> {
    const { witness } = this.#around;
    try {
      const task = this.#tasks[job.kind];
      if (task === undefined) throw new TypeError(`nobody registered ${job.kind}`);
      const result = await task(job.id);
      if (this.clock.state !== 'dead') witness.ended(job, result);
    } catch (error) {
      if (this.clock.state === 'dead') return;
      if (isRecoveryError(error, 'TASK_DEAD_LETTER')) witness.ended(job, 'dead_letter');
      else if (isRecoveryError(error, 'TASK_CANCELLED')) witness.ended(job, 'cancelled');
      else throw error;
    }
  }

  async #ended(taskId: string): Promise<void> {
    for (;;) {
      const task = await this.recovery.tasks.get(taskId);
      if (task === null || task.endedAtMs !== null) return;
      await sleep(this.clock, 3 * RETRY_MS);
    }
  }

  async #untilDone(step: () => Promise<unknown> | undefined): Promise<void> {
    while (this.closing === null) {
      try {
        await step();
        return;
      } catch (error) {
        this.#around.wire.log(`${this.label} failed: ${String(error)}`);
        await sleep(this.clock, RETRY_MS);
      }
    }
  }
}
