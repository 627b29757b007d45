import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { indexes, keys } from '../../src/state/keys.js';
import {
  alertsOf,
  LEASE_MS,
  rejectionOf,
  SWEEP_MS,
  trapUnhandledRejections,
  untilAborted,
  World,
} from './harness.js';

trapUnhandledRejections();

const HOME = 'rekindle:0';

describe.each([1, 3])('a worker, on %i partitions', (partitions) => {
  let world: World;
  beforeEach(() => void (world = new World(partitions)));
  afterEach(() => world.end());

  const workers = async (): Promise<string[]> =>
    (await world.memory.range(HOME, indexes.workers, { limit: 10 })).entries.map(({ id }) => id);

  it('does not go on in a namespace with another number of partitions', async () => {
    await world.proc().recovery.recover();
    const { recovery, line } = world.proc({ over: { ...world.memory, partitions: partitions + 1 } });
    const task = recovery.withRecovery(() => 1, { name: 'n' });
    const details = { field: 'partitions', found: String(partitions), expected: String(partitions + 1) };
    const mismatch = { code: 'LAYOUT_MISMATCH', retryable: false, details };
    expect(await rejectionOf(recovery.runStartupRecovery({ onUnavailable: 'continue' }))).toMatchObject(
      mismatch,
    );
    expect(await rejectionOf(task())).toMatchObject(mismatch);
    expect(await rejectionOf(recovery.planRecovery())).toMatchObject(mismatch);
    expect(line.commits).toEqual([]);
  });

  it('another namespace in the same storage is another world', async () => {
    const [one, two] = [world.proc(), world.proc({ namespace: 'other' })];
    const task = one.recovery.withRecovery(() => 1, { name: 'n', taskId: () => 't' });
    await task();
    await expect(two.recovery.tasks.get('t')).resolves.toBeNull();
    await expect(two.recovery.tasks.counts()).resolves.toMatchObject({ completed: 0 });
  });

  it('is known as long as it lives; a dead one is taken off the books when it holds nothing', async () => {
    const dead = world.proc({ born: '100' });
    await dead.recovery.recover();
    expect(await workers()).toHaveLength(1);
    dead.crash();
    const { recovery } = world.proc({ born: '200' });
    await recovery.runStartupRecovery();
    expect(await workers()).toHaveLength(1);
    const [own] = await workers();
    const { records } = await world.memory.read(HOME, [keys.worker(own ?? '')]);
    expect(records[0]?.get('startTime')).toBe('200');
  });

  it('one that is only silent is forgotten after a day', async () => {
    const silent = world.proc();
    await silent.recovery.recover();
    silent.crash();
    const { recovery } = world.proc();
    await recovery.runStartupRecovery();
    expect(await workers()).toHaveLength(2);
    await world.clock.advance(5 * SWEEP_MS);
    expect(await workers()).toHaveLength(2);
    world.clock.stepWall(25 * 3_600_000);
    await world.clock.advance(3 * SWEEP_MS);
    expect(await workers()).toHaveLength(1);
  });

  it('signs on again when the storage has lost its record', async () => {
    const { recovery } = world.proc();
    const task = recovery.withRecovery((_ctx, id: string) => id, { name: 'n', taskId: (id) => id });
    await task('a');
    const [own = ''] = await workers();
    const { records } = await world.memory.read(HOME, [keys.worker(own)]);
    const guard = { key: keys.worker(own), expect: records[0]?.get('token') ?? '', next: null };
    await world.memory.commit(HOME, [
      {
        guard,
        index: [
          { index: indexes.workers, id: own, score: null },
          { index: indexes.names, id: 'n', score: null },
        ],
      },
    ]);
    await world.clock.advance(LEASE_MS);
    await expect(task('b')).resolves.toBe('b');
    expect(await workers()).toEqual([own]);
    expect((await world.memory.range(HOME, indexes.names, { limit: 10 })).entries).toHaveLength(1);
  });

  it('one that finds another in its slot stops, aborts its tasks and says so', async () => {
    const first = world.proc({ slot: 'worker-0' });
    const task = first.recovery.withRecovery(untilAborted, { name: 'n', taskId: () => 't' });
    const { result } = await task.start();
    const ended = rejectionOf(result);
    await first.recovery.runStartupRecovery();
    const second = world.proc({ slot: 'worker-0' });
    await second.recovery.recover();
    await world.clock.advance(LEASE_MS);
    const conflict = { code: 'SLOT_CONFLICT', details: { slot: 'worker-0' } };
    expect(await ended).toMatchObject(conflict);
    expect(alertsOf(first.heard)).toContain('slot_conflict');
    expect(await rejectionOf(task())).toMatchObject(conflict);
    expect(await rejectionOf(first.recovery.recover())).toMatchObject(conflict);
    expect(alertsOf(second.heard)).toEqual([]);
    await second.recovery.recover();
  });
});
