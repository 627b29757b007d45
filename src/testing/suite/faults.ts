/** Storages around a storage: one that notices calls that never end, one that loses and delays commits. */
import { RecoveryError, isRecoveryError } from '../../errors.js';
import type { Storage } from '../../storage/storage.js';
import type { StorageFaults } from './bench.js';

function within<T>(what: string, ms: number, call: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      reject(new Error(`${what} has not ended after ${ms} ms.`));
    }, ms);
    call.then(resolve, reject).finally(() => {
      clearTimeout(timer);
    });
  });
}

/** The same storage; a call that has not ended after `ms` fails instead of hanging the run. */
export function watched(storage: Storage, ms: number): Storage {
  return {
    name: storage.name,
    partitions: storage.partitions,
    ...(storage.blocking === undefined ? {} : { blocking: storage.blocking }),
    read: (...args) => within('read', ms, storage.read(...args)),
    commit: (...args) => within('commit', ms, storage.commit(...args)),
    range: (...args) => within('range', ms, storage.range(...args)),
    count: (...args) => within('count', ms, storage.count(...args)),
    events: (...args) => within('events', ms, storage.events(...args)),
    close: () => within('close', ms, storage.close()),
  };
}

function lost(what: string): RecoveryError {
  return new RecoveryError('STORAGE_UNAVAILABLE', `The suite lost the ${what}.`, { retryable: true });
}

/** The default of {@link StorageFaults.withLostReply} and {@link StorageFaults.withHeldRequest}. */
export function withFaults(inner: Storage): {
  readonly storage: Storage;
  readonly faults: Required<Pick<StorageFaults, 'withHeldRequest' | 'withLostReply'>>;
} {
  let mode: 'hold' | 'lose' | 'pass' = 'pass';
  let held: (() => Promise<unknown>)[] = [];
  const storage: Storage = {
    ...inner,
    async commit(...args) {
      if (mode === 'hold') {
        held.push(() => inner.commit(...args));
        throw lost('request');
      }
      const reply = await inner.commit(...args);
      if (mode === 'lose') throw lost('reply');
      return reply;
    },
  };
  return {
    storage,
    faults: {
      async withLostReply(call) {
        mode = 'lose';
        try {
          return await call();
        } finally {
          mode = 'pass';
        }
      },
      async withHeldRequest(call) {
        mode = 'hold';
        try {
          await call();
        } catch (error) {
          if (!isRecoveryError(error, 'STORAGE_UNAVAILABLE')) throw error;
        } finally {
          mode = 'pass';
        }
        const late = held;
        held = [];
        return async () => {
          for (const deliver of late) await deliver();
        };
      },
    },
  };
}
