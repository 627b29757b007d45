/** What was found by trying to break it. */
import { afterEach, beforeEach, expect, it } from 'vitest';
import { failureIndexes } from '../../src/state/failures.js';
import { MemoryPartition, storageOver } from '../../src/storage/memory.js';
import { aesGcmCodec } from '../../src/domain/codec.js';
import { runDocumentRecovery } from '../../src/run-document-recovery.js';
import { DAY_MS, DUE_MS, failed, gated, leap, reader } from './documents-lab.js';
import { rejectionOf, trapUnhandledRejections, World } from './harness.js';

trapUnhandledRejections();

let world: World;
beforeEach(() => void (world = new World()));
afterEach(() => world.end());

it.each(['bad\0one', ' \0\n ', 'a\tb', ''])(
  'a category that could be no name of an index is made one, or left to the others: %j',
  async (category) => {
    const proc = reader(world, { documents: { categorize: () => category } });
    await failed(proc, '/a');
    const record = await proc.recovery.failures.get('/a');
    expect(record?.status).toBe('failed');
    const expected = category.replace(/[\0\n\t]/g, ' ').trim() || 'other';
    expect(record?.category).toBe(expected);
    expect(await proc.recovery.failures.count({ category: expected })).toBe(1);
  },
);

it('a category that is too long for an index is refused in a filter, too', async () => {
  const { recovery } = world.proc();
  const category = 'x'.repeat(129);
  for (const asked of [recovery.failures.count({ category }), recovery.documents.recover({ category })])
    expect(await rejectionOf(asked)).toMatchObject({ code: 'INVALID_OPTION' });
});

it('what is redriven, put back or reported anew has its whole retention again', async () => {
  const proc = reader(world, { documents: { retentionMs: 7 * DAY_MS, maxRetries: 0 } });
  await failed(proc, '/a', '/b', '/c');
  await proc.recovery.documents.recover();
  expect(await proc.recovery.tasks.counts()).toMatchObject({ dead_letter: 3 });
  leap(world, 8 * DAY_MS);
  const anew = reader(world, { documents: { retentionMs: 7 * DAY_MS } });
  await anew.recovery.documents.recover({ taskIds: ['/a', '/b'] });
  await anew.recovery.failures.record({ documentPath: '/c', name: 'read', error: new Error('again') });
  leap(world, DUE_MS);
  expect(await anew.recovery.documents.recover()).toMatchObject({ expired: 0, attempted: 2 });
  const ages = (await anew.recovery.failures.list()).documents.map(({ ageMs }) => Math.floor(ageMs / DAY_MS));
  expect(ages).toEqual([8, 8, 8]);
  leap(world, 7 * DAY_MS);
  expect(await anew.recovery.documents.recover()).toMatchObject({ expired: 2 });
});

it('a document that no code has run yet is of no other version', async () => {
  const { recovery, heard } = world.proc();
  await recovery.failures.record({ documentPath: '/a', name: 'late', error: new Error('seen') });
  const late = recovery.withRecovery((_ctx, path: string) => path, {
    name: 'late',
    version: '2.0',
    onVersionMismatch: 'quarantine',
    document: (path) => path,
  });
  expect(late.taskName).toBe('late');
  leap(world, DUE_MS);
  expect(await recovery.documents.recover()).toMatchObject({ succeeded: 1 });
  expect(heard.filter(({ details }) => details['kind'] === 'version_mismatch')).toEqual([]);
});

it('a redrive by somebody who can not read it moves nothing', async () => {
  const codec = (letter: string) =>
    aesGcmCodec({ keys: { [letter]: Buffer.alloc(32, letter) }, currentKeyId: letter });
  const owner = reader(world, { codec: codec('a'), documents: { maxRetries: 0 } });
  await failed(owner, '/a');
  await owner.recovery.documents.recover();
  const stranger = reader(world, { codec: codec('b') });
  const report = await stranger.recovery.documents.recover({ category: 'other' });
  expect(report).toMatchObject({ attempted: 0, skipped: 1 });
  expect(await owner.recovery.failures.get('/a')).toMatchObject({ status: 'dead_letter', retryCount: 0 });
  const { storage } = world.proc().line;
  const asked: string[] = [];
  const process = ({ taskId }: { readonly taskId: string }): void => void asked.push(taskId);
  const run = await runDocumentRecovery({
    storage,
    codec: codec('b'),
    filter: { category: 'other' },
    process,
  });
  expect([asked, run]).toMatchObject([[], { attempted: 0, skipped: 1 }]);
  expect(await owner.recovery.failures.get('/a')).toMatchObject({ status: 'dead_letter' });
});

