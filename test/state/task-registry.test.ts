import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { RecoveryError } from '../../src/errors.js';
import { TASK_STATUSES } from '../../src/domain/task.js';
import type { TaskStatus } from '../../src/domain/task.js';
import { indexes, keys } from '../../src/state/keys.js';
import { Store } from '../../src/state/store.js';
import { TaskRegistry } from '../../src/state/task-registry.js';
import type { TaskCommands } from '../../src/state/task-registry.js';
import { memoryStorage } from '../../src/storage/memory.js';
import type { Storage } from '../../src/storage/storage.js';
import { ManualClock } from '../support/manual-clock.js';

interface Given {
  readonly id: string;
  readonly name: string;
  readonly status: TaskStatus;
  readonly broken?: boolean;
}

function setUp(partitions = 3, change: (storage: Storage) => Storage = (storage) => storage) {
  const clock = new ManualClock();
  const store = new Store(change(memoryStorage({ clock, partitions })), 'test', clock, 1_000);
  const put = async ({ id, name, status, broken = false }: Given): Promise<void> => {
    const fields = {
      status: broken ? 'nonsense' : status,
      name,
      attempt: '1',
      createdAt: '1',
      leaseUntil: '5',
    };
    const notAfter = Number.MAX_SAFE_INTEGER;
    await store.commit(store.partitionOf(id), [
      {
        guard: { key: keys.head(id), expect: null, next: `1.${id}.0` },
        notAfter,
        set: [{ key: keys.head(id), fields }],
        index: [{ index: indexes.inState(status, name), id, score: id.length }],
      },
    ]);
    await store.commit(store.home, [
      {
        guard: { key: `name ${id}`, expect: null, next: `1.${id}.0` },
        notAfter,
        index: [{ index: indexes.names, id: name, score: 0 }],
      },
    ]);
  };
  const commanded: unknown[][] = [];
  const commands: TaskCommands = {
    cancel: async (...given) => {
      commanded.push(given);
      return 'requested';
    },
    requeue: async (...given) => void commanded.push(given),
    removeTask: async (...given) => {
      commanded.push(given);
      return true;
    },
  };
  return { registry: new TaskRegistry(store, commands), put, store, commanded };
}

async function pages(
  registry: TaskRegistry,
  options: Parameters<TaskRegistry['list']>[0] = {},
): Promise<string[]> {
  const ids: string[] = [];
  let after: string | null | undefined;
  do {
    const page = await registry.list({ ...options, ...(typeof after === 'string' ? { after } : {}) });
    expect(page.tasks.length).toBeLessThanOrEqual(options.limit ?? 100);
    ids.push(...page.tasks.map(({ taskId }) => taskId));
    after = page.next;
  } while (after !== null);
  return ids;
}

