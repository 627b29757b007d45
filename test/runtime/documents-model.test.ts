/** Whatever happens to documents, runs retry what a plain model says, and records and indexes say the same. */
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { failureIndexes } from '../../src/state/failures.js';
import { MemoryPartition, storageOver } from '../../src/storage/memory.js';
import { settled } from '../support/manual-clock.js';
import { Model } from './documents-model.js';
import type { Outcome, Rules } from './documents-model.js';
import { commands, DAY_MS, IDS, rules } from './documents-schedule.js';
import type { Command, Outcomes } from './documents-schedule.js';
import { LEASE_MS, rejectionOf, World } from './harness.js';
import type { Proc } from './harness.js';
import { startQuietly } from './lab.js';

class Driver {
  readonly #world: World;
  readonly #partitions: MemoryPartition[] = [];
  readonly #over: ReturnType<typeof storageOver>;
  readonly #model: Model;
  readonly #concurrency: number;
  readonly #crashed = new Set<string>();
  #next = new Map<string, Outcome>();
  #ran: string[] = [];

  constructor(given: Rules, partitions: number, concurrency: number) {
    this.#world = new World(partitions);
    this.#model = new Model(given);
    this.#concurrency = concurrency;
    const make = (): MemoryPartition => {
      const partition = new MemoryPartition(1_000);
      this.#partitions.push(partition);
      return partition;
    };
    this.#over = storageOver(make, this.#world.clock, partitions);
  }

  /** Each command is a process's whole life: time passes faster with nobody there to renew a lease. */
  async do(command: Command): Promise<void> {
    const proc = this.#proc();
    this.#ran = [];
    await this.#did(command, proc);
    if (proc.line.dead) await this.#world.clock.advance(LEASE_MS + 1);
    else await this.#world.until(proc.recovery.shutdown({ timeoutMs: 1_000 }));
    const looks = this.#proc();
    await this.#agrees(looks);
    await this.#world.until(looks.recovery.shutdown({ timeoutMs: 1_000 }));
  }

  #proc(): Proc {
    const documents = { ...this.#model.rules, concurrency: this.#concurrency, batchSize: 2 };
    return this.#world.proc({ over: this.#over, documents, maxCrashes: 50 });
  }

