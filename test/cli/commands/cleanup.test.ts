import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { decodeHead } from '../../../src/state/head.js';
import { indexes, keys } from '../../../src/state/keys.js';
import { sqliteStorage } from '../../../src/storage/sqlite.js';
import { cli, prepare, tempFolder, withRecovery } from '../cli.js';
import { documents } from '../schemas.js';

/** Moves the end of a task into the past, in its record and in its index. */
async function endedDaysAgo(file: string, taskId: string, days: number): Promise<void> {
  const storage = sqliteStorage(file, { synchronous: 'OFF' });
  const home = 'rekindle:0';
  const atMs = Date.now() - days * 86_400_000;
  const { records } = await storage.read(home, [keys.head(taskId)]);
  const head = decodeHead(taskId, records[0] ?? new Map());
  const index = indexes.inState(head.task.status, head.task.name);
  const { outcomes } = await storage.commit(home, [
    {
      guard: { key: keys.head(taskId), expect: head.token, next: `${head.task.fence}.p.1` },
      set: [{ key: keys.head(taskId), fields: { endedAt: String(atMs) } }],
      index: [{ index, id: taskId, score: atMs }],
    },
  ]);
  expect(outcomes).toMatchObject([{ status: 'applied' }]);
  await storage.close();
}

describe('cleanup', () => {
  test('needs to be told what is too old', async () => {
    const ran = await cli(['cleanup', '--sqlite', 'not-even-opened.db']);
    expect(ran).toMatchObject({ code: 2, stdout: '' });
    expect(ran.stderr).toMatch(/--import \.\/tasks\.js, or --older-than <days>/);
    const both = await cli(['cleanup', '--import', './a.mjs', '--older-than', '3']);
    expect(both.code).toBe(2);
  });

  test('removes nothing that is younger', async () => {
    const file = join(tempFolder(), 'tasks.db');
    await withRecovery(file, prepare, { partitions: 3 });
    const ran = await cli(['cleanup', '--older-than', '1', '--json', '--sqlite', file]);
    expect(ran).toMatchObject({ code: 0, stderr: '' });
    expect(documents.cleanup.parse(ran.json)).toMatchObject({
      completed: 0,
      failed: 0,
      cancelled: 0,
      more: false,
    });
    const { stdout } = await cli(['cleanup', '--older-than', '1', '--sqlite', file]);
    expect(stdout).toMatch(/^removed 0 tasks: 0 completed, 0 cancelled/);
  });

  test('--older-than is the retention, whatever the default is', async () => {
    const file = join(tempFolder(), 'tasks.db');
    await withRecovery(file, prepare);
    await endedDaysAgo(file, 'done', 10);
    const removed = async (days: string): Promise<number> => {
      const ran = await cli(['cleanup', '--older-than', days, '--json', '--sqlite', file]);
      return documents.cleanup.parse(ran.json).completed;
    };
    // The default is 7 days.
    expect(await removed('30')).toBe(0);
    expect(await removed('9')).toBe(1);
    expect((await cli(['task', 'done', '--sqlite', file])).code).toBe(4);
  });

  test('--limit leaves the rest, and says so', async () => {
    const file = join(tempFolder(), 'tasks.db');
    await withRecovery(file, prepare);
    for (const id of ['bad-1', 'bad-2']) await endedDaysAgo(file, id, 100);
    const cleanup = (): ReturnType<typeof cli> =>
      cli(['cleanup', '--older-than', '1', '--limit', '1', '--sqlite', file], { terminal: true });
    const first = await cleanup();
    expect(first.stdout).toMatch(/^removed 1 task: 0 completed, 0 cancelled, 1 failed/);
    expect(first.stderr).toMatch(/removed 1[^]*There is more to remove\./);
    expect((await cleanup()).stdout).toMatch(/^removed 1 task:/);
  });
});
