/** A task's past, as far as the log goes: attempts and how each came about and ended. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { TaskHistory } from '../../src/domain/operations.js';
import { historyOf } from '../../src/state/task-history.js';
import { Store } from '../../src/state/store.js';
import { memoryStorage } from '../../src/storage/memory.js';
import type { Storage } from '../../src/storage/storage.js';
import { DUE_MS, leap } from '../runtime/documents-lab.js';
import { away, rejectionOf, trapUnhandledRejections, untilAborted, World } from '../runtime/harness.js';
import type { Proc, ProcOptions } from '../runtime/harness.js';
import { die, startQuietly, swept } from '../runtime/lab.js';
import { settled } from '../support/manual-clock.js';

trapUnhandledRejections();

describe.each([1, 3])('the history of a task, on %i partitions', (partitions) => {
  let world: World;
  beforeEach(() => void (world = new World(partitions)));
  afterEach(() => world.end());

  type Body = (attempt: number, signal: AbortSignal) => unknown;
  /** Its task "t" does this. */
  function does(body: Body, options: ProcOptions & { readonly maxAttempts?: number } = {}) {
    const { maxAttempts = 1, ...rest } = options;
    const proc = world.proc({ documents: {}, ...rest });
    const task = proc.recovery.withRecovery(async (ctx) => body(ctx.attempt, ctx.signal), {
      name: 'n',
      taskId: () => 't',
      maxAttempts,
      document: () => 't',
    });
    return { ...proc, start: () => startQuietly(task), call: () => world.until(task().catch(String)) };
  }

  const history = ({ recovery }: Proc = world.proc()): Promise<TaskHistory> => recovery.tasks.history('t');
  /** In few words. */
  const told = async (): Promise<string[]> =>
    (await history()).attempts.map(({ attempt, cause, decision, end }) =>
      [attempt, cause ?? '-', decision ?? '-', end ?? '-'].join(' '),
    );
  const fails: Body = () => {
    throw new TypeError('no');
  };
  const runs: Body = (_attempt, signal) => untilAborted({ signal });

  it('of one that is not there is empty', async () => {
    expect(await history()).toEqual({ attempts: [], events: [], truncated: false });
    expect(await rejectionOf(world.proc().recovery.tasks.history(''))).toMatchObject({ code: 'INVALID_ID' });
  });

  it('needs the storage', async () => {
    const proc = world.proc();
    proc.line.down = away();
    expect(await rejectionOf(history(proc))).toMatchObject({ code: 'STORAGE_UNAVAILABLE' });
  });

  it('of a plain one is one attempt, with its times and events', async () => {
    const startedAtMs = world.clock.wallMs();
    const proc = does(runs);
    await proc.start();
    expect(await history()).toMatchObject({ attempts: [{ end: null, endedAtMs: null }] });
    await world.clock.advance(500);
    await proc.recovery.tasks.cancel('t');
    await settled();
    const { attempts, events, truncated } = await history();
    expect(attempts).toEqual([
      {
        attempt: 1,
        startedAtMs,
        cause: null,
        decision: null,
        reason: null,
        end: 'task_cancelled',
        endedAtMs: startedAtMs + 500,
      },
    ]);
    expect(events.map(({ event }) => event)).toEqual(['task_started', 'task_cancelled']);
    expect(events.map(({ seq }) => seq)).toEqual([1, 2]);
    expect(truncated).toBe(false);
  });

  it('tells a crash, a release and how each was taken back', async () => {
    const dead = does(runs);
    await dead.start();
    await die(world, dead);
    const second = does(runs);
    await world.until(second.recovery.runStartupRecovery());
    await settled();
    expect(await told()).toEqual(['1 - - -', '2 lease_over restart -']);
    await world.until(second.recovery.shutdown({ timeoutMs: 1_000 }));
    const third = does(() => 'done');
    await swept(world, third);
    expect(await told()).toEqual([
      '1 - - -',
      '2 lease_over restart task_released',
      '3 released restart task_completed',
    ]);
    const { attempts } = await history();
    expect(attempts[1]?.reason).toEqual(expect.any(String));
  });

  it('tells tries after errors, the failure, a retry by hand and a requeue', async () => {
    const proc = does(fails, { maxAttempts: 2 });
    await proc.call();
    expect(await told()).toEqual(['1 - - task_retrying', '2 retry_due restart task_failed']);
    leap(world, DUE_MS);
    const run = await world.until(proc.recovery.recover());
    await world.until(run.finished);
    await proc.recovery.tasks.requeue('t');
    const next = does(() => 'done');
    await world.until(proc.recovery.shutdown({ timeoutMs: 100 }));
    await swept(world, next);
    expect((await told()).at(-1)).toBe('3 requeued restart task_completed');
    expect((await history()).events.map(({ event }) => event)).toContain('task_requeued');
  });

  it('one that was given up after crashes has attempts without an end, whatever is said of it later', async () => {
    for (let crashes = 0; crashes < 2; crashes += 1) {
      const dead = does(runs, { maxCrashes: 2 });
      if (crashes === 0) await dead.start();
      else await world.until(dead.recovery.runStartupRecovery());
      await settled();
      await die(world, dead);
    }
    await swept(world, does(runs, { maxCrashes: 2 }));
    const { recovery } = world.proc();
    expect(await recovery.tasks.get('t')).toMatchObject({ status: 'dead_letter' });
    const given = ['1 - - -', '2 lease_over restart -'];
    expect(await told()).toEqual(given);
    await recovery.failures.record({ taskId: 't', documentPath: 't', name: 'n', error: new Error('seen') });
    expect((await history()).events.at(-1)?.event).toBe('task_failed');
    expect(await told()).toEqual(given);
  });

  it('one that is cancelled while nobody runs it has no end by that', async () => {
    const dead = does(runs);
    await dead.start();
    await die(world, dead);
    expect(await world.proc().recovery.tasks.cancel('t')).toBe('cancelled');
    expect(await told()).toEqual(['1 - - -']);
  });

  it('begins anew with an id that is used again', async () => {
    const proc = does(fails);
    await proc.call();
    await proc.recovery.tasks.remove('t');
    // The log still has it.
    expect(await told()).toEqual(['1 - - task_failed']);
    await does(() => 'done').call();
    expect(await told()).toEqual(['1 - - task_completed']);
    expect(await history()).toMatchObject({ truncated: false });
  });

  it('of a document that was reported by hand has no attempt', async () => {
    await world.proc().recovery.failures.record({ taskId: 't', documentPath: 't', error: new Error('seen') });
    const { attempts, events } = await history();
    expect([attempts, events.map(({ event }) => event)]).toEqual([[], ['task_failed']]);
  });
});

