import * as fc from 'fast-check';
import { describe, expect, it, test } from 'vitest';
import { createRecovery } from '../../src/index.js';
import type { Batch, Recovery, RecoveryEvent } from '../../src/index.js';
import { FaultyStorage, ManualClock, storageSuite } from '../../src/testing/index.js';
import type { StorageFault, StorageFaults } from '../../src/testing/index.js';
import { watched } from '../runtime/lab.js';

const P = 'rekindle:0';
const LEASE_MS = 10_000;
const creation: Batch = {
  guard: { key: 'k', expect: null, next: 't1' },
  notAfter: 4_102_444_800_000,
  increment: [{ key: 'counter', field: 'n', by: 1 }],
};

/** Stands in for a server that stops answering, and for keys that hold something else. */
function faultsOf(storage: FaultyStorage, frozen: (on: boolean) => void): StorageFaults {
  return {
    corrupt: async (partition, key) => storage.corrupt(key, partition),
    freeze: async () => frozen(true),
    thaw: async () => frozen(false),
  };
}

storageSuite({
  name: 'FaultyStorage',
  runner: { describe, test },
  open: async (options) => {
    let isFrozen = false;
    const storage = new FaultyStorage({ ...options, fault: () => (isFrozen ? 'lose-request' : null) });
    const faults = faultsOf(storage, (on) => void (isFrozen = on));
    return { storage, faults, dispose: () => storage.close() };
  },
  skip: [
    {
      law: 'S4',
      case: 'the time is read, and notAfter judged, when the call gets its turn',
      reason: 'Its calls get lost while it is frozen; none waits for a turn.',
    },
    { law: 'S8', case: 'a server that forgets its scripts is taught again', reason: 'There are no scripts.' },
    {
      law: 'S8',
      case: 'calls on a closed storage fail, and closing twice does not',
      reason: 'Processes of one test share it, as they share a server.',
    },
  ],
});