describe('TaskRegistry', () => {
  it('gets one task, or null', async () => {
    const { registry, put } = setUp();
    await put({ id: 'a', name: 'n', status: 'failed' });
    await put({ id: 'b', name: 'n', status: 'failed', broken: true });
    await expect(registry.get('a')).resolves.toMatchObject({ taskId: 'a', name: 'n', status: 'failed' });
    await expect(registry.get('other')).resolves.toBeNull();
    await expect(registry.get('')).rejects.toMatchObject({ code: 'INVALID_ID' });
    await expect(registry.get('b')).rejects.toMatchObject({ code: 'CORRUPT_RECORD' });
  });

  it('property: the pages hold each task once, whatever their size, by name and by state', async () => {
    const task = fc.record({
      id: fc.string({ minLength: 1, maxLength: 4, unit: fc.constantFrom('a', 'b', 'é', '1') }),
      name: fc.constantFrom('n', 'm', 'n:1'),
      status: fc.constantFrom<TaskStatus>('failed', 'completed'),
      broken: fc.boolean(),
    });
    const tasks = fc.uniqueArray(task, { selector: ({ id }) => id, maxLength: 25 });
    await fc.assert(
      fc.asyncProperty(
        tasks,
        fc.integer({ min: 1, max: 6 }),
        fc.constantFrom(1, 3),
        async (given, limit, partitions) => {
          const { registry, put } = setUp(partitions);
          for (const each of given) await put(each);
          const readable = given.filter(({ broken }) => !broken);
          const idsOf = (some: readonly Given[]): string[] => some.map(({ id }) => id).toSorted();
          expect((await pages(registry, { limit })).toSorted()).toEqual(idsOf(readable));
          const named = readable.filter(({ name }) => name === 'n');
          expect((await pages(registry, { limit, name: 'n' })).toSorted()).toEqual(idsOf(named));
          const failed = readable.filter(({ status }) => status === 'failed');
          expect((await pages(registry, { limit, status: 'failed' })).toSorted()).toEqual(idsOf(failed));
        },
      ),
      { numRuns: 60 },
    );
  });

  it('a name that appears between two pages shifts nothing', async () => {
    const { registry, put } = setUp(1);
    for (const id of ['a', 'b', 'c']) await put({ id, name: 'm', status: 'failed' });
    const first = await registry.list({ limit: 2 });
    await put({ id: 'new', name: 'a name before', status: 'failed' });
    await put({ id: 'new2', name: 'another', status: 'pending' });
    const second = await registry.list({ limit: 2, ...(first.next === null ? {} : { after: first.next }) });
    expect(second.tasks.map(({ taskId }) => taskId)).toEqual(['c']);
  });

  it('a record of another type leaves out that task, not its page', async () => {
    const wrongType = (storage: Storage): Storage => ({
      ...storage,
      read: async (partition, wanted, fields, options) => {
        if (wanted.includes('h:bad')) throw new RecoveryError('CORRUPT_RECORD', 'another type');
        return storage.read(partition, wanted, fields, options);
      },
    });
    const { registry, put } = setUp(1, wrongType);
    for (const id of ['a', 'bad', 'c']) await put({ id, name: 'n', status: 'failed' });
    expect((await pages(registry)).toSorted()).toEqual(['a', 'c']);
  });

  it('lists within one name and state in the order of time', async () => {
    const { registry, put } = setUp(1);
    for (const id of ['aaa', 'a', 'aa']) await put({ id, name: 'n', status: 'completed' });
    expect(await pages(registry, { name: 'n', status: 'completed' })).toEqual(['a', 'aa', 'aaa']);
  });

  it('counts by state, over all names or one', async () => {
    const { registry, put } = setUp();
    const zero = Object.fromEntries(TASK_STATUSES.map((status) => [status, 0]));
    await expect(registry.counts()).resolves.toEqual(zero);
    for (const [index, status] of TASK_STATUSES.entries()) {
      for (let n = 0; n <= index; n += 1)
        await put({ id: `${status}${n}`, name: n % 2 === 0 ? 'even' : 'odd', status });
    }
    await expect(registry.counts()).resolves.toEqual(
      Object.fromEntries(TASK_STATUSES.map((status, index) => [status, index + 1])),
    );
    await expect(registry.counts('odd')).resolves.toMatchObject({
      pending: 0,
      processing: 1,
      dead_letter: 3,
    });
    expect((await registry.names()).toSorted()).toEqual(['even', 'odd']);
  });

  it('lists what was given up, in one name if asked', async () => {
    const { registry, put } = setUp();
    await put({ id: 'a', name: 'n', status: 'dead_letter' });
    await put({ id: 'b', name: 'm', status: 'dead_letter' });
    await put({ id: 'c', name: 'n', status: 'failed' });
    const idsOf = async (options?: { name: string }): Promise<string[]> =>
      (await registry.deadLetters(options)).tasks.map(({ taskId }) => taskId).toSorted();
    expect(await idsOf()).toEqual(['a', 'b']);
    expect(await idsOf({ name: 'n' })).toEqual(['a']);
  });

  it('hands on what is to be done, a cancellation with its reason or none', async () => {
    const { registry, commanded } = setUp();
    await expect(registry.cancel('a', { reason: 'why' })).resolves.toBe('requested');
    await registry.cancel('b');
    await registry.requeue('c');
    expect(commanded).toEqual([['a', 'why'], ['b', ''], ['c']]);
  });

  it.each([{ reason: 5 }, { why: 'x' }, 'x'])('refuses to cancel with %j', async (options) => {
    const { registry, commanded } = setUp();
    await expect(Reflect.apply(registry.cancel, registry, ['a', options])).rejects.toMatchObject({
      code: 'INVALID_OPTION',
    });
    expect(commanded).toEqual([]);
  });

  it.each([
    [{ limit: 0 }, 'INVALID_OPTION'],
    [{ limit: 1_001 }, 'INVALID_OPTION'],
    [{ after: 'rubbish' }, 'INVALID_VALUE'],
    [{ after: Buffer.from('[1]').toString('base64url') }, 'INVALID_VALUE'],
    [JSON.parse('{"status":"toString"}'), 'INVALID_OPTION'],
    [JSON.parse('{"groups":"x"}'), 'INVALID_OPTION'],
  ])('refuses %j', async (options, code) => {
    await expect(setUp().registry.list(options)).rejects.toMatchObject({ code });
  });
});
