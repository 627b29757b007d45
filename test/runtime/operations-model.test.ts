/** Whatever happens to tasks, the figures of `health` and `metrics` equal a plain count over all records and all events. */
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { indexes } from '../../src/state/keys.js';
import { settled } from '../support/manual-clock.js';
import { recoveriesOf } from '../support/recoveries.js';
import { headsOf } from '../simulation/invariants.js';
import { DAY_MS, HOUR_MS, insideOf } from './cleaner-lab.js';
import type { Inside } from './cleaner-lab.js';
import { LEASE_MS } from './harness.js';
import type { Proc } from './harness.js';

const BEAT_MS = LEASE_MS / 3;
const SLOT_MS = 300_000;
const IDS = ['a', 'b', 'c'] as const;
const KINDS = ['document', 'plain', 'twice'] as const;
const kindOf = (taskId: string): number => IDS.findIndex((each) => each === taskId) % KINDS.length;
type End = 'ok' | 'error';

const id = fc.constantFrom(...IDS);
const at = fc.nat(1);
type Command =
  | {
      readonly what: 'start' | 'requeue' | 'cancel' | 'record' | 'remove';
      readonly id: string;
      readonly at: number;
    }
  | { readonly what: 'end'; readonly id: string; readonly end: End }
  | { readonly what: 'crash' | 'recover' | 'documents' | 'redrive' | 'clean'; readonly at: number }
  | { readonly what: 'wait'; readonly ms: number }
  | { readonly what: 'leap'; readonly ms: number; readonly crash: boolean };

const of = <T extends string>(...what: readonly T[]) => fc.constantFrom(...what);
const commands: fc.Arbitrary<Command[]> = fc.array(
  fc.oneof(
    { weight: 6, arbitrary: fc.record({ what: of('start'), id, at }) },
    { weight: 7, arbitrary: fc.record({ what: of('end'), id, end: of('ok', 'error', 'error') }) },
    {
      weight: 7,
      arbitrary: fc.record({ what: of('requeue', 'cancel', 'cancel', 'record', 'remove'), id, at }),
    },
    { weight: 3, arbitrary: fc.record({ what: of('crash'), at }) },
    { weight: 5, arbitrary: fc.record({ what: of('recover', 'documents', 'redrive', 'clean'), at }) },
    {
      weight: 3,
      arbitrary: fc.record({ what: of('wait'), ms: fc.constantFrom(1, BEAT_MS, LEASE_MS + 1, 4 * LEASE_MS) }),
    },
    {
      weight: 2,
      arbitrary: fc.record({
        what: of('leap'),
        ms: fc.oneof(fc.constantFrom(HOUR_MS, 12 * HOUR_MS, DAY_MS, 8 * DAY_MS), fc.nat(DAY_MS)),
        crash: fc.boolean(),
      }),
    },
  ),
  { maxLength: 25, size: 'max' },
);

class Driver {
  readonly #inside: Inside;
  #procs: Proc[] = [];
  #born = 1;
  readonly #gates = new Map<string, Map<Proc, (end: End) => void>>();
  readonly #seen = { recoveries: 0, oldest: 0 };
  /** When a process was killed last, in ms. */
  #killedMs = -Infinity;

  constructor(partitions: number) {
    this.#inside = insideOf(partitions);
    this.#procs = [this.#proc(), this.#proc()];
  }

  get seen(): { readonly recoveries: number; readonly oldest: number } {
    return this.#seen;
  }

  async do(command: Command): Promise<void> {
    await this.#did(command);
    for (let turns = 0; turns < 3; turns += 1) await settled();
    await this.agrees();
  }

