/** One incarnation of a worker: a Recovery of its own, with its own view of time and its own connection. */
import { isRecoveryError } from '../../src/errors.js';
import { sleep } from '../../src/clock.js';
import { recoveryOf } from '../../src/runtime/create-recovery.js';
import type { Recovery } from '../../src/runtime/create-recovery.js';
import type { ProcessTable } from '../../src/runtime/identity.js';
import type { RecoveryOptions } from '../../src/runtime/options.js';
import type { Storage } from '../../src/storage/storage.js';
import { registerTasks } from './jobs.js';
import type { Job, JobHost, Tasks } from './jobs.js';
import { connection } from './sim-storage.js';
import type { Fault, Peer, Wire } from './sim-storage.js';
import { ProcessClock, seededRandom } from './virtual-clock.js';
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
  /** Whether there are jobs of the kind `pieces`. */
  readonly pieces: boolean;
  crashed(process: SimProcess, restartInMs: number): void;
  nextFault(worker: number): Fault | null;
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
          random: seededRandom(this.label, wire.fraction),
          leaseMs: LEASE_MS,
          sweepIntervalMs: 2 * LEASE_MS,
          maxCrashes: 50,
          optionalEvents: ['checkpoint_created'],
          ...options,
        },
        table,
      ),
    );
    const host: JobHost = {
      sleep: (ms) => sleep(this.clock, ms),
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

  crash(restartInMs: number): void {
    if (this.clock.state === 'dead' || this.closed) return;
    this.#around.wire.log(`${this.label} crashed`);
    this.clock.crash();
    this.#around.witness.gone(this);
    this.#around.crashed(this, restartInMs);
  }

  /** What the user's boot code does: recover, then call what there is to do, again until it is done. */
  async boot(jobs: readonly Job[]): Promise<void> {
    await this.#untilDone(() => this.recovery.runStartupRecovery({ timeoutMs: 5_000 }));
    await Promise.all(jobs.map((job) => this.#untilDone(() => this.#call(job))));
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
      if (!isRecoveryError(error, 'TASK_DEAD_LETTER')) throw error;
      witness.ended(job, 'dead_letter');
    }
  }

  async #untilDone(step: () => Promise<unknown>): Promise<void> {
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