  #task({ recovery, crash }: Proc) {
    const work = (name: string): unknown => {
      this.#ran.push(name);
      const next = this.#next.get(name) ?? 'ok';
      if (next === 'crash') {
        setImmediate(crash);
        return new Promise(() => {});
      }
      if (next === 'first') throw new TypeError('no body');
      if (next === 'second') throw new RangeError('too far');
      return 'text';
    };
    return recovery.withRecovery((_ctx, name: string) => work(name), {
      name: 'n',
      taskId: (name) => name,
      document: (name) => `/in/${name}`,
    });
  }

  async #did(command: Command, proc: Proc): Promise<void> {
    const [nowMs, model] = [this.#world.clock.wallMs(), this.#model];
    const { failures } = proc.recovery;
    if (command.what === 'wait') return this.#waited(command.ms);
    if (command.what === 'run') return this.#recovered(command.outcomes, proc);
    if (command.what === 'redrive') return this.#redriven(command.id, command.outcomes, proc);
    const given = command.id;
    if (command.what === 'call' || command.what === 'crash') {
      const how = 'outcome' in command ? command.outcome : 'crash';
      // A second crash would make it a suspect, which waits for its turn: another story.
      if (how === 'crash' && this.#crashed.has(given)) return;
      this.#next = new Map([[given, how]]);
      const runs = model.tried(given, how, nowMs);
      const task = this.#task(proc);
      if (how === 'crash' && runs) {
        this.#crashed.add(given);
        await startQuietly(task, given);
        await settled();
      } else await this.#world.until(task(given).catch(() => {}));
      expect(this.#ran).toEqual(runs ? [given] : []);
    } else if (command.what === 'record') {
      const report = { documentPath: given, name: 'n', error: new Error('seen by hand') };
      if (model.recorded(given, nowMs)) await failures.record(report);
      else expect(await rejectionOf(failures.record(report))).toMatchObject({ code: 'WRONG_STATE' });
    } else if (command.what === 'requeue') {
      if (model.requeued(given, nowMs)) await failures.requeue(given);
      else await rejectionOf(failures.requeue(given));
    } else await this.#removed(given, command.what === 'forget', proc);
  }

  async #removed(given: string, forget: boolean, { recovery }: Proc): Promise<void> {
    const doc = this.#model.docs.get(given);
    const remove = forget ? recovery.failures.remove : recovery.tasks.remove;
    const there = doc !== undefined && (!forget || doc.failure !== null);
    if (there && (doc.status === 'orphaned' || doc.status === 'processing')) {
      expect(await rejectionOf(remove(given))).toMatchObject({ code: 'WRONG_STATE' });
      return;
    }
    expect(await remove(given)).toBe(there);
    if (there && forget) doc.failure = null;
    else if (!forget) this.#model.docs.delete(given);
  }

  async #waited(given: number | 'early' | 'due'): Promise<void> {
    let ms = typeof given === 'number' ? given : 0;
    if (typeof given === 'string') {
      const dues = [...this.#model.docs].flatMap(([each, { status, failure }]) =>
        status === 'failed' && failure !== null ? [failure.lastAtMs + this.#model.delayMs(each).whole] : [],
      );
      const waits = dues.map((dueMs) => dueMs - this.#world.clock.wallMs()).filter((each) => each > 1);
      ms = Math.min(...waits, DAY_MS) - (given === 'early' ? 1 : 0);
    }
    // It passes with nobody there: see `do`.
    this.#world.clock.stepWall(ms);
  }

  /** One that has crashed before does not again; see above. */
  #outcomesOf({ each, guilty }: Outcomes): void {
    this.#next = new Map(IDS.map((name, at) => [name, each[at] ?? 'ok']));
    const name = IDS[guilty ?? -1];
    // With fewer slots than documents it would depend on their order who comes before the crash.
    if (name === undefined || this.#crashed.has(name) || this.#concurrency < IDS.length) return;
    this.#next.set(name, 'crash');
  }

  async #recovered(given: Outcomes, proc: Proc): Promise<void> {
    const nowMs = this.#world.clock.wallMs();
    this.#outcomesOf(given);
    this.#task(proc);
    const before = new Map(
      IDS.map((name) => [name, { ...this.#model.docs.get(name)?.failure, ...this.#model.delayMs(name) }]),
    );
    const tried = this.#model.run((name) => this.#next.get(name) ?? 'ok', nowMs);
    const deadBefore = await proc.recovery.failures.count();
    const crashes = tried.find((name) => this.#next.get(name) === 'crash');
    const run = proc.recovery.documents.recover();
    if (crashes === undefined) {
      const report = await this.#world.until(run);
      expect(report).toMatchObject({ found: tried.length, attempted: tried.length, skipped: 0 });
      expect(report.succeeded + report.failed).toBe(tried.length);
      expect(deadBefore - report.expired - report.succeeded).toBe(await proc.recovery.failures.count());
    } else {
      this.#crashed.add(crashes);
      for (let turn = 0; turn < 30; turn += 1) await settled();
      expect(proc.line.dead).toBe(true);
    }
    // What the model needs not know to be right: none before its time, none over the maximum, none twice.
    expect(this.#ran.toSorted()).toEqual(tried.toSorted());
    for (const name of this.#ran) {
      const { retries = Infinity, lastAtMs = Infinity, base } = before.get(name) ?? { base: 0 };
      expect(retries).toBeLessThan(this.#model.rules.maxRetries);
      expect(nowMs - lastAtMs).toBeGreaterThanOrEqual(base);
    }
  }

  async #redriven(like: string, given: Outcomes, proc: Proc): Promise<void> {
    const reason = this.#model.docs.get(like)?.failure?.reason;
    const record = await proc.recovery.failures.get(like);
    expect(record?.fingerprint === undefined).toBe(reason === undefined);
    if (record === null || reason === undefined) return;
    this.#outcomesOf({ ...given, guilty: null });
    this.#task(proc);
    const outcomeOf = (name: string): Outcome => this.#next.get(name) ?? 'ok';
    const tried = this.#model.redrive(reason, outcomeOf, this.#world.clock.wallMs());
    const report = await this.#world.until(
      proc.recovery.documents.recover({ fingerprint: record.fingerprint }),
    );
    expect(report).toMatchObject({ found: tried.length, attempted: tried.length, expired: 0 });
    expect(this.#ran.toSorted()).toEqual(tried.toSorted());
  }

  async #agrees({ recovery }: Proc): Promise<void> {
    const [nowMs, model] = [this.#world.clock.wallMs(), this.#model];
    const { failures, tasks, documents } = recovery;
    const known = [...model.docs].filter(([, { failure }]) => failure !== null).map(([name]) => name);
    const inState = (status: string): string[] =>
      known.filter((name) => model.docs.get(name)?.status === status).toSorted();
    const due = known.filter((name) => model.isDue(name, nowMs)).toSorted();
    for (const name of IDS) {
      const doc = model.docs.get(name);
      expect((await tasks.get(name))?.status).toBe(doc?.status);
      const found = await failures.get(name);
      if (!doc?.failure) expect(found).toBe(null);
      else {
        const { retries, attempts, failedAtMs, lastAtMs } = doc.failure;
        expect(found).toMatchObject({ retryCount: retries, recoveryAttempts: attempts, failedAtMs });
        expect(found).toMatchObject({ lastAttemptAtMs: lastAtMs, status: doc.status });
      }
      if (doc === undefined) this.#leftNothing(name);
    }
    expect(await documents.getStatus()).toEqual({
      total_failed_documents: known.length,
      documents_eligible_for_retry: due.length,
      dead_letters: inState('dead_letter').length,
      recovery_attempts: model.attempts,
      successful_recoveries: model.succeeded,
      failed_recoveries: model.failed,
      recovery_success_rate:
        model.succeeded + model.failed === 0 ? null : model.succeeded / (model.succeeded + model.failed),
      average_recovery_time: model.succeeded === 0 ? null : 0,
      last_recovery_run: model.lastRunMs,
      running: false,
    });
    expect(await failures.count()).toBe(known.length);
    expect(await failures.count({ eligible: true })).toBe(due.length);
    const listed = async (eligible: boolean): Promise<string[]> =>
      (await failures.list({ eligible })).documents.map(({ taskId }) => taskId).toSorted();
    expect(await listed(true)).toEqual(due);
    expect(await listed(false)).toEqual(known.filter((name) => !due.includes(name)).toSorted());
    const counts = { pending: 0, processing: 0, orphaned: 0, completed: 0, failed: 0, cancelled: 0 };
    const wanted: Record<string, number> = { ...counts, dead_letter: 0 };
    for (const { status } of model.docs.values()) wanted[status] = (wanted[status] ?? 0) + 1;
    expect(await tasks.counts()).toEqual(wanted);
    expect(this.#entries(failureIndexes.all)).toEqual(known.toSorted());
    expect(this.#entries(failureIndexes.dead)).toEqual(inState('dead_letter'));
    const open = known.filter((name) => model.docs.get(name)?.status !== 'dead_letter');
    expect(this.#entries(failureIndexes.open)).toEqual(open.toSorted());
    const places = this.#partitions.flatMap((each) => [...each.indexes.keys()]);
    const waiting = [...new Set(places)].filter((name) => name.startsWith(failureIndexes.waiting('')));
    expect(waiting.flatMap((name) => this.#entries(name)).toSorted()).toEqual(inState('failed'));
  }

  #leftNothing(name: string): void {
    for (const { records, indexes } of this.#partitions) {
      expect([...records.keys()].filter((key) => key.endsWith(`:${name}`))).toEqual([]);
      for (const index of indexes.values())
        expect(index.entries().filter((entry) => entry.id === name)).toEqual([]);
    }
  }

  #entries(index: string): string[] {
    return this.#partitions
      .flatMap((each) => [...(each.indexes.get(index)?.entries() ?? [])].map((entry) => entry.id))
      .toSorted();
  }
}

test('property: runs of document recovery do what the model says', { timeout: 120_000 }, async () => {
  await fc.assert(
    fc.asyncProperty(
      rules,
      fc.constantFrom(1, 3),
      fc.constantFrom(1, 4, 10),
      commands,
      async (given, partitions, concurrency, schedule) => {
        const driver = new Driver(given, partitions, concurrency);
        for (const command of schedule) await driver.do(command);
      },
    ),
    { numRuns: 150 },
  );
});