  async end(): Promise<void> {
    await Promise.all(this.#procs.map((proc) => this.#stopped(proc)));
  }

  /** All of a name behave alike; a task is of the name that its id says. */
  #proc(): Proc {
    const proc = this.#inside.proc({
      born: String(this.#born),
      maxCrashes: 2,
      stuckAfterMs: 2 * LEASE_MS,
      documents: { minRetryIntervalMs: 1, maxRetryIntervalMs: 1, maxRetries: 1, periodic: false },
    });
    const work = (taskId: string, signal: AbortSignal): Promise<string> =>
      new Promise((resolve, reject) => {
        const end = (how: End): void => (how === 'ok' ? resolve('ok') : reject(new TypeError('no')));
        const doors = this.#gates.get(taskId) ?? new Map<Proc, (end: End) => void>();
        this.#gates.set(taskId, doors.set(proc, end));
        signal.addEventListener('abort', () => reject(signal.reason));
      });
    const tasks = KINDS.map((name) =>
      proc.recovery.withRecovery((ctx, taskId: string) => work(taskId, ctx.signal), {
        name,
        taskId: (given) => given,
        ...(name === 'twice' ? { maxAttempts: 2 } : {}),
        ...(name === 'document' ? { document: (given: string) => given } : {}),
      }),
    );
    this.#calls.set(proc, (taskId) => {
      const task = tasks[kindOf(taskId)];
      // Whatever it comes to: what is stored is looked at.
      void task?.start(taskId).then(
        ({ result }) => result.catch(() => {}),
        () => {},
      );
    });
    return proc;
  }

  readonly #calls = new Map<Proc, (taskId: string) => void>();

  #at(place: number): Proc {
    const proc = this.#procs[place % this.#procs.length];
    if (proc === undefined) throw new Error('no process');
    return proc;
  }

  async #stopped(proc: Proc): Promise<void> {
    await this.#inside.world.until(proc.recovery.shutdown({ timeoutMs: 1_000 }));
  }

  async #did(command: Command): Promise<void> {
    const { clock } = this.#inside.world;
    if (command.what === 'wait') return clock.advance(command.ms);
    if (command.what === 'leap') return this.#leapt(command);
    if (command.what === 'end') {
      for (const open of this.#gates.get(command.id)?.values() ?? []) open(command.end);
      return;
    }
    const proc = this.#at(command.at);
    if ('id' in command) return this.#commanded(command, proc);
    const { recovery } = proc;
    const ignored = (work: Promise<unknown>): void => void work.catch(() => {});
    if (command.what === 'crash') {
      proc.crash();
      this.#killedMs = clock.wallMs();
      this.#procs[command.at % this.#procs.length] = this.#proc();
    } else if (command.what === 'recover') ignored(recovery.recover());
    else if (command.what === 'documents') ignored(recovery.documents.recover());
    else if (command.what === 'redrive') ignored(recovery.documents.recover({ taskIds: [...IDS] }));
    else ignored(recovery.cleanup());
  }

  async #commanded(
    { what, id: taskId }: Extract<Command, { readonly id: string; readonly at: number }>,
    proc: Proc,
  ) {
    const { tasks, failures } = proc.recovery;
    const name = KINDS[kindOf(taskId)] ?? '';
    const error = new Error('seen by hand');
    if (what === 'start') this.#calls.get(proc)?.(taskId);
    else if (what === 'requeue') await tasks.requeue(taskId).catch(() => {});
    else if (what === 'cancel') await tasks.cancel(taskId).catch(() => {});
    else if (what === 'remove') await tasks.remove(taskId).catch(() => {});
    else await failures.record({ taskId, documentPath: taskId, name, error }).catch(() => {});
  }

  /** Long times pass with nobody there to renew anything. */
  async #leapt({ ms, crash }: Extract<Command, { readonly what: 'leap' }>): Promise<void> {
    if (crash) for (const proc of this.#procs) proc.crash();
    else await this.end();
    this.#gates.clear();
    this.#born += 1;
    this.#inside.world.clock.stepWall(ms);
    if (crash) this.#killedMs = this.#inside.world.clock.wallMs();
    this.#procs = [this.#proc(), this.#proc()];
  }

  /** By a process of its own, which signs on nowhere, and by one that works. */
  async agrees(): Promise<void> {
    const observer = this.#inside.proc({ born: String(this.#born) });
    for (const { recovery } of [observer, this.#at(0)]) await this.#figures(recovery);
    await this.#stopped(observer);
    await this.#oldest();
  }

  async #figures({ health, metrics, documents }: Proc['recovery']): Promise<void> {
    const nowMs = this.#inside.world.clock.wallMs();
    const heads = headsOf(this.#inside.partitions).map(({ task }) => task);
    const inState = (status: string): typeof heads => heads.filter((task) => task.status === status);
    const queue = inState('orphaned').length;
    const overdue = inState('processing').filter(({ leaseUntilMs }) => (leaseUntilMs ?? 0) <= nowMs).length;
    const stuck = heads.filter(({ stuckSinceMs }) => stuckSinceMs !== null).length;
    const report = await health();
    expect(report).toMatchObject({
      processing_task_count: inState('processing').length - overdue,
      orphaned_task_count: queue + overdue,
      recovery_queue_depth: queue,
      stuck_task_count: stuck,
      timestamp: nowMs,
    });
    const got = await metrics();
    const states = ['pending', 'processing', 'orphaned', 'completed', 'failed', 'cancelled', 'dead_letter'];
    expect(got.task_state_distribution).toEqual(
      Object.fromEntries(states.map((state) => [state, inState(state).length])),
    );
    expect(got).toMatchObject({ recovery_queue_depth: queue, stuck_task_count: stuck, timestamp: nowMs });
    expect(got.documents).toEqual(await documents.getStatus());
    const all = recoveriesOf(this.#inside.partitions);
    this.#seen.recoveries += all.attempts;
    expect([got.recovery_jobs_created, got.recovery_jobs_succeeded, got.recovery_jobs_failed]).toEqual([
      all.attempts,
      all.succeeded,
      all.failed,
    ]);
    // To five minutes.
    const slotMs = Math.floor((nowMs - DAY_MS) / SLOT_MS) * SLOT_MS;
    const day = recoveriesOf(this.#inside.partitions, slotMs);
    expect([
      got.total_recovery_attempts_24h,
      got.successful_recoveries_24h,
      got.failed_recoveries_24h,
      got.recent_failure_count,
      report.recent_failure_count,
    ]).toEqual([day.attempts, day.succeeded, day.failed, day.failures, day.failures]);
    const ended = day.succeeded + day.failed;
    const rate = ended === 0 ? null : (100 * day.succeeded) / ended;
    expect([got.recovery_success_rate_24h, report.recovery_success_rate_24h]).toEqual([rate, rate]);
    expect(got.average_recovery_time_seconds === null).toBe(day.succeeded === 0);
  }

  /** As workers that are alive have told with their last beat; where nothing has begun or ended since, it is exact. */
  async #oldest(): Promise<void> {
    const running = (): string =>
      JSON.stringify(
        headsOf(this.#inside.partitions).map(({ task }) => [task.taskId, task.status, task.fence]),
      );
    const before = running();
    await this.#inside.world.clock.advance(BEAT_MS + 1);
    const nowMs = this.#inside.world.clock.wallMs();
    const alive = new Set(
      (this.#inside.partitions[0]?.indexes.get(indexes.workers)?.entries() ?? [])
        .filter(({ score }) => score >= nowMs)
        .map((entry) => entry.id),
    );
    if (running() !== before) return;
    // Until its lease is over, a dead worker's last word stands: it may be of a task that had ended by then.
    if (nowMs - this.#killedMs <= LEASE_MS) return;
    const begun = headsOf(this.#inside.partitions)
      .filter(({ task }) => task.status === 'processing' && alive.has(task.owner ?? ''))
      .map(({ claimedAtMs }) => claimedAtMs);
    const { oldest_processing_seconds: oldest } = await this.#at(0).recovery.health();
    const expected = begun.length === 0 ? null : (nowMs - Math.min(...begun)) / 1_000;
    if (expected !== null) this.#seen.oldest += 1;
    expect(oldest).toBe(expected);
  }
}

test('property: figures equal a plain count over records and events', { timeout: 120_000 }, async () => {
  const seen = { recoveries: 0, oldest: 0 };
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(1, 3), commands, async (partitions, schedule) => {
      const driver = new Driver(partitions);
      for (const command of schedule) await driver.do(command);
      await driver.end();
      seen.recoveries += driver.seen.recoveries;
      seen.oldest += driver.seen.oldest;
    }),
    { numRuns: 30 },
  );
  expect(seen.recoveries).toBeGreaterThan(50);
  expect(seen.oldest).toBeGreaterThan(20);
});
