/** Orphans that are claimed as they are found: what becomes of them when the storage fails. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { RecoveryError } from '../../src/errors.js';
import { keys } from '../../src/state/keys.js';
import type { Storage } from '../../src/storage/storage.js';
import { settled } from '../support/manual-clock.js';
import { DeadWorkers } from './dead-workers.js';
import { alertsOf, rejectionOf, away, gate, LEASE_MS, trapUnhandledRejections, World } from './harness.js';

trapUnhandledRejections();

describe('orphans that are claimed as they are found, when the storage fails', () => {
  let world: World;
  let dead: DeadWorkers;
  beforeEach(() => {
    world = new World();
    dead = new DeadWorkers(world);
  });
  afterEach(() => world.end());

  const define: DeadWorkers['define'] = (...args) => dead.define(...args);
  const died: DeadWorkers['died'] = (...args) => dead.died(...args);

  /** Fails for the index that is looked at last. */
  const failingCount: Storage['count'] = (...args) =>
    args[1].includes('stuck') ? Promise.reject(away()) : world.memory.count(...args);

  it('a start whose last look fails tells of it, and what it has claimed is in its report', async () => {
    await died(['a']);
    const door = gate();
    const next = world.proc({ born: '2', over: { ...world.memory, count: failingCount } });
    define(next, 'n', {}, door.passed);
    const run = await world.until(next.recovery.runStartupRecovery({ onUnavailable: 'continue' }));
    expect(run.postponed).toBeNull();
    door.open();
    await expect(world.until(run.finished)).resolves.toMatchObject({ discovered: 1, recovered: 1 });
    expect(dead.began).toEqual(['a']);
    expect(alertsOf(next.heard)).toContain('sweep_failed');
  });

  it('recover() rejects when its look fails and nothing of it runs', async () => {
    const next = world.proc({ born: '2', over: { ...world.memory, count: failingCount } });
    define(next, 'n');
    await expect(rejectionOf(world.until(next.recovery.recover()))).resolves.toMatchObject({
      code: 'STORAGE_UNAVAILABLE',
    });
  });

  it('after a look that failed in part there is another one within a lease', async () => {
    let failing = false;
    const count: Storage['count'] = (...args) => (failing ? failingCount : world.memory.count)(...args);
    const next = world.proc({ born: '2', over: { ...world.memory, count } });
    define(next, 'n');
    await next.recovery.runStartupRecovery();
    await world.clock.advance(2 * LEASE_MS);
    await died(['a']);
    failing = true;
    await world.until((await world.until(next.recovery.recover())).finished);
    failing = false;
    const workers = async (): Promise<number> => world.memory.count('rekindle:0', 'workers');
    expect(await workers()).toBe(2);
    await world.clock.advance(LEASE_MS + 1);
    expect(await workers()).toBe(1);
  });

  it('nor does recover() reject when what it found runs already', async () => {
    await died(['a']);
    const next = world.proc({ born: '2', over: { ...world.memory, count: failingCount } });
    define(next, 'n');
    const run = await world.until(next.recovery.recover());
    await expect(world.until(run.finished)).resolves.toMatchObject({ discovered: 1, recovered: 1 });
    expect(dead.began).toEqual(['a']);
  });

  it('those whose claims fail are in the report once, though their leases are over as well', async () => {
    const ids = ['a', 'b', 'c', 'd'];
    await died(ids);
    await world.clock.advance(LEASE_MS + 1);
    const failed = new Set<string>();
    const commit: Storage['commit'] = (partition, batches, ...others) => {
      const id = ids.find((each) => !failed.has(each) && batches[0]?.guard.key === keys.head(each));
      if (id === undefined) return world.memory.commit(partition, batches, ...others);
      failed.add(id);
      return Promise.reject(new RecoveryError('STORAGE_READONLY', 'Nothing is written now.'));
    };
    const next = world.proc({ born: '2', over: { ...world.memory, commit } });
    define(next, 'n');
    const { finished } = await world.until(next.recovery.recover());
    const { discovered, tasks } = await world.until(finished);
    expect([discovered, tasks.map(({ taskId }) => taskId).toSorted()]).toEqual([4, ids]);
    expect(failed.size).toBeGreaterThan(0);
  });

  it('a queue that cannot be read once does not put off the next look', async () => {
    // Alive as far as anybody can tell, until its lease is over.
    const first = world.proc();
    (await define(first, 'n').start('a')).result.catch(() => {});
    await settled();
    first.crash();
    const { range } = world.memory;
    let failing = true;
    const over = {
      ...world.memory,
      range: (...args: Parameters<typeof range>) => {
        if (!failing || !args[1].includes('orphaned')) return range(...args);
        failing = false;
        return Promise.reject(away());
      },
    };
    const next = world.proc({ over });
    define(next, 'n');
    await next.recovery.runStartupRecovery({ onUnavailable: 'continue' });
    await world.clock.advance(LEASE_MS + 1_000);
    await settled();
    expect(dead.began).toEqual(['a']);
  });
});
