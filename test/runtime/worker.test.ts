import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { indexes, keys } from '../../src/state/keys.js';
import { settled } from '../support/manual-clock.js';
import {
  alertsOf,
  LEASE_MS,
  rejectionOf,
  SWEEP_MS,
  trapUnhandledRejections,
  untilAborted,
  World,
} from './harness.js';

import { writeOver } from './documents-lab.js';
import { startQuietly } from './lab.js';

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

  it('begins nothing before it has signed on again', async () => {
    const { recovery, line } = world.proc();
    const task = recovery.withRecovery((_ctx, id: string) => id, { name: 'n', taskId: (id) => id });
    await task('a');
    const [own = ''] = await workers();
    const { records } = await world.memory.read(HOME, [keys.worker(own)]);
    const guard = { key: keys.worker(own), expect: records[0]?.get('token') ?? '', next: null };
    await world.memory.commit(HOME, [{ guard }]);
    const again = line.hold(
      ({ kind, batches }) =>
        kind === 'commit' &&
        batches.some((batch) => batch.guard.key === guard.key && batch.guard.expect === null),
    );
    await world.clock.advance(LEASE_MS);
    await again.reached;
    const started = task('b');
    await settled();
    await expect(recovery.tasks.get('b')).resolves.toBeNull();
    again.release();
    await expect(started).resolves.toBe('b');
  });

  const recordOf = async (): Promise<ReadonlyMap<string, string>> => {
    const [own = ''] = await workers();
    return (await world.memory.read(HOME, [keys.worker(own)])).records[0] ?? new Map();
  };

  it('tells with its beats when the oldest of its attempts began', async () => {
    const { recovery } = world.proc();
    const ends = new Map<string, () => void>();
    const task = recovery.withRecovery(
      (_ctx, id: string) => new Promise<void>((resolve) => void ends.set(id, resolve)),
      { name: 'n', taskId: (id) => id },
    );
    const oldest = async (): Promise<number | null> => {
      await world.clock.advance(LEASE_MS / 3);
      const at = (await recordOf()).get('oldestAt') ?? '';
      const { oldest_processing_seconds: seconds } = await world.proc().recovery.health();
      expect(seconds).toBe(at === '' ? null : (world.clock.wallMs() - Number(at)) / 1_000);
      return at === '' ? null : Number(at);
    };
    await recovery.recover();
    expect(await oldest()).toBeNull();
    const begunMs: number[] = [];
    for (const id of ['a', 'b', 'c']) {
      begunMs.push(world.clock.wallMs());
      await startQuietly(task, id);
      expect(await oldest()).toBe(begunMs[0]);
    }
    ends.get('b')?.();
    expect(await oldest()).toBe(begunMs[0]);
    ends.get('a')?.();
    expect(await oldest()).toBe(begunMs[2]);
    ends.get('c')?.();
    expect(await oldest()).toBeNull();
  });

  it('tells it anew when the storage has lost its record', async () => {
    const { recovery } = world.proc();
    const task = recovery.withRecovery(untilAborted, { name: 'n', taskId: () => 't' });
    const begunMs = world.clock.wallMs();
    await startQuietly(task);
    await world.clock.advance(LEASE_MS / 3);
    expect((await recordOf()).get('oldestAt')).toBe(String(begunMs));
    const [own = ''] = await workers();
    const guard = { key: keys.worker(own), expect: (await recordOf()).get('token') ?? '', next: null };
    await world.memory.commit(HOME, [{ guard, index: [{ index: indexes.workers, id: own, score: null }] }]);
    expect(await recordOf()).toEqual(new Map());
    await world.clock.advance(LEASE_MS);
    expect((await recordOf()).get('oldestAt')).toBe(String(begunMs));
  });

  it('is asked no more when it is silent, or when something else stands there', async () => {
    const dead = world.proc();
    await startQuietly(dead.recovery.withRecovery(untilAborted, { name: 'n', taskId: () => 't' }));
    await world.clock.advance(LEASE_MS / 3);
    const { recovery } = world.proc();
    const oldest = async (): Promise<number | null> => (await recovery.health()).oldest_processing_seconds;
    expect(await oldest()).toBe(LEASE_MS / 3_000);
    const [own = ''] = await workers();
    const real = await recordOf();
    for (const foreign of ['soon', '-5', 'Infinity']) {
      await writeOver(world, keys.worker(own), { oldestAt: foreign });
      expect(await oldest()).toBeNull();
    }
    await writeOver(world, keys.worker(own), { oldestAt: real.get('oldestAt') ?? '' });
    expect(await oldest()).toBe(LEASE_MS / 3_000);
    dead.crash();
    await world.clock.advance(LEASE_MS + 1);
    expect(await oldest()).toBeNull();
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