it('a run that was asked for and stopped before it began tries nothing', async () => {
  const proc = reader(world);
  await failed(proc, '/a');
  leap(world, DUE_MS);
  const { documents } = proc.recovery;
  const running = documents.recover();
  await documents.stop();
  expect(await running).toMatchObject({ attempted: 0 });
  expect(proc.tried).toEqual([]);
});

it('start() runs again where it runs once', async () => {
  const proc = reader(world, { documents: { periodic: false, minRetryIntervalMs: 1, maxRetries: 9 } });
  await failed(proc, '/a');
  for (const times of [1, 2, 3]) {
    await world.clock.advance(10_000);
    proc.recovery.documents.start();
    await world.clock.advance(10);
    expect(proc.tried).toHaveLength(times);
  }
});

it('a document that is tried again and again is given up in the run that used up its retries', async () => {
  const { work, openAll } = gated();
  const proc = reader(world, { documents: { maxRetries: 1 } });
  await failed(proc, '/a');
  leap(world, DUE_MS);
  proc.does(async (path, ctx) => {
    await work(path, ctx);
    throw new Error('again');
  });
  const running = proc.recovery.documents.recover();
  await world.clock.advance(1);
  openAll();
  expect(await running).toMatchObject({ failed: 1, deadLettered: 1 });
});

it('reasons that no failure has any more are forgotten, and others are not', async () => {
  const partitions: MemoryPartition[] = [];
  const make = (): MemoryPartition => {
    const partition = new MemoryPartition(1_000);
    partitions.push(partition);
    return partition;
  };
  const over = storageOver(make, world.clock, 1);
  const values = (): string[] =>
    (['fingerprint', 'category', 'worker'] as const).flatMap((facet) =>
      partitions.flatMap((each) =>
        each
          .index(failureIndexes.values(facet))
          .entries()
          .map(({ id }) => id),
      ),
    );
  const proc = reader(world, { over, documents: { retentionMs: DAY_MS, deadLetterRetentionMs: DAY_MS } });
  await failed(proc, '/a');
  expect(values()).toHaveLength(3);
  await proc.recovery.documents.recover();
  expect(values()).toHaveLength(3);
  leap(world, DAY_MS + 1);
  expect(await proc.recovery.documents.recover()).toMatchObject({ expired: 1 });
  expect(values()).toEqual([]);
  await failed(proc, '/b');
  expect(await proc.recovery.failures.groups()).toHaveLength(1);
});

it('a filter whose value was not found chooses nothing, rather than everything', async () => {
  const proc = reader(world);
  await failed(proc, '/a');
  leap(world, DUE_MS);
  const { recovery } = proc;
  for (const name of ['fingerprint', 'category', 'afterVersion', 'names', 'taskIds']) {
    const filter = { [name]: undefined };
    for (const asked of [recovery.documents.recover(filter), recovery.recover(filter)])
      expect(await rejectionOf(asked)).toMatchObject({ code: 'INVALID_OPTION' });
  }
  expect(proc.tried).toEqual([]);
});

it('a dead letter says what its last error was', async () => {
  const proc = reader(world, { documents: { maxRetries: 0 } });
  await failed(proc, '/a');
  await proc.recovery.documents.recover();
  const { tasks } = await proc.recovery.tasks.deadLetters();
  expect(tasks[0]?.error?.message).toBe('The document failed again after 0 retries. TypeError: broken');
});

it('a document that nobody can name is filed under its task, and told of', async () => {
  const { recovery, heard } = world.proc();
  const task = recovery.withRecovery(
    () => {
      throw { name: 'PlainError', message: 'plain', code: 'E_PLAIN' };
    },
    {
      name: 'n',
      taskId: () => 't',
      document: () => {
        throw new Error('no name');
      },
    },
  );
  await rejectionOf(task());
  expect(await recovery.failures.get('t')).toMatchObject({
    documentPath: 't',
    errorName: 'PlainError',
    errorMessage: 'plain',
    errorCode: 'E_PLAIN',
  });
  expect(heard.map(({ details }) => details['kind'])).toContain('document_unnamed');
});