describe('the history in a log', () => {
  const world = new World();
  const { clock } = world;
  let writes = 0;

  /** Appends what a task may have lived through. */
  async function append(
    storage: Storage,
    ...events: readonly (readonly [string, string, number])[]
  ): Promise<void> {
    writes += 1;
    const guard = { key: `g${writes}`, expect: null, next: `t${writes}` };
    const lines = events.map(([event, taskId, seq]) => ({
      event,
      task_id: taskId,
      name: 'n',
      timestamp: { fromNow: 0 },
      recovery: '0',
      seq: String(seq),
      attempt: '1',
    }));
    await storage.commit('n:0', [{ guard, notAfter: 1e15, append: lines }]);
  }
  const read = (storage: Storage): Promise<TaskHistory> =>
    historyOf(new Store(storage, 'n', clock, 1_000), 't');
  const many = (count: number): (readonly [string, string, number])[] =>
    Array.from({ length: count }, (_, at) => ['task_started', `other${at}`, 1] as const);

  it('that was cut at its front is said to be truncated', async () => {
    const storage = memoryStorage({ clock, maxEvents: 3 });
    await append(storage, ['task_started', 't', 1], ['task_requeued', 't', 2], ['recovery_started', 't', 3]);
    expect(await read(storage)).toMatchObject({ truncated: false, attempts: [{}, {}] });
    await append(storage, ['task_completed', 't', 4]);
    const { truncated, events, attempts } = await read(storage);
    expect([truncated, events.map(({ seq }) => seq)]).toEqual([true, [2, 3, 4]]);
    expect(attempts).toMatchObject([{ end: 'task_completed' }]);
    await append(storage, ...many(3));
    expect(await read(storage)).toEqual({ truncated: false, attempts: [], events: [] });
  });

  it('is found over many pages', async () => {
    const storage = memoryStorage({ clock, maxEvents: 10_000 });
    await append(storage, ['task_started', 't', 1], ...many(2_500), ['task_completed', 't', 2]);
    expect(await read(storage)).toMatchObject({ attempts: [{ end: 'task_completed' }], truncated: false });
  });

  it('that grows for ever while it is read comes to an end all the same', async () => {
    const storage = memoryStorage({ clock, maxEvents: 1_000_000 });
    await append(storage, ['task_started', 't', 1], ...many(999));
    let pages = 0;
    const growing: Storage = {
      ...storage,
      events: async (...call) => {
        pages += 1;
        const page = await storage.events(...call);
        clock.stepWall(1);
        await append(storage, ...many(1_000));
        return page;
      },
    };
    expect(await read(growing)).toMatchObject({ attempts: [{ attempt: 1 }] });
    expect(pages).toBe(2);
  });

  it('that is cut while it is read is said to be truncated', async () => {
    const storage = memoryStorage({ clock, maxEvents: 2_000 });
    await append(storage, ['task_started', 't', 1], ...many(1_500), ['task_completed', 't', 2]);
    let pages = 0;
    const cut: Storage = {
      ...storage,
      events: async (...call) => {
        const page = await storage.events(...call);
        pages += 1;
        if (pages === 1) await append(storage, ...many(1_990));
        return page;
      },
    };
    expect(await read(cut)).toMatchObject({ truncated: true, attempts: [{ attempt: 1 }] });
  });
});
