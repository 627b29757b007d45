/** The suite is worth what it finds: storages that break one law each, which it must name. */
import { describe, expect, test } from 'vitest';
import { systemClock } from '../../src/clock.js';
import { MemoryPartition, memoryStorage, storageOver } from '../../src/storage/memory.js';
import type { Batch, CommitReply, Outcome, Storage } from '../../src/storage/storage.js';
import { formatSuiteReport, storageSuite } from '../../src/testing/index.js';
import type { Law, StorageFaults, SuiteReport } from '../../src/testing/index.js';
import { MUTANTS, wrapped } from './mutants.js';

async function find(
  open: (maxEvents: number) => Storage,
  laws: readonly Law[] = [],
  faults: StorageFaults = {},
): Promise<SuiteReport> {
  const suite = storageSuite({
    name: 'mutant',
    runs: 60,
    seed: 1,
    hangMs: 400,
    open: async ({ maxEvents = 10_000 }) => {
      const storage = open(maxEvents);
      return { storage, faults, dispose: async () => {} };
    },
  });
  return suite.run(...laws);
}

/** A store that can stop answering: `broken` decides what its calls come to meanwhile. */
function freezable(broken: () => Promise<CommitReply>): Promise<SuiteReport> {
  let frozen = false;
  const open = wrapped((inner) => ({
    commit: (...args) => (frozen ? broken() : inner.commit(...args)),
  }));
  return find(open, ['S8'], {
    freeze: async () => {
      frozen = true;
    },
    thaw: async () => {
      frozen = false;
    },
  });
}

/** Keys can be corrupted; `early` decides whether the rest of the batch is written before that is noticed. */
function corruptible(early: boolean): Promise<SuiteReport> {
  const broken = new Set<string>();
  class Typed extends MemoryPartition {
    override check(batch: Batch, nowMs: number): Outcome | null {
      const { guard, set = [], increment = [] } = batch;
      const refused = { status: 'refused', code: 'WRONG_TYPE', message: 'no record' } as const;
      if (broken.has(guard.key)) return refused;
      const outcome = super.check(batch, nowMs);
      if (outcome !== null || ![...set, ...increment].some(({ key }) => broken.has(key))) return outcome;
      if (early) this.write({ guard, set: set.filter(({ key }) => !broken.has(key)) }, nowMs);
      return refused;
    }
  }
  return find((max) => storageOver(() => new Typed(max), systemClock, 1), ['S1'], {
    corrupt: async (_, key) => void broken.add(key),
  });
}

const FROZEN = 'every call ends by its deadline while the store does not answer, and is safe to repeat';

describe('the storage suite', () => {
  const hooks = /needs faults\./;

  test('finds nothing wrong with the memory storage, apart from missing hooks', async () => {
    const report = await find((maxEvents) => memoryStorage({ maxEvents }));
    const found = report.failed.filter(({ error }) => !hooks.test(String(error)));
    expect(found.map(({ title }) => title)).toEqual([
      'calls on a closed storage fail, and closing twice does not',
    ]);
    expect(formatSuiteReport(report)).toContain('S8 honest: calls on a closed storage fail');
  });

  test.each(MUTANTS)('finds a storage that %s: %s', async (_, law, open) => {
    const report = await find(open, [law]);
    const found = report.failed.filter(
      ({ error, title }) => !hooks.test(String(error)) && !title.startsWith('calls on a closed'),
    );
    expect(found).not.toEqual([]);
  });

  test('finds a storage that hangs when its server does', async () => {
    const report = await freezable(() => new Promise(() => {}));
    const failure = report.failed.find(({ title }) => title === FROZEN);
    expect(String(failure?.error)).toContain('commit has not ended after 400 ms');
  });

  test('finds a storage that fails with a bare error', async () => {
    const report = await freezable(() => Promise.reject(new Error('ECONNRESET')));
    const failure = report.failed.find(({ title }) => title === FROZEN);
    expect(String(failure?.error)).toContain('not with STORAGE_UNAVAILABLE: ECONNRESET');
  });

  test('finds a storage that answers when it cannot know', async () => {
    const outcomes = [{ status: 'conflict', current: null }] as const;
    const report = await freezable(async () => ({ nowMs: 1, outcomes }));
    const failure = report.failed.find(({ title }) => title === FROZEN);
    expect(String(failure?.error)).toContain('a commit was answered while the store was frozen');
  });

  test('finds a storage that meets a record of a wrong type after its first write', async () => {
    expect((await corruptible(false)).failed).toEqual([]);
    expect((await corruptible(true)).failed.map(({ title }) => title)).toEqual([
      'a record of a wrong type in the second batch of three',
      'a counter of a wrong type in the second batch of three',
    ]);
  });

  test('a skip names a case and a reason', () => {
    const suite = (skip: { law: Law; case: string; reason: string }): unknown =>
      storageSuite({
        name: 'x',
        open: async () => ({ storage: memoryStorage(), dispose: async () => {} }),
        skip: [skip],
      });
    expect(() => suite({ law: 'S1', case: 'no such case', reason: 'why' })).toThrow(
      'no case S1 "no such case"',
    );
    expect(() => suite({ law: 'S2', case: FROZEN, reason: 'why' })).toThrow('there is no case S2');
    expect(() => suite({ law: 'S8', case: FROZEN, reason: ' ' })).toThrow('has no reason');
  });

  test('a skipped case is reported with its reason, and registered as skipped', async () => {
    const registered: string[] = [];
    const register = (name: string): void => void registered.push(name);
    const skip = [{ law: 'S8' as const, case: FROZEN, reason: 'no server' }];
    const suite = storageSuite({
      name: 'x',
      open: async () => ({ storage: memoryStorage(), dispose: async () => {} }),
      runner: {
        describe: (_, body) => body(),
        test: Object.assign(register, { skip: (name: string) => register(`skipped ${name}`) }),
      },
      skip,
    });
    expect(registered).toHaveLength(suite.cases.length);
    expect(registered.filter((name) => name.startsWith('skipped'))).toEqual([
      `skipped S8 honest: ${FROZEN} [skipped: no server]`,
    ]);
    expect((await suite.run('S8')).skipped).toEqual([{ law: 'S8', title: FROZEN, reason: 'no server' }]);
  });
});