describe('FaultyStorage', () => {
  const fresh = (): { clock: ManualClock; storage: FaultyStorage } => {
    const clock = new ManualClock();
    return { clock, storage: new FaultyStorage({ clock }) };
  };
  const counted = async (storage: FaultyStorage): Promise<string | undefined> =>
    (await storage.read(P, ['counter'])).records[0]?.get('n');

  it.each<[StorageFault, string | undefined]>([
    ['lose-request', undefined],
    ['lose-reply', '1'],
    [{ kind: 'delay', ms: 60_000 }, undefined],
  ])('%j: the call ends at its deadline, with an unknown outcome', async (fault, applied) => {
    const { clock, storage } = fresh();
    storage.failNext(fault);
    const call = watched(storage.commit(P, [creation], { deadlineMs: 700 }));
    await clock.advance(699);
    expect(call.state).toBe('open');
    await clock.advance(1);
    expect(call.value).toMatchObject({ code: 'STORAGE_UNAVAILABLE', details: { outcome: 'unknown' } });
    expect(await counted(storage)).toBe(applied);
  });

  it('property: every call of every kind ends by its deadline, whatever goes wrong', async () => {
    const fault = fc.oneof(
      fc.constantFrom<StorageFault[]>('lose-request', 'lose-reply', 'error'),
      fc.record({ kind: fc.constantFrom('delay', 'late-duplicate'), ms: fc.nat(2_000) }),
    );
    const kinds = fc.constantFrom('read', 'commit', 'range', 'count', 'events');
    await fc.assert(
      fc.asyncProperty(fault, kinds, fc.nat(1_000), fc.boolean(), async (each, kind, deadlineMs, offline) => {
        const { clock, storage } = fresh();
        storage.failNext(each, kind);
        const calls = {
          read: () => storage.read(P, ['k'], undefined, { deadlineMs }),
          commit: () => storage.commit(P, [creation], { deadlineMs }),
          range: () => storage.range(P, 'i', { limit: 1 }, { deadlineMs }),
          count: () => storage.count(P, 'i', {}, { deadlineMs }),
          events: () => storage.events(P, { after: null, limit: 1 }, { deadlineMs }),
        };
        const call = watched<unknown>(calls[kind]());
        storage.offline = offline;
        await clock.advance(deadlineMs);
        expect(call.state).not.toBe('open');
        if (call.state === 'rejected') expect(call.value).toMatchObject({ code: 'STORAGE_UNAVAILABLE' });
        await clock.advance(5_000);
        storage.offline = false;
        // What came late, or twice, has done nothing twice.
        expect([undefined, '1']).toContain(await counted(storage));
      }),
    );
  });

  it('delay: an answer in time is late; a request that is later than that arrives all the same', async () => {
    const { clock, storage } = fresh();
    storage.failNext({ kind: 'delay', ms: 300 });
    const slow = watched(storage.commit(P, [creation]));
    await clock.advance(299);
    expect(slow.state).toBe('open');
    await clock.advance(1);
    expect(slow.value).toMatchObject({ outcomes: [{ status: 'applied' }] });
    storage.failNext({ kind: 'delay', ms: 900 });
    const removal = { guard: { key: 'k', expect: 't1', next: null } };
    const late = watched(storage.commit(P, [removal], { deadlineMs: 100 }));
    await clock.advance(100);
    expect(late.state).toBe('rejected');
    await clock.advance(800);
    expect((await storage.read(P, ['k'])).records).toEqual([null]);
  });

  it('late-duplicate: a copy that comes after the token has moved on is refused', async () => {
    const { clock, storage } = fresh();
    storage.failNext({ kind: 'late-duplicate', ms: 50 }, 'commit');
    await storage.commit(P, [creation]);
    await storage.commit(P, [{ guard: { key: 'k', expect: 't1', next: null } }]);
    await clock.advance(50);
    // A creation carries a time after which it is void; within it, a removed record can come back.
    expect(await counted(storage)).toBe('2');
    storage.failNext({ kind: 'late-duplicate', ms: 50 }, 'commit');
    await storage.commit(P, [{ ...creation, guard: { key: 'k', expect: 't1', next: 't2' } }]);
    await storage.commit(P, [{ guard: { key: 'k', expect: 't2', next: 't3' } }]);
    await clock.advance(50);
    expect(await counted(storage)).toBe('3');
  });

  it('error and offline: refused at once, and nothing is applied', async () => {
    const { storage } = fresh();
    storage.failNext('error');
    const refused = { code: 'STORAGE_UNAVAILABLE', retryable: true, details: { outcome: 'not_applied' } };
    await expect(storage.commit(P, [creation])).rejects.toMatchObject(refused);
    storage.offline = true;
    await expect(storage.read(P, ['k'])).rejects.toMatchObject(refused);
    storage.offline = false;
    expect(await counted(storage)).toBe(undefined);
  });

  it('counts calls, and shows them to the option', async () => {
    const seen: string[] = [];
    const storage = new FaultyStorage({
      partitions: 4,
      fault: (call) => {
        seen.push(`${call.number} ${call.kind} ${call.kind === 'read' ? call.keys.join() : call.partition}`);
        return call.kind === 'count' ? 'error' : null;
      },
    });
    await storage.read(P, ['a', 'b']);
    await storage.commit(P, [creation]);
    await expect(storage.count(P, 'i')).rejects.toThrow('refused');
    expect(seen).toEqual(['1 read a,b', '2 commit rekindle:0', '3 count rekindle:0']);
    expect(storage.calls).toEqual({ read: 1, commit: 1, range: 0, count: 1, events: 0 });
    expect(storage.partitions).toBe(4);
  });

  it('refuses what is no fault, no kind, no snapshot of its own, no option and no record', async () => {
    const { storage } = fresh();
    const odd: unknown[] = ['fire', { kind: 'delay' }, { kind: 'delay', ms: -1 }, null, 7];
    for (const fault of odd) {
      expect(() => Reflect.apply(storage.failNext, storage, [fault])).toThrow(/a fault is/);
      const wrong: FaultyStorage = Reflect.construct(FaultyStorage, [{ fault: () => fault }]);
      if (fault !== null)
        await expect(wrong.read(P, ['k'])).rejects.toMatchObject({ code: 'INVALID_OPTION' });
    }
    expect(() => Reflect.apply(storage.failNext, storage, ['error', 'write'])).toThrow('"write"');
    expect(() => storage.rollback(fresh().storage.snapshot())).toThrow('no snapshot of this storage');
    expect(() => storage.corrupt('nobody')).toThrow('there is no task or record "nobody"');
    expect(() => new FaultyStorage({ partitions: 0 })).toThrow('"partitions"');
  });
});

interface Lab {
  readonly clock: ManualClock;
  readonly storage: FaultyStorage;
  readonly process: () => Recovery;
}

