/**
 * The worker: takes a list of documents and works on 10 at a time. It knows nothing of having been killed; it is the
 * same program the second time, and calls every document again. What is done returns its kept result, what was in
 * hand is joined, the rest runs.
 */
import { appendFileSync, readFileSync } from 'node:fs';
import { createRecovery } from 'rekindle';
import { STAGES, writeSummary } from './work.mjs';

const AT_ONCE = 10;
const job = JSON.parse(readFileSync(process.argv[2], 'utf8'));

/** The log is the demo's evidence: appended to before and after each piece of work, and read by the parent. */
function note(what, details) {
  appendFileSync(job.log, `${JSON.stringify({ what, run: job.run, atMs: Date.now(), ...details })}\n`);
}

/** Without the parent there is nobody to report to. */
function tell(message) {
  if (process.connected) process.send(message);
}
const orphaned = () => process.exit(1);
process.once('disconnect', orphaned);

async function openStorage() {
  if (job.storage.kind === 'sqlite') {
    const { sqliteStorage } = await import('rekindle/sqlite');
    return { storage: sqliteStorage(job.storage.file), close: () => {} };
  }
  const [{ redisStorage }, { Redis }] = await Promise.all([import('rekindle/redis'), import('ioredis')]);
  const client = new Redis({ host: '127.0.0.1', port: job.storage.port });
  return { storage: redisStorage(client), close: () => client.disconnect() };
}

const { storage, close } = await openStorage();
const recovery = createRecovery({ storage, slot: 'demo-worker', concurrency: AT_ONCE });

const processDocument = recovery.withRecovery(
  async (ctx, document) => {
    const from = ctx.resumedFrom?.name ?? null;
    note('started', { id: document.id, attempt: ctx.attempt, from });
    let found = ctx.resumedFrom?.recoverableData ?? {};
    for (const { name, percent, run } of STAGES) {
      if (ctx.reached(name)) continue;
      note('stage', { id: document.id, stage: name });
      found = { ...found, [name]: await run(document) };
      await ctx.createCheckpoint({ name, progressPercent: percent, recoverableData: found });
      tell({ type: 'checkpoint', id: document.id });
    }
    note('stage', { id: document.id, stage: 'summary' });
    await writeSummary(job.output, document, found);
  },
  { name: 'process-document', taskId: (document) => document.id },
);

const run = await recovery.runStartupRecovery();

let next = 0;
async function workThrough() {
  while (next < job.documents.length) {
    const document = job.documents[next++];
    try {
      await processDocument(document);
      note('done', { id: document.id });
      tell({ type: 'done', id: document.id });
    } catch (error) {
      tell({ type: 'failed', id: document.id, message: error.message });
    }
  }
}
await Promise.all(Array.from({ length: AT_ONCE }, workThrough));

const report = await run.finished;
const { completed } = await recovery.tasks.counts('process-document');
await recovery.shutdown();
close();
process.off('disconnect', orphaned);
if (process.connected) {
  process.send({ type: 'ended', completed, recovered: report.recovered }, () => process.disconnect());
}
