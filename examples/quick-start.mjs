/** The example of the README: a task that survives its process, here with its file in a temp folder. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createRecovery } from 'rekindle';
import { sqliteStorage } from 'rekindle/sqlite';

const folder = mkdtempSync(join(tmpdir(), 'rekindle-quick-start-'));
const recovery = createRecovery({ storage: sqliteStorage(join(folder, 'recovery.db')) });

/** Stands for slow work. */
const extract = async (documentId) => `the text of ${documentId}`;

const processDocument = recovery.withRecovery(
  async (ctx, documentId) => {
    const text = ctx.resumedFrom?.recoverableData.text ?? (await extract(documentId));
    await ctx.createCheckpoint({ name: 'extracted', progressPercent: 50, recoverableData: { text } });
    return text.toUpperCase();
  },
  { name: 'process-document', taskId: (documentId) => documentId },
);

const run = await recovery.runStartupRecovery();
console.log('taken back:', (await run.finished).recovered);
console.log('first call:', await processDocument('document-1'));
console.log('second call, from the kept result:', await processDocument('document-1'));
await recovery.shutdown();
rmSync(folder, { recursive: true });
