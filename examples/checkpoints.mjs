/**
 * Resuming from a checkpoint. A child process imports three chapters and kills itself with SIGKILL in the second;
 * started again, it goes on behind the first.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createRecovery } from 'rekindle';
import { sqliteStorage } from 'rekindle/sqlite';

const CHAPTERS = ['one', 'two', 'three'];

async function worker(file, dies) {
  const recovery = createRecovery({ storage: sqliteStorage(file) });
  const importBook = recovery.withRecovery(
    async (ctx, book) => {
      console.log(`  attempt ${ctx.attempt}, from checkpoint: ${ctx.resumedFrom?.name ?? 'none'}`);
      const words = ctx.resumedFrom?.recoverableData.words ?? [];
      for (const [index, chapter] of CHAPTERS.entries()) {
        if (ctx.reached(chapter)) continue;
        console.log('  importing chapter', chapter, 'of', book);
        if (dies && index === 1) process.kill(process.pid, 'SIGKILL');
        words.push(`chapter ${chapter}`);
        const progressPercent = (100 * (index + 1)) / CHAPTERS.length;
        await ctx.createCheckpoint({ name: chapter, progressPercent, recoverableData: { words } });
      }
      return words;
    },
    { name: 'import-book', taskId: (book) => book },
  );
  await recovery.runStartupRecovery();
  console.log('  result:', await importBook('Walden'));
  await recovery.shutdown();
}

async function start(file, dies) {
  const child = fork(fileURLToPath(import.meta.url), [file, String(dies)]);
  const [code, signal] = await once(child, 'exit');
  console.log(`  the process ended: ${signal ?? `code ${code}`}`);
}

const [file, dies] = process.argv.slice(2);
if (file !== undefined) {
  await worker(file, dies === 'true');
} else {
  const folder = mkdtempSync(join(tmpdir(), 'rekindle-checkpoints-'));
  try {
    console.log('First run');
    await start(join(folder, 'recovery.db'), true);
    console.log('Second run');
    await start(join(folder, 'recovery.db'), false);
  } finally {
    rmSync(folder, { recursive: true });
  }
}
