/** The suite is worth what it finds: storages that break one law each, which it must name. */
import { describe, expect, test } from 'vitest';
import { memoryStorage } from '../../src/storage/memory.js';
import type { CommitReply, Storage } from '../../src/storage/storage.js';
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
