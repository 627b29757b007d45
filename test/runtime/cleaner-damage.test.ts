import { expect, it } from 'vitest';
import { RecoveryError } from '../../src/errors.js';
import { createRecovery } from '../../src/runtime/create-recovery.js';
import { indexes } from '../../src/state/keys.js';
import { memoryStorage } from '../../src/storage/memory.js';
import type { Storage } from '../../src/storage/storage.js';

/** A storage in which something else stands in the place of an index. */
function damaged(index: string): Storage {
  const inner = memoryStorage();
  return {
    ...inner,
    range: (partition, wanted, query, options) =>
      wanted === index
        ? Promise.reject(new RecoveryError('CORRUPT_RECORD', `${index} is no index.`))
        : inner.range(partition, wanted, query, options),
  };
}

it('an index that something else has written over is left, and the others are cleaned up', async () => {
  const storage = damaged(indexes.inState('completed', 'a'));
  const recovery = createRecovery({ storage, retention: { completedMs: 0 } });
  for (const name of ['a', 'b']) await recovery.withRecovery(() => 1, { name, taskId: () => name })();
  expect(await recovery.cleanup()).toMatchObject({ completed: 1, refused: 1, more: false });
  expect(await recovery.tasks.get('a')).not.toBeNull();
  expect(await recovery.tasks.get('b')).toBeNull();
  await recovery.shutdown();
});

it('one that is away is no reason to go on', async () => {
  const inner = memoryStorage();
  const away = (): Promise<never> =>
    Promise.reject(new RecoveryError('STORAGE_UNAVAILABLE', 'away', { retryable: true }));
  let isAway = false;
  const storage: Storage = { ...inner, range: (...args) => (isAway ? away() : inner.range(...args)) };
  const recovery = createRecovery({ storage, retention: { completedMs: 0 } });
  await recovery.withRecovery(() => 1, { name: 'a', taskId: () => 'a' })();
  isAway = true;
  await expect(recovery.cleanup()).rejects.toMatchObject({ code: 'STORAGE_UNAVAILABLE' });
  await recovery.shutdown();
});
