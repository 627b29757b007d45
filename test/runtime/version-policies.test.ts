import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { RecoveryContext } from '../../src/runtime/context.js';
import { settled } from '../support/manual-clock.js';
import {
  alertsOf,
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

describe.each([1, 3])('onVersionMismatch, on %i partitions', (partitions) => {
  let world: World;
  beforeEach(() => void (world = new World(partitions)));
  afterEach(() => world.end());

  it('without migrate it starts again, once, with an alert; steps are kept', async () => {
    await leftBehind(world);
    const next = world.proc();
    const runs: unknown[] = [];
    const fn = async (ctx: RecoveryContext): Promise<unknown> => {
      runs.push(await looked(ctx));
      if (ctx.attempt > 2) return 'done';
      await ctx.createCheckpoint({ name: 'again', progressPercent: 5, recoverableData: 'new' });
      return untilAborted(ctx);
    };
    define(next, { version: '2' }, fn);
    await next.recovery.runStartupRecovery();
    await settled();
    expect(runs).toEqual([
      { from: null, data: null, state: null, last: null, reached: false, step: 'receipt 1' },
    ]);
    expect(next.heard.find(({ event }) => event === 'alert')?.details).toMatchObject({
      kind: 'version_mismatch',
      from: '1',
      to: '2',
      decision: 'restart',
    });
    await die(world, next);
    const last = world.proc();
    await expect(define(last, { version: '2' }, fn)()).resolves.toBe('done');
    expect(runs[1]).toMatchObject({ from: 'again', data: 'new', step: 'receipt 1' });
    expect(alertsOf(last.heard)).toEqual([]);
  });

  it('`resume` takes what there is as it is, with an alert', async () => {
    await leftBehind(world);
    const next = world.proc();
    const task = define(next, { version: '2', onVersionMismatch: 'resume' }, looked);
    await expect(task()).resolves.toMatchObject({ from: 'two', data: { row: 2 }, reached: true });
    expect(next.heard.find(({ event }) => event === 'alert')?.details).toMatchObject({
      kind: 'version_mismatch',
      decision: 'resume',
    });
  });

  it('`quarantine` keeps it as a dead letter; requeued, fixed code goes on from the checkpoint', async () => {
    await leftBehind(world);
    const next = world.proc();
    const quarantine = { version: '2', onVersionMismatch: 'quarantine' } as const;
    let runs = 0;
    const task = define(next, quarantine, () => (runs += 1));
    await expect(swept(world, next)).resolves.toMatchObject({
      recovered: 0,
      deadLettered: 1,
      tasks: [{ decision: 'dead_letter', outcome: 'dead_letter', reason: expect.stringContaining('"2"') }],
    });
    expect(namesOf(next.heard)).toContain('dead_lettered');
    expect(await rejectionOf(task())).toMatchObject({ code: 'TASK_DEAD_LETTER' });
    await world.clock.advance(3 * SWEEP_MS);
    expect(runs).toBe(0);
    expect((await next.recovery.tasks.deadLetters()).tasks).toMatchObject([
      { taskId: 't', version: '1', error: { message: expect.stringContaining('version "1"') } },
    ]);
    await next.recovery.tasks.requeue('t');
    await world.clock.advance(SWEEP_MS);
    await expect(next.recovery.tasks.get('t')).resolves.toMatchObject({ status: 'dead_letter' });
    await next.recovery.shutdown();
    const fixed = world.proc();
    await fixed.recovery.tasks.requeue('t');
    const migrate: Migrate = () => ({ recoverableData: 'migrated' });
    const again = define(fixed, { ...quarantine, migrate }, looked);
    await expect(again()).resolves.toMatchObject({ data: 'migrated', step: 'receipt 1' });
  });

  it('`quarantine` tells so with an alert, too', async () => {
    await leftBehind(world);
    const next = world.proc();
    define(next, { version: '2', onVersionMismatch: 'quarantine' }, () => 1);
    await swept(world, next);
    expect(next.heard.find(({ event }) => event === 'alert')?.details).toMatchObject({
      kind: 'version_mismatch',
      from: '1',
      to: '2',
      decision: 'dead_letter',
    });
  });

  it('the same version asks nobody anything, and an older one takes it back the same way', async () => {
    await leftBehind(world, { version: 'b' });
    let asked = 0;
    const migrate: Migrate = () => ({ recoverableData: `asked ${(asked += 1)}` });
    const proc = world.proc();
    const same = define(proc, { version: 'b', migrate }, async (ctx) => {
      expect(ctx.resumedFrom?.recoverableData).toEqual({ row: 2 });
      return untilAborted(ctx);
    });
    await startQuietly(same);
    expect([asked, alertsOf(proc.heard)]).toEqual([0, []]);
    await die(world, proc);
    const older = define(world.proc(), { version: 'a', migrate }, looked);
    await expect(older()).resolves.toMatchObject({ data: 'asked 1' });
  });
});
