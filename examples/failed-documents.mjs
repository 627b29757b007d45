/**
 * A folder of documents of which some fail, for three reasons. The failures come in by themselves and are grouped by
 * their reason; when the cause of one is mended, its group is redriven, and leaves as its documents complete. What
 * nobody mends is retried periodically, and given up in the end.
 */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
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

const recovery = createRecovery({
  storage: sqliteStorage(join(folder, 'recovery.db')),
  // In seconds what takes hours by default: 1 h, 24 h and 30 min.
  documents: { maxRetries: 2, minRetryIntervalMs: 200, maxRetryIntervalMs: 400, recoveryIntervalMs: 100 },
});
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
const groups = await recovery.failures.groups();
for (const { count, category, errorMessage } of groups) {
  console.log(`${count} × ${category}: ${errorMessage.replaceAll(folder, '')}`);
}
assert.deepEqual(
  groups.map(({ count }) => count),
  [6, 6, 6],
);
assert.deepEqual(
  groups.map(({ category }) => category).toSorted((a, b) => a.localeCompare(b)),
  ['file_not_found', 'other', 'other'],
);

tax = 0.2; // the cause of one group is mended
const { fingerprint } = groups.find(({ errorMessage }) => errorMessage.includes('tax'));
const redrive = await recovery.documents.recover({ fingerprint });
console.log(`redriven: ${redrive.succeeded} of ${redrive.found}, left: ${await recovery.failures.count()}`);
assert.equal(redrive.succeeded, 6);
assert.equal(await recovery.failures.count({ fingerprint }), 0);
assert.equal(await recovery.failures.count(), 12);

for (const [n, path] of paths.entries()) {
  if (n % 5 === 1) writeFileSync(path, JSON.stringify({ id: n, total: 10 * n })); // what was missing is delivered
}
await recovery.runStartupRecovery(); // and the periodic runs begin
let status = await recovery.documents.getStatus();
const isOver = () => status.dead_letters === 6 && status.total_failed_documents === 6;
for (let tries = 0; !isOver() && tries < 200; tries += 1) {
  await sleep(50);
  status = await recovery.documents.getStatus();
}
console.log(`left: ${status.total_failed_documents}, given up: ${status.dead_letters}`);
assert.equal(status.total_failed_documents, 6); // the ones that are no JSON
assert.equal(status.dead_letters, 6);
assert.equal(status.successful_recoveries, 12);
assert.equal((await recovery.tasks.counts()).completed, 24);

await recovery.shutdown();
rmSync(folder, { recursive: true });
