import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Recovery } from '../../src/runtime/recovery.js';
import type { TaskOptions } from '../../src/runtime/task-options.js';
import { keys } from '../../src/state/keys.js';
import { settled } from '../support/manual-clock.js';
import {
  alertsOf,
  away,
  gate,
  LEASE_MS,
  rejectionOf,
  SWEEP_MS,
  trapUnhandledRejections,
  untilAborted,
  World,
} from './harness.js';
import type { Proc } from './harness.js';

trapUnhandledRejections();

type Options = Omit<TaskOptions<[string], string>, 'name' | 'taskId'>;

/** A task that hangs on its first attempt, and says so on the next. */
function hanging(recovery: Recovery, name: string, options: Options = {}) {
  return recovery.withRecovery<[string], string>(
    (ctx) => (ctx.attempt === 1 ? untilAborted(ctx) : `${ctx.taskId} again`),
    { name, taskId: (id) => id, ...options },
  );
}

describe.each([1, 3])('runStartupRecovery, on %i partitions', (partitions) => {
  let world: World;
  beforeEach(() => void (world = new World(partitions)));
  afterEach(() => world.end());

  /** A process that dies with these tasks in its hands. */
  async function died(
    ids: Readonly<Record<string, readonly string[]>>,
    options: Options = {},
    proc: Proc = world.proc(),
  ) {
    for (const [name, some] of Object.entries(ids)) {
      const task = hanging(proc.recovery, name, options);
      for (const id of some) (await task.start(id)).result.catch(() => {});
    }
    await settled();
    proc.crash();
    return proc;
  }

  it('takes back what a dead process held once its leases are over, and reports it', async () => {
    await died({ n: ['a', 'b'] });
    await world.clock.advance(LEASE_MS + 1);
    const { recovery, heard } = world.proc();
    const task = hanging(recovery, 'n');
    const run = await recovery.runStartupRecovery();
    expect(run).toMatchObject({ warnings: [], postponed: null });
    const report = await world.until(run.finished);
    expect(report).toMatchObject({
      discovered: 2,
      recovered: 2,
      failed: 0,
      skipped: 0,
      deferred: 0,
      deadLettered: 0,
    });
    expect(report.tasks).toMatchObject([
      { name: 'n', decision: 'restart', outcome: 'completed', items: null, error: null },
      { name: 'n', decision: 'restart', outcome: 'completed' },
    ]);
    await expect(task('a')).resolves.toBe('a again');
    await expect(recovery.tasks.get('a')).resolves.toMatchObject({
      attempt: 2,
      crashedAtMs: [expect.any(Number)],
      orphanCause: 'lease_over',
    });
    expect(heard.map(({ event }) => event)).toEqual(
      expect.arrayContaining(['recovery_started', 'recovery_completed']),
    );
  });

  it('leaves a living process alone, and takes its tasks right after their leases ran out when it dies', async () => {
    const proc = world.proc();
    const { result } = await hanging(proc.recovery, 'n').start('a');
    result.catch(() => {});
    const { recovery } = world.proc();
    const task = hanging(recovery, 'n');
    const run = await recovery.runStartupRecovery();
    await expect(world.until(run.finished)).resolves.toMatchObject({ discovered: 0 });
    proc.crash();
    await world.clock.advance(LEASE_MS + LEASE_MS / 10);
    await expect(task('a')).resolves.toBe('a again');
    expect(world.clock.monotonicMs()).toBeLessThan(SWEEP_MS);
  });

  it('needs no lease to run out when the owner is provably dead', async () => {
    await died({ n: ['a'] }, {}, world.proc({ born: '100' }));
    const { recovery } = world.proc({ born: '200' });
    hanging(recovery, 'n');
    const run = await recovery.runStartupRecovery();
    await expect(run.finished).resolves.toMatchObject({ recovered: 1 });
    await expect(recovery.tasks.get('a')).resolves.toMatchObject({
      status: 'completed',
      orphanCause: 'owner_dead',
      crashedAtMs: [world.clock.wallMs()],
    });
    expect(world.clock.monotonicMs()).toBe(0);
  });

  it('needs no lease to run out when it holds the slot of the owner', async () => {
    await died({ n: ['a'] }, {}, world.proc({ slot: 'worker-0' }));
    await died({ n: ['other'] }, {}, world.proc({ slot: 'worker-1' }));
    const { recovery } = world.proc({ slot: 'worker-0' });
    hanging(recovery, 'n');
    const run = await recovery.runStartupRecovery();
    await expect(run.finished).resolves.toMatchObject({ recovered: 1, tasks: [{ taskId: 'a' }] });
    await expect(recovery.tasks.get('a')).resolves.toMatchObject({ orphanCause: 'slot_taken_over' });
  });

  it('recovers in priority order, ten first, and never more at once than asked for', async () => {
    const dead = world.proc();
    const order: string[] = [];
    const holds = new Map<string, ReturnType<typeof gate>>();
    const define = ({ recovery }: Proc, priority: number) =>
      recovery.withRecovery(
        async (ctx, id: string) => {
          if (ctx.attempt === 1) return untilAborted(ctx);
          order.push(id);
          const hold = gate();
          holds.set(id, hold);
          return hold.passed;
        },
        { name: `p${priority}`, taskId: (id) => id, priority },
      );
    for (const priority of [0, 10, 5]) {
      const task = define(dead, priority);
      for (const id of [`${priority}a`, `${priority}b`]) (await task.start(id)).result.catch(() => {});
    }
    dead.crash();
    await world.clock.advance(LEASE_MS + 1);
    const next = world.proc({ concurrency: 4 });
    for (const priority of [0, 10, 5]) define(next, priority);
    const run = await next.recovery.runStartupRecovery({ concurrency: 2 });
    await settled();
    const waves: string[][] = [];
    while (order.length > 0) {
      waves.push(order.splice(0).map((id) => id.slice(0, -1)));
      for (const hold of holds.values()) hold.open();
      holds.clear();
      await settled();
    }
    expect(waves).toEqual([
      ['10', '10'],
      ['5', '5'],
      ['0', '0'],
    ]);
    await expect(world.until(run.finished)).resolves.toMatchObject({ recovered: 6 });
  });

  it('a name without a function here: reported NO_HANDLER, neither claimed nor charged; registering it brings it back', async () => {
    await died({ known: ['a'], unknown: ['b'] });
    await world.clock.advance(LEASE_MS + 1);
    const { recovery } = world.proc();
    hanging(recovery, 'known');
    const run = await recovery.runStartupRecovery();
    const report = await run.finished;
    expect(report).toMatchObject({ recovered: 1, skipped: 1 });
    expect(report.tasks.find(({ taskId }) => taskId === 'b')).toMatchObject({
      name: 'unknown',
      decision: 'skip',
      outcome: 'skipped',
      reason: expect.stringContaining('NO_HANDLER'),
    });
    await expect(recovery.tasks.get('b')).resolves.toMatchObject({
      status: 'processing',
      attempt: 1,
      crashedAtMs: [],
    });
    hanging(recovery, 'unknown');
    await world.clock.advance(1);
    await expect(recovery.tasks.get('b')).resolves.toMatchObject({ status: 'completed', attempt: 2 });
  });

  it("leaves a task with recovery: 'never' to a call with its id", async () => {
    await died({ n: ['a'] }, { recovery: 'never' });
    await world.clock.advance(LEASE_MS + 1);
    const { recovery } = world.proc();
    const task = hanging(recovery, 'n', { recovery: 'never' });
    const run = await recovery.runStartupRecovery();
    await expect(run.finished).resolves.toMatchObject({ discovered: 0, tasks: [] });
    await world.clock.advance(3 * SWEEP_MS);
    await expect(recovery.tasks.get('a')).resolves.toMatchObject({ attempt: 1 });
    await expect(task('a')).resolves.toBe('a again');
  });

  it('looks only at the names it was given', async () => {
    await died({ one: ['a'], two: ['b'] });
    await world.clock.advance(LEASE_MS + 1);
    const { recovery } = world.proc();
    hanging(recovery, 'one');
    hanging(recovery, 'two');
    const run = await recovery.runStartupRecovery({ names: ['two'] });
    await expect(run.finished).resolves.toMatchObject({ recovered: 1, tasks: [{ taskId: 'b' }] });
  });

  it('a record that cannot be read is quarantined, and the others are recovered', async () => {
    await died({ n: ['a', 'broken', 'c'] });
    for (let p = 0; p < partitions; p += 1) {
      const at = `rekindle:${p}`;
      const { records } = await world.memory.read(at, [keys.head('broken')]);
      const token = records[0]?.get('token');
      if (token === undefined) continue;
      const set = [{ key: keys.head('broken'), fields: { attempt: 'many' } }];
      await world.memory.commit(at, [
        { guard: { key: keys.head('broken'), expect: token, next: `${token}x` }, set },
      ]);
    }
    await world.clock.advance(LEASE_MS + 1);
    const { recovery, heard } = world.proc();
    hanging(recovery, 'n');
    const run = await recovery.runStartupRecovery();
    await expect(run.finished).resolves.toMatchObject({ recovered: 2 });
    expect(alertsOf(heard)).toEqual(['corrupt_record']);
    await world.clock.advance(2 * SWEEP_MS);
    expect(alertsOf(heard)).toEqual(['corrupt_record']);
  });

  it('fails with the name of a check that fails; with "continue", boot goes on and the sweeper recovers', async () => {
    await died({ n: ['a'] });
    await world.clock.advance(LEASE_MS + 1);
    const checks = { fine: () => 1, queue: async (): Promise<void> => Promise.reject(new Error('no queue')) };
    const { recovery, heard } = world.proc({ checks });
    const task = hanging(recovery, 'n');
    const failure = {
      code: 'CHECK_FAILED',
      message: expect.stringContaining('"queue" failed: no queue'),
      details: { check: 'queue' },
    };
    expect(await rejectionOf(recovery.runStartupRecovery())).toMatchObject(failure);
    await world.clock.advance(2 * SWEEP_MS);
    await expect(recovery.tasks.get('a')).resolves.toMatchObject({ attempt: 1 });
    const run = await recovery.runStartupRecovery({ onUnavailable: 'continue' });
    expect(run.postponed).toMatchObject(failure);
    await expect(run.finished).resolves.toMatchObject({ discovered: 0 });
    expect(alertsOf(heard)).toEqual(['recovery_postponed']);
    await world.clock.advance(LEASE_MS + 1);
    await expect(task('a')).resolves.toBe('a again');
  });

  it('a check that hangs fails after 5 s', async () => {
    const { recovery } = world.proc({ checks: { slow: () => gate().passed } });
    const started = rejectionOf(recovery.runStartupRecovery());
    await world.clock.advance(5_000);
    expect(await started).toMatchObject({ code: 'CHECK_FAILED', details: { check: 'slow' } });
  });

  it('without the storage: throws by its deadline, or goes on and recovers when it is back', async () => {
    await died({ n: ['a'] });
    const { recovery, line } = world.proc();
    const task = hanging(recovery, 'n');
    line.down = away();
    expect(await world.until(rejectionOf(recovery.runStartupRecovery({ timeoutMs: 2_000 })))).toMatchObject({
      retryable: true,
    });
    const run = await world.until(recovery.runStartupRecovery({ onUnavailable: 'continue' }));
    expect(run.postponed).not.toBeNull();
    await world.clock.advance(3 * LEASE_MS);
    line.down = null;
    await world.clock.advance(2 * LEASE_MS);
    await expect(task('a')).resolves.toBe('a again');
  });

  it.each([
    { names: 'n' },
    { concurrency: 0 },
    { timeoutMs: 0 },
    { onUnavailable: 'ignore' },
    { name: ['n'] },
  ])('refuses %j', async (options) => {
    const { recovery } = world.proc();
    const call: Promise<unknown> = Reflect.apply(recovery.runStartupRecovery, null, [options]);
    expect(await rejectionOf(call)).toMatchObject({ code: 'INVALID_OPTION' });
  });
});
