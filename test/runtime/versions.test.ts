import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { RecoveryContext } from '../../src/runtime/context.js';
import { settled } from '../support/manual-clock.js';
import {
  alertsOf,
  gate,
  LEASE_MS,
  namesOf,
  rejectionOf,
  SWEEP_MS,
  trapUnhandledRejections,
  untilAborted,
  World,
} from './harness.js';
import { die, startQuietly, swept } from './lab.js';
import { define, leftBehind, looked } from './version-lab.js';
import type { VersionOptions } from './version-lab.js';

trapUnhandledRejections();

type Migrate = NonNullable<VersionOptions['migrate']>;

describe.each([1, 3])('versions, on %i partitions', (partitions) => {
  let world: World;
  beforeEach(() => void (world = new World(partitions)));
  afterEach(() => world.end());

  it('migrate gets the checkpoint and its version, and its answer is what the function resumes from', async () => {
    await leftBehind(world);
    const next = world.proc();
    const asked: unknown[] = [];
    const migrate: Migrate = async (checkpoint, from) => {
      asked.push([checkpoint, from]);
      return { recoverableData: { rows: [checkpoint.recoverableData] } };
    };
    const task = define(next, { version: '2', migrate }, looked);
    const data = { rows: [{ row: 2 }] };
    expect(await task()).toEqual({
      from: 'two',
      data,
      state: null,
      last: data,
      reached: true,
      step: 'receipt 1',
    });
    expect(asked).toEqual([
      [
        expect.objectContaining({
          name: 'two',
          seq: 2,
          version: '1',
          recoverableData: { row: 2 },
          databaseState: 'rows: 2',
        }),
        '1',
      ],
    ]);
    // What is stored stays as it was made.
    await expect(next.recovery.checkpoints.latest('t')).resolves.toMatchObject({
      version: '1',
      recoverableData: { row: 2 },
      databaseState: 'rows: 2',
    });
    await expect(next.recovery.tasks.get('t')).resolves.toMatchObject({ version: '2' });
    expect(alertsOf(next.heard)).toEqual([]);
    expect(next.heard.find(({ event }) => event === 'recovery_started')?.details).toMatchObject({
      version_from: '1',
      version_to: '2',
    });
  });

  it('migrates again after a crash before the next checkpoint, and not after one', async () => {
    await leftBehind(world);
    const asked: unknown[] = [];
    const migrate: Migrate = ({ recoverableData }, from) => {
      asked.push([recoverableData, from]);
      return { recoverableData: { migrated: asked.length } };
    };
    const found: unknown[] = [];
    const fn = async (ctx: RecoveryContext): Promise<unknown> => {
      found.push(ctx.resumedFrom?.recoverableData);
      if (ctx.attempt === 3) {
        await ctx.updateProgress(70);
        expect(ctx.lastCheckpoint).toMatchObject({ recoverableData: { migrated: 2 } });
        await ctx.createCheckpoint({ name: 'new', progressPercent: 80, recoverableData: { of: 2 } });
      }
      return ctx.attempt < 4 ? untilAborted(ctx) : ctx.resumedFrom;
    };
    for (let attempt = 2; attempt < 4; attempt += 1) {
      const proc = world.proc();
      await startQuietly(define(proc, { version: '2', migrate, maxCrashes: 9 }, fn));
      await die(world, proc);
    }
    const result = await define(world.proc(), { version: '2', migrate, maxCrashes: 9 }, fn)();
    expect(result).toMatchObject({ name: 'new', version: '2', recoverableData: { of: 2 } });
    expect(found).toEqual([{ migrated: 1 }, { migrated: 2 }, { of: 2 }]);
    expect(asked).toEqual([
      [{ row: 2 }, '1'],
      [{ row: 2 }, '1'],
    ]);
  });

  it('an automatic checkpoint since then carries the migrated data, too', async () => {
    const old = world.proc();
    const options = { name: 'n', taskId: (): string => 't', checkpointFrequency: 10 };
    const first = old.recovery.withRecovery<[], unknown>(async (ctx) => {
      await ctx.createCheckpoint({ name: 'one', progressPercent: 10, recoverableData: 'old' });
      await ctx.updateProgress(70);
      return untilAborted(ctx);
    }, options);
    await startQuietly(first);
    await die(world, old);
    const found = world
      .proc()
      .recovery.withRecovery<[], unknown>((ctx) => [ctx.lastCheckpoint, ctx.resumedFrom], {
        ...options,
        version: '2',
        migrate: () => ({ recoverableData: 'new', databaseState: 'rows' }),
      });
    const migrated = { recoverableData: 'new', databaseState: 'rows', version: '2' };
    await expect(found()).resolves.toMatchObject([
      { automatic: true, progressPercent: 70, ...migrated },
      { automatic: false, name: 'one', progressPercent: 10, ...migrated },
    ]);
  });

  it.each<[string, Migrate, string]>([
    [
      'throws',
      () => {
        throw new Error('no such column');
      },
      'no such column',
    ],
    ['rejects', () => Promise.reject(new Error('no such column')), 'no such column'],
    ['answers nothing', () => JSON.parse('null'), 'migrate must answer'],
    ['answers what JSON cannot hold', () => ({ recoverableData: { at: new Date(0) } }), 'JSON'],
    ['answers too much', () => ({ recoverableData: 'x'.repeat(1024 * 1024) }), 'limit'],
  ])(
    'migrate %s: failed, not run, the checkpoint as it was; requeued it goes on after a fix',
    async (_, migrate, why) => {
      await leftBehind(world);
      const next = world.proc();
      let runs = 0;
      const task = define(next, { version: '2', migrate }, () => (runs += 1));
      expect(await rejectionOf(task())).toMatchObject({
        code: 'MIGRATION_FAILED',
        message: expect.stringContaining(why),
        details: { taskId: 't', from: '1', to: '2' },
      });
      expect(runs).toBe(0);
      await expect(next.recovery.tasks.get('t')).resolves.toMatchObject({
        status: 'failed',
        error: { code: 'MIGRATION_FAILED' },
      });
      await world.clock.advance(2 * SWEEP_MS);
      const fixed = world.proc();
      const fine: Migrate = (checkpoint) => ({ recoverableData: checkpoint.recoverableData });
      define(fixed, { version: '2', migrate: fine }, async (ctx) => ctx.resumedFrom?.recoverableData);
      await fixed.recovery.tasks.requeue('t');
      await expect(swept(world, fixed)).resolves.toMatchObject({ recovered: 1, failed: 0 });
      await expect(fixed.recovery.tasks.get('t')).resolves.toMatchObject({ status: 'completed' });
      await expect(define(world.proc(), {}, () => 'unused')()).resolves.toEqual({ row: 2 });
    },
  );

  /** A migrate that hangs until it is let go on. */
  async function hanging() {
    await leftBehind(world);
    const next = world.proc();
    const answer = gate();
    let runs = 0;
    const migrate: Migrate = () => answer.passed.then(() => ({}));
    const call = rejectionOf(define(next, { version: '2', migrate }, () => (runs += 1))());
    await settled();
    return { next, call, answer, ran: () => runs };
  }

  it('migrate never answers: a shutdown gives the task back uncharged', async () => {
    const { next, call, answer, ran } = await hanging();
    await world.until(next.recovery.shutdown({ timeoutMs: 1_000 }));
    expect(await call).toMatchObject({ code: 'SHUT_DOWN' });
    answer.open();
    await settled();
    expect(ran()).toBe(0);
    const { tasks } = world.proc().recovery;
    await expect(tasks.get('t')).resolves.toMatchObject({
      status: 'orphaned',
      orphanCause: 'released',
      crashes: [{ attempt: 1 }],
    });
  });

  it('migrate never answers: cancelled, it ends cancelled, and a late answer changes nothing', async () => {
    const { next, call, answer, ran } = await hanging();
    await expect(next.recovery.tasks.cancel('t')).resolves.toBe('requested');
    expect(await call).toMatchObject({ code: 'TASK_CANCELLED' });
    answer.open();
    await world.clock.advance(LEASE_MS);
    expect(ran()).toBe(0);
    await expect(next.recovery.tasks.get('t')).resolves.toMatchObject({ status: 'cancelled' });
    expect(alertsOf(next.heard)).toEqual([]);
  });

  it('migrate never answers and the lease is lost: it does not run as a zombie', async () => {
    const { next, call, answer, ran } = await hanging();
    world.clock.stepWall(LEASE_MS + 1);
    await expect(define(world.proc(), { version: '2' }, () => 'there')()).resolves.toBe('there');
    await world.clock.advance(LEASE_MS / 2);
    answer.open();
    expect(await call).toMatchObject({ code: 'LEASE_LOST' });
    expect(ran()).toBe(0);
    expect(namesOf(next.heard)).toContain('lease_lost');
  });
});
