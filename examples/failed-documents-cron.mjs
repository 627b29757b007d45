/** Failed documents without a worker: reported by hand, and tried again by a job that cron starts. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createRecovery, runDocumentRecovery } from 'rekindle';
import { sqliteStorage } from 'rekindle/sqlite';

const folder = mkdtempSync(join(tmpdir(), 'rekindle-failed-documents-cron-'));
const file = join(folder, 'recovery.db');

const recovery = createRecovery({ storage: sqliteStorage(file) }); // a program that wraps no function
for (const page of [3, 4]) {
  const error = new Error(`page ${page} can't be rendered`);
  await recovery.failures.record({ documentPath: `/in/${page}.pdf`, error, metadata: { page } });
}
await recovery.shutdown();

const storage = sqliteStorage(file); // and the job: here its documents are named, else it takes those that are due
const { found, succeeded, failed } = await runDocumentRecovery({
  storage,
  filter: { category: 'other' },
  config: { onProgress: ({ taskId, outcome }) => console.log(taskId, outcome) },
  process: async ({ documentPath, metadata }) => {
    if (metadata.page === 4) throw new Error(`${documentPath} still can't be rendered`);
    return `rendered ${documentPath}`;
  },
});
await storage.close();
console.log(`${succeeded} of ${found} documents done, ${failed} failed again`);
assert.deepEqual([found, succeeded, failed], [2, 1, 1]);
rmSync(folder, { recursive: true });
