/**
 * A folder of documents of which some fail, for three reasons. The failures come in by themselves and are grouped by
 * their reason; when the cause of one is mended, its documents are called again, and leave as they complete.
 */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createRecovery } from 'rekindle';
import { sqliteStorage } from 'rekindle/sqlite';

const folder = mkdtempSync(join(tmpdir(), 'rekindle-failed-documents-'));
const documents = join(folder, 'documents');
mkdirSync(documents);
const paths = Array.from({ length: 30 }, (_, n) => join(documents, `order-${n}.json`));
for (const [n, path] of paths.entries()) {
  if (n % 5 === 1) continue; // never delivered
  writeFileSync(path, n % 5 === 2 ? `<html>error ${n}</html>` : JSON.stringify({ id: n, total: 10 * n }));
}

const recovery = createRecovery({ storage: sqliteStorage(join(folder, 'recovery.db')) });
let tax = null;
const bill = recovery.withRecovery(
  async (ctx, path) => {
    const order = JSON.parse(readFileSync(path, 'utf8'));
    if (order.id % 5 === 3 && tax === null) throw new Error(`no tax rate for order ${order.id}`);
    return order.total * (1 + (tax ?? 0));
  },
  { name: 'bill', taskId: (path) => path, document: (path) => path },
);

await Promise.allSettled(paths.map((path) => bill(path)));
for (const { count, category, errorMessage } of await recovery.failures.groups()) {
  console.log(`${count} × ${category}: ${errorMessage.replace(folder, '')}`);
}
const groups = await recovery.failures.groups();
assert.deepEqual(
  groups.map(({ count }) => count),
  [6, 6, 6],
);

tax = 0.2; // the cause of one group is mended
const mended = groups.find(({ errorMessage }) => errorMessage.includes('tax'));
const { documents: again } = await recovery.failures.list({ fingerprint: mended.fingerprint });
await Promise.all(again.map(({ taskId }) => bill(taskId)));
console.log(
  'left:',
  await recovery.failures.count(),
  'of',
  groups.reduce((sum, { count }) => sum + count, 0),
);
assert.equal(await recovery.failures.count(), 12);

await recovery.shutdown();
rmSync(folder, { recursive: true });