function lab(): Lab {
  const clock = new ManualClock();
  const storage = new FaultyStorage({ clock });
  return { clock, storage, process: () => createRecovery({ storage, clock, leaseMs: LEASE_MS }) };
}

/** Lets time pass until it has come to something. */
async function until<T>(clock: ManualClock, work: Promise<T>): Promise<T> {
  const seen = watched(work);
  for (let n = 0; n < 1_000 && seen.state === 'open'; n += 1) await clock.advance(500);
  expect(seen.state).not.toBe('open');
  return work;
}

describe('a Recovery on FaultyStorage', () => {
  it.each<StorageFault>(['lose-request', 'lose-reply', 'error', { kind: 'late-duplicate', ms: 4_000 }])(
    '%j at any one call: the task is done once, and its result is known',
    async (fault) => {
      let reached = 0;
      for (let number = 1; ; number += 1) {
        const clock = new ManualClock();
        const storage = new FaultyStorage({
          clock,
          fault: (call) => (call.number === number ? fault : null),
        });
        const recovery = createRecovery({ storage, clock, leaseMs: LEASE_MS });
        const done: string[] = [];
        const task = recovery.withRecovery(
          async (ctx) => {
            await ctx.step('one', () => void done.push('one'));
            await ctx.createCheckpoint({ name: 'half', progressPercent: 50 });
            return ctx.step('two', () => done.push('two'));
          },
          { name: 'twice', taskId: () => 't' },
        );
        expect(
          await until(
            clock,
            task().catch(() => task()),
          ),
        ).toBe(2);
        expect(done).toEqual(['one', 'two']);
        reached = Object.values(storage.calls).reduce((sum, count) => sum + count, 0);
        if (number > reached) break;
      }
      expect(reached).toBeGreaterThan(4);
    },
  );

  it('corrupt: the task is told to be unreadable and taken out of the queues; a rollback brings it back', async () => {
    const { clock, storage, process } = lab();
    const task = process().withRecovery(async () => 1, { name: 'n', taskId: () => 't' });
    await until(clock, task());
    const backup = storage.snapshot();
    storage.corrupt('t');
    const other = process();
    const alerts: RecoveryEvent[] = [];
    other.on('alert', (event) => void alerts.push(event));
    await expect(other.tasks.get('t')).rejects.toMatchObject({ code: 'CORRUPT_RECORD' });
    storage.rollback(backup);
    expect(await other.tasks.get('t')).toMatchObject({ status: 'completed' });
    expect(backup.takenAtMs).toBeLessThanOrEqual(clock.wallMs());
  });

  it('rollback: a zombie whose fence was issued a second time is refused', async () => {
    const { clock, storage, process } = lab();
    const before = storage.snapshot();
    let goOn = (): void => {};
    const gate = new Promise<void>((resolve) => {
      goOn = resolve;
    });
    const fences: number[] = [];
    const define = (recovery: Recovery, wait: Promise<void>) =>
      recovery.withRecovery(
        async (ctx) => {
          fences.push(ctx.fence);
          await wait;
          return ctx.step('write', () => fences.length);
        },
        { name: 'n', taskId: () => 't' },
      );
    const zombie = watched(define(process(), gate)());
    await clock.advance(0);
    // The state from before the task: whoever makes it now, at the same moment, has the zombie's fence number.
    storage.rollback(before);
    expect(await until(clock, define(process(), Promise.resolve())())).toBe(2);
    expect(fences[0]).toBe(fences[1]);
    goOn();
    await clock.advance(LEASE_MS);
    expect(zombie).toMatchObject({ state: 'rejected', value: { code: 'LEASE_LOST' } });
    expect(await process().tasks.get('t')).toMatchObject({ status: 'completed' });
  });

  it('keeps what it is told to in all partitions', async () => {
    const clock = new ManualClock();
    const storage = new FaultyStorage({ clock, partitions: 8 });
    const recovery = createRecovery({ storage, clock });
    const task = recovery.withRecovery(async (_, n: number) => n, { name: 'n', taskId: (n) => `t${n}` });
    for (let n = 0; n < 10; n += 1) await until(clock, task(n));
    const ten = storage.snapshot();
    for (let n = 10; n < 20; n += 1) await until(clock, task(n));
    expect(await recovery.tasks.counts()).toMatchObject({ completed: 20 });
    storage.rollback(ten);
    expect(await recovery.tasks.counts()).toMatchObject({ completed: 10 });
    storage.rollback(ten);
    expect(await recovery.tasks.get('t19')).toBeNull();
  });
});
