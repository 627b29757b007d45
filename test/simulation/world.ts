/**
 * A world of workers on one storage, run to its end under virtual time. What goes wrong is given by a seed and a list
 * of faults; what must hold all the same is in `invariants.ts` and `witness.ts`.
 */
import type { ProcessTable } from '../../src/runtime/identity.js';
import { MemoryPartition, storageOver } from '../../src/storage/memory.js';
import type { Batch } from '../../src/storage/storage.js';
import { endViolations, headsOf, indexViolations, unendedTasks } from './invariants.js';
import { POISON_BUDGET, POISON_MS } from './jobs.js';
import type { Job } from './jobs.js';
import { LEASE_MS, pidOf, SimProcess } from './process.js';
import { scriptEndMs } from './scenario.js';
import type { Outcome, Scenario } from './scenario.js';
import type { Fault, Outage, Wire } from './sim-storage.js';
import { queueOf } from './sim-queue.js';
import { EPOCH_MS, seededFractions, VirtualTime } from '../../src/testing/virtual-clock.js';
import { Witness } from './witness.js';

export type { Outcome, Scenario } from './scenario.js';

const BOOT_ID_PATH = '/proc/sys/kernel/random/boot_id';
/** No scenario needs longer, in virtual ms; what is not done by then never will be. */
const MAX_MS = 4 * 3_600_000;
const MAX_EVENTS = 300_000;
const QUIET_MS = 4 * LEASE_MS;
/** What a script brings back after all is done has a lease to run out, a sweep to wait for and its run to go through. */
const BROUGHT_BACK_MS = 8 * LEASE_MS;

export class World {
  readonly time: VirtualTime = new VirtualTime();
  readonly witness: Witness;
  readonly partitions: MemoryPartition[] = [];
  readonly log: string[] = [];
  readonly calls: number[];
  readonly processes: (SimProcess | null)[];
  readonly #scenario: Scenario;
  readonly #wire: Wire;
  readonly #queue: ReturnType<typeof queueOf>;
  readonly #inner: ReturnType<typeof storageOver>;
  readonly #alive = new Set<number>();
  readonly #incarnations: number[];
  /** Processes that were replaced while they shut down. */
  readonly #retired: SimProcess[] = [];
  /** Until when each worker is cut off from the storage, and how. */
  readonly #outages = new Map<number, { readonly untilMs: number; readonly kind: Outage }>();
  #storageOffsetMs = 0;
  #faultsOver = false;
  /** Something was written since the indexes were looked at. */
  #written = false;

