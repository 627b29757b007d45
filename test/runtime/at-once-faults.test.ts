/** Orphans that are claimed as they are found: lost proofs of death, doubles, late cancels. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { keys } from '../../src/state/keys.js';
import { PAGE } from '../../src/state/store.js';
import type { Storage } from '../../src/storage/storage.js';
import { settled } from '../support/manual-clock.js';
import { DeadWorkers } from './dead-workers.js';
import { alertsOf, SWEEP_MS, away, gate, LEASE_MS, trapUnhandledRejections, World } from './harness.js';

trapUnhandledRejections();

describe('orphans that are claimed as they are found, when something is wrong', () => {
  let world: World;
  let dead: DeadWorkers;
  beforeEach(() => {
    world = new World();
    dead = new DeadWorkers(world);
  });
  afterEach(() => world.end());

  const define: DeadWorkers['define'] = (...args) => dead.define(...args);
  const died: DeadWorkers['died'] = (...args) => dead.died(...args);

  it('a proof of death is not forgotten because the lease is over as well', async () => {
    await died(['a']);
    await world.clock.advance(LEASE_MS + 1);
    const next = world.proc({ born: '2', concurrency: 1 });
    define(next, 'n');
    await world.until((await next.recovery.runStartupRecovery()).finished);
    await expect(next.recovery.tasks.get('a')).resolves.toMatchObject({
      crashes: [{ cause: 'owner_dead', attempt: 1 }],
    });
  });

  it('nor with an outage seen since: the crash is charged', async () => {
    await died(['a']);
    await world.clock.advance(LEASE_MS + 1);
    const next = world.proc({ born: '2', concurrency: 1 });
    define(next, 'n');
    next.line.down = away();
    await next.recovery.tasks.get('a').catch(() => {});
    next.line.down = null;
    await world.until((await world.until(next.recovery.recover())).finished);
    await expect(next.recovery.tasks.get('a')).resolves.toMatchObject({
      attempt: 2,
      crashes: [{ cause: 'owner_dead', attempt: 1 }],
    });
  });

  it.each([
    [1, 1],
    [12, 1],
    [1, LEASE_MS + 1],
    [12, LEASE_MS + 1],
  ])('%i that a strategy skips are as many in the report after %i ms', async (many, waitMs) => {
    await died(Array.from({ length: many }, (_, at) => `t${at}`));
    await world.clock.advance(waitMs);
    let asked = 0;
    const next = world.proc({ born: '2', concurrency: 50 });
    define(next, 'n', {
      strategies: [
        { name: 'later', decide: () => ((asked += 1), { action: 'skip', reason: 'no', evidence: {} }) },
      ],
    });
    const report = await world.until((await next.recovery.runStartupRecovery()).finished);
    const { discovered, skipped } = report;
    expect({ discovered, skipped, asked, listed: report.tasks.length }).toEqual({
      discovered: many,
      skipped: many,
      asked: many,
      listed: many,
    });
  });

  it.each([1, 12])('%i that only others can decode are as many in the report', async (many) => {
    const codec = { encode: (text: string) => `x${text}`, decode: (text: string) => text.slice(1) };
    const first = world.proc({ codec });
    const task = define(first, 'n');
    for (let at = 0; at < many; at += 1) (await task.start(`t${at}`)).result.catch(() => {});
    await settled();
    first.crash();
    const next = world.proc({ born: '2', concurrency: 50 });
    define(next, 'n');
    const { skipped, tasks } = await world.until((await next.recovery.runStartupRecovery()).finished);
    expect({ skipped, listed: tasks.length }).toEqual({ skipped: many, listed: many });
  });

  // On one partition: of several, nobody knows what the others have.
  it.each([39, 40])(
    '40 found with %i slots: the first run while the rest is read, if all that may come have one',
    async (concurrency) => {
      const ids = Array.from({ length: 40 }, (_, at) => `t${at}`);
      await died(ids);
      const [rest, door] = [gate(), gate()];
      const read: Storage['read'] = async (partition, wanted, ...others) => {
        const reply = await world.memory.read(partition, wanted, ...others);
        if (wanted.length > 2 * 16) await rest.passed;
        return reply;
      };
      const next = world.proc({ born: '2', concurrency, over: { ...world.memory, read } });
      define(next, 'n', {}, door.passed);
      const starting = next.recovery.runStartupRecovery();
      for (let turn = 0; turn < 20; turn += 1) await settled();
      expect(dead.began).toHaveLength(concurrency === 40 ? 16 : 0);
      rest.open();
      door.open();
      const { finished } = await world.until(starting);
      await expect(world.until(finished)).resolves.toMatchObject({ discovered: 40, recovered: 40 });
      expect(new Set(dead.began)).toEqual(new Set(ids));
    },
  );

  it('a wish to cancel that comes while a found one waits for a slot is followed', async () => {
    await died(['a', 'b'], 'one');
    await died(['c', 'd'], 'two');
    const door = gate();
    const next = world.proc({ born: '2', concurrency: 2 });
    define(next, 'one', {}, door.passed);
    define(next, 'two', {}, door.passed);
    const [one, two] = [next.recovery.recover({ names: ['one'] }), next.recovery.recover({ names: ['two'] })];
    await settled();
    const waiting = ['a', 'b', 'c', 'd'].filter((id) => !dead.began.includes(id));
    expect(waiting).toHaveLength(2);
    for (const id of waiting) next.recovery.tasks.cancel(id, { reason: 'no' }).catch(() => {});
    await settled();
    door.open();
    for (const run of [one, two]) await world.until((await world.until(run)).finished);
    expect(dead.began).toHaveLength(2);
  });

  it('a shutdown between finding and claiming leaves a whole report and the tasks', async () => {
    await died(['a', 'b']);
    const next = world.proc({ born: '2' });
    define(next, 'n');
    const held = next.line.hold(
      ({ kind, batches }) =>
        kind === 'commit' &&
        batches.some(({ guard }) => guard.key.includes('a') && guard.key.includes('task')),
    );
    const held2 = next.line.hold(({ kind, keys }) => kind === 'read' && keys.some((k) => k.endsWith(':a')));
    const started = next.recovery.runStartupRecovery();
    started.catch(() => {});
    await settled();
    const over = next.recovery.shutdown({ timeoutMs: 1_000 });
    held2.release();
    held.release();
    await world.until(over);
    const said = await world.until(
      started.then(
        async (run) => (await run.finished).discovered,
        (error: unknown) => String(error),
      ),
    );
    expect(typeof said).toBe('number');
    const third = world.proc({ born: '3' });
    define(third, 'n');
    await world.until((await third.recovery.runStartupRecovery()).finished);
    for (const id of ['a', 'b'])
      await expect(third.recovery.tasks.get(id)).resolves.toMatchObject({ status: 'completed' });
  });

  it('two workers at once: each task runs once, and is charged once', async () => {
    await died(['a', 'b', 'c', 'd']);
    const procs = ['2', '2', '2'].map((born) => world.proc({ born }));
    for (const proc of procs) define(proc, 'n');
    const runs = await Promise.all(procs.map(({ recovery }) => recovery.runStartupRecovery()));
    const reports = await world.until(Promise.all(runs.map(({ finished }) => finished)));
    expect(dead.began.toSorted()).toEqual(['a', 'b', 'c', 'd']);
    expect(reports.reduce((sum, { recovered }) => sum + recovered, 0)).toBe(4);
    for (const id of ['a', 'b', 'c', 'd'])
      await expect(procs[0]?.recovery.tasks.get(id)).resolves.toMatchObject({ crashes: [{}] });
  });

  describe('too many together, so all go through the queue', () => {
    const queuedBy = async (concurrency: number): Promise<number> => {
      const next = world.proc({ born: '2', concurrency });
      define(next, 'n');
      await world.until((await next.recovery.runStartupRecovery()).finished);
      return next.line.commits.filter(({ set = [] }) =>
        set.some(({ fields }) => fields['status'] === 'orphaned'),
      ).length;
    };

    it('with those whose leases are over', async () => {
      const silent = world.proc({ born: '2' });
      const task = define(silent, 'n');
      for (const id of ['b', 'c']) (await task.start(id)).result.catch(() => {});
      await settled();
      silent.crash();
      await died(['a']);
      await world.clock.advance(LEASE_MS + 1);
      expect(await queuedBy(2)).toBe(3);
    });

    it('with those of the next page', async () => {
      await died(Array.from({ length: PAGE + 1 }, (_, at) => `t${at}`));
      expect(await queuedBy(PAGE)).toBe(PAGE + 1);
    });

    it('with those of many dead workers', async () => {
      for (let at = 0; at < 9; at += 1) await died([`t${at}`]);
      expect(await queuedBy(8)).toBe(9);
    });
  });

  it('a damaged one that its owner held and whose lease is over is told of once', async () => {
    await died(['a']);
    const key = keys.head('a');
    const { records } = await world.memory.read('rekindle:0', [key]);
    const token = records[0]?.get('token') ?? '';
    await world.memory.commit('rekindle:0', [
      { guard: { key, expect: token, next: `${token}1` }, set: [{ key, fields: { status: 'odd' } }] },
    ]);
    await world.clock.advance(LEASE_MS + 1);
    const next = world.proc({ born: '2' });
    define(next, 'n');
    await world.until((await next.recovery.runStartupRecovery()).finished);
    expect(alertsOf(next.heard).filter((kind) => kind === 'corrupt_record')).toHaveLength(1);
  });

  it.each([2, 3, 4])(
    'one that kills each process is given up after %i crashes, and no sooner',
    async (count) => {
      let runs = 0;
      for (let round = 0; round < 12; round += 1) {
        const proc = world.proc({ born: `b${round}` });
        const task = proc.recovery.withRecovery<[string], string>(
          () => {
            runs += 1;
            proc.crash();
            return new Promise(() => {});
          },
          { name: 'n', taskId: (id) => id, maxCrashes: { count, windowMs: 86_400_000 } },
        );
        if (round === 0) void task.start('k').catch(() => {});
        else void proc.recovery.runStartupRecovery().catch(() => {});
        await world.clock.advance(400_000);
        if (proc.line.dead) continue;
        await expect(proc.recovery.tasks.get('k')).resolves.toMatchObject({ status: 'dead_letter' });
        break;
      }
      expect(runs).toBe(count);
    },
  );

  it('several workers, one after another or at once, with few slots and many: each runs once', async () => {
    const ids = Array.from({ length: 30 }, (_, at) => `t${at}`);
    await died(ids);
    await world.clock.advance(LEASE_MS + 1);
    const procs = [1, 7, 40, 29].map((concurrency) => world.proc({ born: '2', concurrency }));
    for (const proc of procs) define(proc, 'n');
    const runs = await world.until(Promise.all(procs.map(({ recovery }) => recovery.runStartupRecovery())));
    await world.until(Promise.all(runs.map(({ finished }) => finished)));
    await world.clock.advance(SWEEP_MS + 1);
    expect(dead.began.toSorted()).toEqual(ids.toSorted());
    for (const id of ids) {
      const { status, crashes } = (await procs[0]?.recovery.tasks.get(id)) ?? {};
      expect([id, status, crashes?.length]).toEqual([id, 'completed', 1]);
    }
  });
});
