import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { RecoveryError } from '../../src/errors.js';
import { defaultStrategies } from '../../src/recovery/strategies.js';
import type { RecoveryStrategy } from '../../src/domain/task.js';
import type { RecoveryContext } from '../../src/runtime/context.js';
import { nextTrial } from '../../src/runtime/suspects.js';
import { keys } from '../../src/state/keys.js';
import { settled } from '../support/manual-clock.js';
import { LEASE_MS, trapUnhandledRejections, World } from './harness.js';
import type { Call } from './harness.js';
import { die, fieldsOf, startQuietly, watched } from './lab.js';
import { byId, crashTwice, hang, later, minutes, statesOf, suspects } from './suspect-lab.js';

trapUnhandledRejections();

describe('suspects and those that run beside them', () => {
  let world: World;
  beforeEach(() => void (world = new World()));
  afterEach(() => world.end());

  it('an innocent suspect is not given up for what another that has crashed does beside it', async () => {
    const runs: string[] = [];
    const start = () => {
      const proc = world.proc();
      const innocent = proc.recovery.withRecovery(async ({ taskId }: RecoveryContext, _id: string) => {
        runs.push(taskId);
        await later(world, 20_000);
        return 'fine';
      }, byId('innocent'));
      const poison = proc.recovery.withRecovery(async ({ taskId }: RecoveryContext, _id: string) => {
        runs.push(taskId);
        await later(world, 2_000);
        proc.crash();
        return hang();
      }, byId('poison'));
      return { proc, innocent, poison };
    };
    // A power cut.
    let now = start();
    await startQuietly(now.innocent, 'i');
    await world.clock.advance(1_000);
    await die(world, now.proc);
    // The poison arrives in the next one, which has taken the innocent one back.
    now = start();
    await world.until(now.proc.recovery.runStartupRecovery());
    await startQuietly(now.poison, 'p');
    await world.clock.advance(3_000);
    for (let round = 0; round < 20 && now.proc.line.dead; round += 1) {
      await world.clock.advance(LEASE_MS + 1);
      now = start();
      await world.until(now.proc.recovery.runStartupRecovery());
      for (let second = 0; second < 120 && !now.proc.line.dead; second += 1) await world.clock.advance(1_000);
    }
    expect(now.proc.line.dead).toBe(false);
    await expect(statesOf(now.proc.recovery)).resolves.toEqual({ i: 'completed', p: 'dead_letter' });
    expect(runs.filter((id) => id === 'p').length).toBeLessThanOrEqual(6);
  });

  it('one that holds the only slot and waits for a suspect is not waited for by the suspects', async () => {
    await suspects(world, ['a', 'b']);
    const old = world.proc();
    await startQuietly(old.recovery.withRecovery(hang, { name: 'n', taskId: () => 'n' }));
    await die(world, old);
    await world.clock.advance(10_000);
    const { recovery } = world.proc({ concurrency: 1 });
    const suspect = recovery.withRecovery((_ctx, id: string) => id, byId('s'));
    recovery.withRecovery(
      async () => {
        await later(world, 100);
        return suspect('b');
      },
      { name: 'n', taskId: () => 'n' },
    );
    const run = await world.until(recovery.runStartupRecovery());
    await expect(world.until(run.finished)).resolves.toMatchObject({ failed: 0 });
    await minutes(world, 5);
    await expect(statesOf(recovery)).resolves.toEqual({ a: 'completed', b: 'completed', n: 'completed' });
  });

  it('a suspect that waits for another one takes it into its trial', async () => {
    for (const ranMs of [10, 3_600_000]) {
      const proc = world.proc();
      const child = proc.recovery.withRecovery(hang, { name: 'child', taskId: () => 'c' });
      const parent = proc.recovery.withRecovery(() => child(), { name: 'aparent', taskId: () => 'p' });
      await startQuietly(parent);
      await world.clock.advance(ranMs);
      await die(world, proc);
    }
    const { recovery } = world.proc();
    const suspectsThen: (string | undefined)[] = [];
    const child = recovery.withRecovery(
      async () => {
        const owner = (await recovery.tasks.get('c'))?.owner ?? '';
        suspectsThen.push((await fieldsOf(world, keys.worker(owner)))?.['suspects']);
        return 'child';
      },
      { name: 'child', taskId: () => 'c' },
    );
    const parent = recovery.withRecovery(() => child(), { name: 'aparent', taskId: () => 'p' });
    // It ran for an hour before its second crash, and would be on trial for two.
    await expect(world.until(parent())).resolves.toBe('child');
    expect(suspectsThen).toEqual(['2']);
  });

  it('the same when a sweep finds them both', async () => {
    for (const ranMs of [10, 3_600_000]) {
      const proc = world.proc();
      const child = proc.recovery.withRecovery(hang, { name: 'child', taskId: () => 'c' });
      const parent = proc.recovery.withRecovery(() => child(), {
        name: 'aparent',
        taskId: () => 'p',
        priority: 5,
      });
      await startQuietly(parent);
      await world.clock.advance(ranMs);
      await die(world, proc);
    }
    const { recovery } = world.proc();
    const child = recovery.withRecovery(() => 'child', { name: 'child', taskId: () => 'c' });
    recovery.withRecovery(() => child(), { name: 'aparent', taskId: () => 'p', priority: 5 });
    await world.until(recovery.runStartupRecovery());
    await world.clock.advance(60_000);
    await expect(statesOf(recovery)).resolves.toEqual({ c: 'completed', p: 'completed' });
  });

  it('a trial has no more than `concurrency` suspects', async () => {
    await suspects(world, ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h']);
    await world.clock.advance(10_000);
    const { recovery } = world.proc({ concurrency: 2 });
    const at = { now: 0, most: 0 };
    recovery.withRecovery(async (_ctx, _id: string) => {
      at.now += 1;
      at.most = Math.max(at.most, at.now);
      await later(world, 200);
      at.now -= 1;
    }, byId('s'));
    const run = await world.until(recovery.runStartupRecovery());
    await expect(world.until(run.finished)).resolves.toMatchObject({ recovered: 8, failed: 0 });
    expect(at.most).toBe(2);
  });

  it('leaves no count behind when the one that declares it is refused', async () => {
    await suspects(world, ['a']);
    const proc = world.proc();
    const suspect = proc.recovery.withRecovery((_ctx, id: string) => id, byId('s'));
    const other = proc.recovery.withRecovery(hang, { name: 'n', taskId: () => 'n' });
    await startQuietly(other);
    const owner = (await proc.recovery.tasks.get('n'))?.owner ?? '';
    const held = proc.line.hold(
      ({ kind, batches }) => kind === 'commit' && JSON.stringify(batches).includes('"suspects":"1"'),
    );
    const call = watched(suspect('a'));
    await world.until(held.reached);
    proc.line.down = new RecoveryError('STORAGE_UNAVAILABLE', 'No.', { retryable: false });
    held.release();
    await settled();
    proc.line.down = null;
    expect(call.state).toBe('rejected');
    // With the next renewals, too.
    await world.clock.advance(3 * LEASE_MS);
    expect((await fieldsOf(world, keys.worker(owner)))?.['suspects'] ?? '0').toBe('0');
    await expect(world.until(suspect('a'))).resolves.toBe('a');
  });

  it('strategies cannot change what is known of its crashes', async () => {
    const sorter: RecoveryStrategy = {
      name: 'sorter',
      decide: ({ crashes }) => {
        Reflect.apply(Array.prototype.reverse, crashes, []);
        Reflect.set(crashes, 'length', 1);
        return null;
      },
    };
    for (let crash = 0; crash < 3; crash += 1) {
      const proc = world.proc({ strategies: [sorter, ...defaultStrategies()], maxCrashes: 8 });
      const task = proc.recovery.withRecovery(hang, { name: 's', taskId: () => 'x' });
      task.start().then(
        ({ result }) => result.catch(() => {}),
        () => {},
      );
      await world.clock.advance(100);
      await die(world, proc);
    }
    const { recovery } = world.proc();
    const crashes = (await recovery.tasks.get('x'))?.crashes ?? [];
    expect(crashes.map(({ attempt }) => attempt)).toEqual([1, 2]);
  });

  it('claims none that waited for its turn once a shutdown has begun', async () => {
    await suspects(world, ['a', 'b']);
    const proc = world.proc();
    const runs: string[] = [];
    const suspect = proc.recovery.withRecovery(async (ctx: RecoveryContext, id: string) => {
      runs.push(id);
      for (;;) {
        await later(world, 100);
        await ctx.updateProgress(1);
      }
    }, byId('s'));
    const first = watched(suspect('a'));
    await world.clock.advance(100);
    const second = watched(suspect('b'));
    await world.clock.advance(100);
    expect(runs).toEqual(['a']);
    await world.until(proc.recovery.shutdown());
    expect([first.value, second.value]).toMatchObject([{ code: 'SHUT_DOWN' }, { code: 'SHUT_DOWN' }]);
    expect(runs).toEqual(['a']);
    await expect(world.proc().recovery.tasks.get('b')).resolves.toMatchObject({
      status: 'orphaned',
      attempt: 2,
    });
  });

  /** A shutdown begins while this call of a suspect that has its turn is under way. */
  async function expectNoClaim(wants: (call: Call) => boolean): Promise<void> {
    await suspects(world, ['a']);
    const proc = world.proc();
    const runs: string[] = [];
    const suspect = proc.recovery.withRecovery((_ctx, id: string) => void runs.push(id), byId('s'));
    const held = proc.line.hold((call) => wants(call));
    const call = watched(suspect('a'));
    await world.until(held.reached);
    const shutdown = proc.recovery.shutdown();
    await settled();
    held.release();
    await world.until(shutdown);
    expect(call).toMatchObject({ state: 'rejected', value: { code: 'SHUT_DOWN' } });
    expect(runs).toEqual([]);
    await expect(world.proc().recovery.tasks.get('a')).resolves.toMatchObject({
      status: 'orphaned',
      attempt: 2,
    });
  }

  it('nor one that had its turn, and is looked at once more then', () =>
    expectNoClaim(({ kind, keys: read }) => kind === 'read' && read[0] === keys.control('a')));

  // A bug that is left: nobody asks whether a shutdown has begun between a turn and its claim. None of the user's code
  // runs, but the task is claimed, counts an attempt, and is given back.
  it('nor one whose turn is just being declared then', () =>
    expectNoClaim(
      ({ kind, batches }) => kind === 'commit' && JSON.stringify(batches).includes('"suspects":"1"'),
    ));

  it('the next trial of very many is found in no time', () => {
    const many = Array.from({ length: 200_000 }, (_, task) => ({ task, together: null }));
    expect(nextTrial(many)).toHaveLength(100_000);
    expect(nextTrial([...many, { task: -1, together: 7 }])).toHaveLength(100_000);
    expect(nextTrial(many.map(({ task }) => ({ task, together: 3 })))).toEqual([0, 1, 2]);
  });

  it('very many that wait are admitted in time', async () => {
    await crashTwice(
      world,
      Array.from({ length: 60 }, (_, index) => `t${index}`),
    );
    const { recovery } = world.proc({ concurrency: 7 });
    recovery.withRecovery((_ctx, id: string) => id, byId('s'));
    const run = await world.until(recovery.runStartupRecovery());
    await world.until(run.finished);
    await minutes(world, 2);
    await expect(recovery.tasks.counts('s')).resolves.toMatchObject({ completed: 60 });
  });
});