  constructor(scenario: Scenario) {
    this.#scenario = scenario;
    // Those that ran beside it are told apart by halves; what a fault ended is not charged, or charged to others.
    const halvings = Math.ceil(Math.log2(scenario.jobs.length)) + 1;
    this.witness = new Witness(
      POISON_BUDGET + halvings + scenario.faults.length,
      scenario.mostCharged ?? Infinity,
    );
    this.calls = Array.from({ length: scenario.workers }, () => 0);
    this.#incarnations = [...this.calls];
    this.processes = this.calls.map(() => null);
    const fraction = seededFractions(scenario.seed);
    const dies = scenario.dies?.(this);
    const make = scenario.partition ?? ((): MemoryPartition => new MemoryPartition(10_000));
    this.#inner = storageOver(
      () => {
        const partition = make();
        this.partitions.push(partition);
        return partition;
      },
      { wallMs: () => EPOCH_MS + this.time.nowMs + this.#storageOffsetMs },
      scenario.partitions ?? 1,
    );
    this.#wire = {
      time: this.time,
      fraction,
      jump: (ms) => {
        this.#storageOffsetMs += ms;
      },
      log: (line) => void this.log.push(`${this.time.nowMs} ${line}`),
      executed: (peer, batches, reply) => {
        this.witness.committed(peer, batches, reply);
        this.#written = true;
        const restartInMs = dies?.(batches, reply) ?? null;
        if (restartInMs !== null) peer.crash(restartInMs);
      },
    };
    this.#queue = queueOf(this.#wire, scenario, () => this.processes);
  }

  /** Runs until all is done and quiet, and returns what was seen. */
  async run(): Promise<Outcome> {
    const { violations } = this.witness;
    const onRejection = (reason: unknown): void => {
      violations.add(`I9 unhandled rejection: ${String(reason)}`);
    };
    process.on('unhandledRejection', onRejection);
    // Thousands of expected errors: their stacks would be most of the work.
    const { stackTraceLimit } = Error;
    Error.stackTraceLimit = 0;
    try {
      for (const worker of this.processes.keys()) this.start(worker);
      for (const { atMs, run } of this.#scenario.script ?? []) this.time.at(atMs, () => run(this));
      await this.#until(() => this.#done);
      if (!this.#done) for (const job of this.#undone) violations.add(`I5 nobody heard how ${job.id} ended`);
      this.#faultsOver = true;
      if (this.#scenario.requeues === true) await this.#requeueAll();
      const calls = [...this.calls];
      await this.#untilScriptIsOver();
      const quietAtMs = this.time.nowMs + QUIET_MS;
      await this.#until(() => this.time.nowMs >= quietAtMs);
      this.#checkEnd();
      await this.#shutDownAll();
      return {
        violations: [...violations],
        log: this.log,
        calls,
        attempts: new Map(headsOf(this.partitions).map(({ task }) => [task.taskId, task.attempt])),
        effects: this.witness.effects,
        endedAtMs: this.time.nowMs,
      };
    } finally {
      Error.stackTraceLimit = stackTraceLimit;
      process.off('unhandledRejection', onRejection);
    }
  }

  /** Starts the next incarnation of a worker. */
  start(worker: number): void {
    const incarnation = (this.#incarnations[worker] ?? 0) + 1;
    this.#incarnations[worker] = incarnation;
    const { slots, options } = this.#scenario;
    this.#alive.add(pidOf(worker, incarnation));
    const next = new SimProcess(worker, incarnation, {
      wire: this.#wire,
      inner: this.#inner,
      witness: this.witness,
      table: this.#table(),
      queue: this.#queue,
      pieces: this.#scenario.jobs.some(({ kind }) => kind === 'pieces'),
      poisonMs: this.#scenario.poisonMs ?? POISON_MS,
      jitter: this.#scenario.noJitter === true ? (): number => 0.5 : this.#wire.fraction,
      options: { ...options, ...(slots === true ? { slot: `slot-${worker}` } : {}) },
      crashed: (process, restartInMs) => {
        this.#alive.delete(process.pid);
        // Its successor is there already when it was replaced.
        if (this.processes[worker] === process) this.time.after(restartInMs, () => this.start(worker));
      },
      nextFault: (of) => this.#nextFault(of),
      outage: (of) => this.#outage(of),
    });
    this.processes[worker] = next;
    const waits = this.#scenario.calledOnce === true && incarnation > 1;
    void next.boot(
      this.#scenario.jobs.filter((job) => job.worker === worker),
      waits,
    );
  }

  /** A graceful stop in the middle; the next incarnation starts when it is over. */
  restart(worker: number, timeoutMs: number): void {
    const old = this.processes[worker];
    if (old?.clock.state !== 'awake' || old.closing !== null) return;
    void old.shutdown(timeoutMs).then(() => {
      if (old.clock.state === 'dead') return;
      this.#alive.delete(old.pid);
      this.start(worker);
    });
  }

  /** A rolling deploy: the next incarnation starts at once, beside the one that shuts down. */
  deploy(worker: number, timeoutMs: number): void {
    const old = this.processes[worker];
    if (old === null || old === undefined || old.clock.state !== 'awake' || old.closing !== null) return;
    this.#retired.push(old);
    void old.shutdown(timeoutMs).then(() => this.#alive.delete(old.pid));
    this.start(worker);
  }

  /** All calls of these workers fail for so long, and no answer reaches them. */
  cutOff(workers: readonly number[], forMs: number, kind: Outage): void {
    this.log.push(`${this.time.nowMs} cut off ${workers.join(' ')} for ${forMs} ms (${kind})`);
    for (const worker of workers) this.#outages.set(worker, { untilMs: this.time.nowMs + forMs, kind });
  }

  /** An operator asks for a task's cancellation, at one of the workers. */
  cancel(worker: number, taskId: string): void {
    const at = this.processes[worker];
    if (at === null || at === undefined || at.clock.state !== 'awake' || at.closing !== null) return;
    void at.cancel(taskId);
  }

  /** A write straight to the storage, as an administrator's tool would make it. */
  async commit(batch: Batch): Promise<void> {
    const reply = await this.#inner.commit('rekindle:0', [batch]);
    this.log.push(`${this.time.nowMs} direct ${batch.guard.key} ${reply.outcomes[0]?.status}`);
    const [peer] = this.processes;
    if (peer) this.#wire.executed(peer, [batch], reply);
  }

  get #undone(): Job[] {
    return this.#scenario.jobs.filter(({ id }) => !this.witness.results.has(id));
  }

  get #done(): boolean {
    return this.#undone.length === 0 && this.processes.every((each) => each?.clock.state === 'awake');
  }

  async #until(ended: () => boolean): Promise<void> {
    const most = this.#scenario.maxEvents ?? MAX_EVENTS;
    for (let events = 0; events < most; events += 1) {
      const { nextMs } = this.time;
      if (nextMs === null || nextMs > MAX_MS) return;
      if (nextMs > this.time.nowMs) {
        if (this.#scenario.singleOwner !== false) this.witness.atRest(this.time.nowMs);
        if (this.#written) this.#checkIndexes();
        if (ended()) return;
      }
      await this.time.step();
    }
  }

  #checkIndexes(): void {
    this.#written = false;
    for (const violation of indexViolations(this.partitions)) this.witness.violations.add(violation);
  }

  #checkEnd(): void {
    this.#checkIndexes();
    for (const violation of endViolations(this.partitions)) this.witness.violations.add(violation);
  }

  /** I9: a process that shuts down leaves nothing behind, in memory or in the storage. */
  async #shutDownAll(): Promise<void> {
    const { violations } = this.witness;
    // One that was hit by its last fault just now is left to its restart.
    const last = [...this.processes, ...this.#retired]
      .filter((each) => each !== null)
      .filter((each) => each.clock.state !== 'dead');
    for (const each of last) void each.shutdown(2_000);
    const deadlineMs = this.time.nowMs + 5_000;
    await this.#until(() => last.every(({ closed }) => closed) || this.time.nowMs > deadlineMs);
    // A sweep that was in the middle of a look ends by itself.
    const quietAtMs = this.time.nowMs + LEASE_MS;
    await this.#until(() => this.time.nowMs >= quietAtMs);
    for (const each of last) {
      if (!each.closed) violations.add(`I9 ${each.label} did not shut down in time`);
      else if (each.clock.pendingTimers > 0) {
        violations.add(`I9 ${each.label} left ${each.clock.pendingTimers} timers behind`);
      }
    }
    this.#checkIndexes();
  }

  /** A storage that is restored after everybody has heard gives tasks back that nobody waits for. */
  async #untilScriptIsOver(): Promise<void> {
    const { time, partitions } = this;
    const endMs = Math.max(time.nowMs, scriptEndMs(this.#scenario));
    await this.#until(() => time.nowMs >= endMs);
    await this.#until(() => time.nowMs >= endMs + BROUGHT_BACK_MS || unendedTasks(partitions).length === 0);
  }

  #nextFault(worker: number): Fault | null {
    const call = (this.calls[worker] ?? 0) + 1;
    this.calls[worker] = call;
    if (this.#faultsOver) return null;
    return this.#scenario.faults.find((fault) => fault.worker === worker && fault.call === call) ?? null;
  }

  #outage(worker: number): Outage | null {
    const outage = this.#outages.get(worker);
    return outage !== undefined && outage.untilMs > this.time.nowMs ? outage.kind : null;
  }

  /** Cancelled tasks get another life, which nothing disturbs any more. */
  async #requeueAll(): Promise<void> {
    await this.#until(() => this.time.nowMs > scriptEndMs(this.#scenario) + 2_000 && this.#done);
    const cancelled = this.#scenario.jobs.filter(({ id }) => this.witness.results.get(id) === 'cancelled');
    for (const job of cancelled) void this.processes[job.worker]?.requeue(job);
    await this.#until(() => cancelled.every(({ id }) => this.witness.requeued.has(id)));
    for (const { id } of cancelled) {
      if (!this.witness.requeued.has(id))
        this.witness.violations.add(`I5 nobody heard how ${id} ended again`);
    }
  }

  #table(): ProcessTable {
    return {
      readText: (path) => {
        if (path === BOOT_ID_PATH) return this.#scenario.proofOfDeath === true ? 'boot' : null;
        const pid = Number(path.split('/')[2]);
        return this.#alive.has(pid) ? `${pid} (node) S ${'0 '.repeat(18)}${pid * 7}` : null;
      },
      readLink: (path) => `${path}:[1]`,
      signal0: (pid) => (this.#alive.has(pid) ? 'exists' : 'gone'),
    };
  }
}

export const simulate = (scenario: Scenario): Promise<Outcome> => new World(scenario).run();
