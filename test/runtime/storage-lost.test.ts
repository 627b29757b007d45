import { expect, it } from 'vitest';
import { createRecovery } from '../../src/runtime/create-recovery.js';
import { memoryStorage } from '../../src/storage/memory.js';
import type { Storage } from '../../src/storage/storage.js';

/** A storage that can lose all that is in it. */
function forgetful(): { readonly storage: Storage; readonly wipe: () => void } {
  let inner = memoryStorage();
  const storage: Storage = {
    name: 'memory',
    partitions: 1,
    read: (...args) => inner.read(...args),
    commit: (...args) => inner.commit(...args),
    range: (...args) => inner.range(...args),
    count: (...args) => inner.count(...args),
    events: (...args) => inner.events(...args),
    close: () => inner.close(),
  };
  return { storage, wipe: () => void (inner = memoryStorage()) };
}

it('a storage that has lost everything is told of, by a worker that has nothing to do', async () => {
  const { storage, wipe } = forgetful();
  const recovery = createRecovery({ storage, leaseMs: 200 });
  recovery.withRecovery(() => 1, { name: 'n' });
  const told = new Promise((resolve) =>
    recovery.on('alert', ({ details }) => details['kind'] === 'storage_rolled_back' && resolve('told')),
  );
  await recovery.runStartupRecovery();
  wipe();
  await expect(told).resolves.toBe('told');
  await recovery.shutdown();
});

it('a namespace that is new is not', async () => {
  const recovery = createRecovery({ storage: memoryStorage() });
  const alerts: unknown[] = [];
  recovery.on('alert', (event) => alerts.push(event));
  await recovery.health();
  await recovery.runStartupRecovery();
  expect(alerts).toEqual([]);
  await recovery.shutdown();
});

it.each(['WzFd', 'W3t9XQ', 'W1siYSJdXQ', 'WyIiXQ', 'bm8', ''])(
  'the event cursor %j is refused',
  async (after) => {
    const recovery = createRecovery({ storage: memoryStorage() });
    await recovery.withRecovery(() => 1, { name: 'n' })();
    const first = recovery.events({ after })[Symbol.asyncIterator]().next();
    await expect(first).rejects.toMatchObject({ code: 'INVALID_VALUE' });
    await recovery.shutdown();
  },
);
