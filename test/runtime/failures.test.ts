import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { FailedDocumentRecord } from '../../src/domain/failed-document.js';
import { rejectionOf, trapUnhandledRejections, World } from './harness.js';
import type { Proc } from './harness.js';
import { die, startQuietly } from './lab.js';

trapUnhandledRejections();

describe.each([1, 3])('failed documents, on %i partitions', (partitions) => {
  let world: World;
  beforeEach(() => void (world = new World(partitions)));
  afterEach(() => world.end());

  /** A task that reads a document; what `work` does to it is up to the test. */
  const reading = ({ recovery }: Proc, work: (path: string) => unknown, name = 'read') =>
    recovery.withRecovery((_ctx, path: string) => work(path), {
      name,
      taskId: (path) => `${name}:${path}`,
      document: (path) => path,
      query: (path) => `SELECT * FROM pages WHERE path = '${path}' AND id = 17`,
    });

  const missing = (path: string): never => {
    throw Object.assign(new Error(`ENOENT: no such file or directory, open '${path}'`), { code: 'ENOENT' });
  };

  it('come in when their task fails, and go when it completes', async () => {
    const proc = world.proc();
    let there = false;
    const task = reading(proc, (path) => (there ? `text of ${path}` : missing(path)));
    await rejectionOf(task('/data/a-1.pdf'));
    const { failures } = proc.recovery;
    await expect(failures.get('read:/data/a-1.pdf')).resolves.toMatchObject({
      taskId: 'read:/data/a-1.pdf',
      name: 'read',
      documentPath: '/data/a-1.pdf',
      query: "SELECT * FROM pages WHERE path = '/data/a-1.pdf' AND id = 17",
      status: 'failed',
      errorName: 'Error',
      errorCode: 'ENOENT',
      category: 'file_not_found',
      failedAtMs: world.clock.wallMs(),
      ageMs: 0,
      retryCount: 0,
      recoveryAttempts: 0,
      metadata: null,
    } satisfies Partial<FailedDocumentRecord>);
    await world.clock.advance(5_000);
    await rejectionOf(task('/data/a-1.pdf'));
    await expect(failures.get('read:/data/a-1.pdf')).resolves.toMatchObject({
      retryCount: 1,
      recoveryAttempts: 1,
      ageMs: 5_000,
      lastAttemptAtMs: world.clock.wallMs(),
    });
    expect(await failures.count()).toBe(1);
    there = true;
    await expect(task('/data/a-1.pdf')).resolves.toBe('text of /data/a-1.pdf');
    expect([
      await failures.count(),
      await failures.get('read:/data/a-1.pdf'),
      await failures.groups(),
    ]).toEqual([0, null, []]);
  });

  it('are grouped by their reason, whatever they are called', async () => {
    const proc = world.proc();
    const task = reading(proc, (path) => {
      if (path.endsWith('0')) throw new SyntaxError(`Unexpected token < in JSON at position ${path.length}`);
      return missing(path);
    });
    for (let n = 1; n <= 25; n += 1) await rejectionOf(task(`/data/${n}/file-${n}`));
    const { failures } = proc.recovery;
    const groups = await failures.groups();
    expect(groups.map(({ count, category }) => [count, category])).toEqual([
      [23, 'file_not_found'],
      [2, 'other'],
    ]);
    const [most] = groups;
    const seen: string[] = [];
    let after: string | undefined;
    do {
      const page = await failures.list({
        ...(most === undefined ? {} : { fingerprint: most.fingerprint }),
        limit: 10,
        ...(after === undefined ? {} : { after }),
      });
      seen.push(...page.documents.map(({ documentPath }) => documentPath));
      after = page.next ?? undefined;
    } while (after !== undefined);
    expect([seen.length, new Set(seen).size]).toEqual([23, 23]);
    expect(await failures.count({ category: 'other' })).toBe(2);
    expect(await failures.count({ category: 'other', name: 'nobody' })).toBe(0);
  });

  it('a crash in the middle of another try counts the try, and loses nothing', async () => {
    const first = world.proc();
    await rejectionOf(reading(first, missing)('/a'));
    const second = world.proc();
    await startQuietly(
      reading(second, () => new Promise(() => {})),
      '/a',
    );
    await die(world, second);
    const third = world.proc();
    const { failures, tasks } = third.recovery;
    await expect(failures.list()).resolves.toMatchObject({
      documents: [{ documentPath: '/a', status: 'processing', retryCount: 1, recoveryAttempts: 1 }],
      next: null,
    });
    const task = reading(third, (path) => `text of ${path}`);
    await expect(task('/a')).resolves.toBe('text of /a');
    expect([await failures.count(), (await tasks.get('read:/a'))?.status]).toEqual([0, 'completed']);
  });
});
