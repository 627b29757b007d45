import { describe, expect, it } from 'vitest';
import { RecoveryError } from '../../src/errors.js';
import { Store } from '../../src/state/store.js';
import { memoryStorage } from '../../src/storage/memory.js';
import { ManualClock } from '../support/manual-clock.js';
import { unavailable } from './manual-storage.js';

const START_MS = 1_700_000_000_000;

/** A storage that throws what it is told to. */
function failing() {
  const clock = new ManualClock(START_MS);
  const memory = memoryStorage({ clock, partitions: 2 });
  const state: { error: Error | null } = { error: null };
  const read: typeof memory.read = async (...given) => {
    if (state.error !== null) throw state.error;
    return memory.read(...given);
  };
  const store = new Store({ ...memory, read }, 'ns', clock, 1_000);
  const look = (partition = 'ns:0'): Promise<unknown> => store.read(partition, ['k']);
  return { clock, state, store, look };
}

describe('when a store could not be reached', () => {
  it('is known by the clock of this process, of the last time', async () => {
    const { clock, state, store, look } = failing();
    await look();
    expect(store.failedMs).toBeNull();
    state.error = unavailable();
    await clock.advance(70);
    await expect(look()).rejects.toBe(state.error);
    expect(store.failedMs).toBe(70);
    await clock.advance(30);
    await expect(look('ns:1')).rejects.toBe(state.error);
    state.error = null;
    await look();
    expect(store.failedMs).toBe(100);
  });

  it.each(['CORRUPT_RECORD', 'STORAGE_REFUSED', 'STORAGE_FULL'] as const)(
    'a call that is answered with %s has reached it',
    async (code) => {
      const { state, store, look } = failing();
      state.error = new RecoveryError(code, 'no');
      await expect(look()).rejects.toBe(state.error);
      expect(store.failedMs).toBeNull();
    },
  );
});

describe("the storage's time", () => {
  it('is that of its last answer, and what has passed here since; never that of a clock that is set', async () => {
    const { clock, store, look } = failing();
    await clock.advance(50);
    await look();
    clock.stepWall(3_600_000);
    await clock.advance(25);
    expect(store.estimatedNowMs('ns:0')).toBe(START_MS + 75);
    expect(store.estimatedNowMs('ns:0', 60)).toBe(START_MS + 60);
    expect(store.estimatedNowMs('ns:0', 20)).toBe(START_MS + 20);
  });

  it('of a partition that was never asked is that of the home partition', async () => {
    const { clock, store, look } = failing();
    await look('ns:0');
    clock.stepWall(5_000);
    expect(store.estimatedNowMs('ns:1')).toBe(START_MS);
    await look('ns:1');
    expect(store.estimatedNowMs('ns:1')).toBe(START_MS + 5_000);
  });
});
