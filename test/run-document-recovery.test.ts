import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { FailedDocumentRecord } from '../src/domain/failed-document.js';
import { runDocumentRecovery } from '../src/run-document-recovery.js';
import type { DocumentRecoveryRunOptions } from '../src/run-document-recovery.js';
import { createRecovery } from '../src/runtime/create-recovery.js';
import type { Recovery } from '../src/runtime/recovery.js';
import { memoryStorage } from '../src/storage/memory.js';
import type { Storage } from '../src/storage/storage.js';
import { rejectionOf } from './runtime/harness.js';

const DAY_MS = 86_400_000;

/** A storage whose time is the test's, with two documents that failed an hour and a half ago. */
let nowMs: number;
let storage: Storage;
let owner: Recovery;
beforeEach(async () => {
  nowMs = 1_700_000_000_000;
  storage = memoryStorage({ clock: { wallMs: () => nowMs } });
  vi.spyOn(storage, 'close');
  owner = createRecovery({ storage });
  for (const documentPath of ['/a', '/b'])
    await owner.failures.record({ documentPath, error: new Error('broken'), metadata: { page: 3 } });
  nowMs += 5_400_000;
});
afterEach(() => owner.shutdown());

const wrong = (options: unknown): Promise<unknown> =>
  rejectionOf(Reflect.apply(runDocumentRecovery, null, [options]));

describe('options', () => {
  it.each([{}, { storage: memoryStorage(), redisUrl: 'redis://localhost' }])(
    'one of storage and redisUrl is needed: %#',
    async (options) => {
      expect(await wrong(options)).toMatchObject({
        code: 'INVALID_OPTION',
        message: expect.stringContaining('one of "storage" and "redisUrl"'),
      });
    },
  );

  it.each(['http://me:secret-word@host', 'secret-word', 'redis://:secret-word@[', ''])(
    'a bad URL is refused, and not told on: %s',
    async (redisUrl) => {
      const error = await wrong({ redisUrl });
      expect(error).toMatchObject({ code: 'INVALID_OPTION' });
      expect(JSON.stringify([error, String(error)])).not.toContain('secret-word');
    },
  );

  it.each<[string, unknown]>([
    ['storage', 'memory'],
    ['redisUrl', 7],
    ['namespace', 7],
    ['config', []],
    ['filter', 'all'],
    ['process', 'convert'],
    ['codec', 1],
    ['redact', {}],
    ['leaseMs', 99],
    ['leaseMs', Infinity],
    ['leaseMs', 1e12],
    ['concurrency', 3],
  ])('INVALID_OPTION for a bad %s: %j', async (name, value) => {
    const error = await wrong({ storage, [name]: value });
    expect(error).toMatchObject({ code: 'INVALID_OPTION', message: expect.stringContaining(name) });
  });

  it('INVALID_OPTION for what is wrong inside of them', async () => {
    expect(await wrong({ storage, config: { maxRetries: -1 } })).toMatchObject({ code: 'INVALID_OPTION' });
    expect(await wrong({ storage, filter: { names: 'a' } })).toMatchObject({ code: 'INVALID_OPTION' });
    expect(storage.close).not.toHaveBeenCalled();
  });
});

describe('a run', () => {
  const run = (options: Partial<DocumentRecoveryRunOptions>) => runDocumentRecovery({ storage, ...options });

  it('gives each record to process, and keeps its results', async () => {
    const seen: FailedDocumentRecord[] = [];
    const ids: string[] = [];
    const report = await run({
      process: async (record, ctx) => {
        seen.push(record);
        ids.push(ctx.taskId);
        await ctx.updateProgress(50, 'half');
        return { text: `text of ${record.documentPath}` };
      },
    });
    expect(report).toMatchObject({ found: 2, attempted: 2, succeeded: 2, failed: 0, expired: 0 });
    expect(seen.map(({ documentPath }) => documentPath).toSorted()).toEqual(['/a', '/b']);
    expect(seen[0]).toMatchObject({
      errorMessage: 'broken',
      metadata: { page: 3 },
      status: 'processing',
      retryCount: 1,
    });
    expect(ids.toSorted()).toEqual(['/a', '/b']);
    expect(await owner.failures.count()).toBe(0);
    const { records } = await storage.read('rekindle:0', ['h:/a']);
    expect(records[0]?.get('result')).toBe('{"text":"text of /a"}');
    expect(await owner.tasks.counts()).toMatchObject({ completed: 2, failed: 0 });
  });

  it('what process throws is the next failure', async () => {
    const refused = Object.assign(new Error('refused'), { code: 'ECONNREFUSED' });
    const report = await run({
      process: ({ documentPath }) => {
        if (documentPath === '/a') throw refused;
      },
    });
    expect(report).toMatchObject({ attempted: 2, succeeded: 1, failed: 1 });
    expect(await owner.failures.get('/a')).toMatchObject({
      documentPath: '/a',
      metadata: { page: 3 },
      category: 'network',
      errorMessage: 'refused',
      retryCount: 1,
    });
  });

  it('follows its config and its filter', async () => {
    const process = (): never => {
      throw new Error('still');
    };
    const config = { maxRetries: 1 };
    await expect(run({ process, config, filter: { taskIds: ['/a'] } })).resolves.toMatchObject({ failed: 1 });
    expect(await owner.failures.get('/a')).toMatchObject({ status: 'failed', retryCount: 0 });
    await expect(run({ process, config })).resolves.toMatchObject({ failed: 1, deadLettered: 1 });
    expect(await owner.failures.get('/b')).toMatchObject({ status: 'dead_letter', retryCount: 1 });
    const fingerprint = (await owner.failures.get('/a'))?.fingerprint ?? '';
    await expect(run({ process, filter: { fingerprint } })).resolves.toMatchObject({ found: 2, failed: 2 });
  });

  it('with process and without a config uses the defaults', async () => {
    nowMs -= 1_800_001;
    await expect(run({ process: () => 'text' })).resolves.toMatchObject({ found: 0 });
  });

  it('without process only removes what is too old', async () => {
    await expect(run({})).resolves.toMatchObject({ attempted: 0, succeeded: 0, expired: 0, deadLettered: 0 });
    expect(await owner.failures.count()).toBe(2);
    nowMs += 7 * DAY_MS;
    await expect(run({})).resolves.toMatchObject({ attempted: 0, expired: 2 });
    expect([await owner.failures.count(), await owner.tasks.get('/a')]).toEqual([0, null]);
  });

  it('leaves the storage open for its owner', async () => {
    await run({ process: () => 'text' });
    expect(storage.close).not.toHaveBeenCalled();
    expect(await owner.failures.record({ documentPath: '/c', error: 'broken' })).toBe('/c');
    // And no worker behind.
    const { entries } = await storage.range('rekindle:0', 'workers', { limit: 10 });
    expect(entries.length).toBe(1);
  });

  it('stays in its namespace', async () => {
    await expect(run({ namespace: 'other', process: () => 'text' })).resolves.toMatchObject({ found: 0 });
    expect(await owner.failures.count()).toBe(2);
  });
});
