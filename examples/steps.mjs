/**
 * Steps and maps. A child process analyses the pages of a document and kills itself with SIGKILL half way through;
 * started again, it runs only the pages that are left, and the one that it was at.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createRecovery } from 'rekindle';
import { sqliteStorage } from 'rekindle/sqlite';

async function worker(file, dies) {
  const recovery = createRecovery({ storage: sqliteStorage(file) });
  const analyse = recovery.withRecovery(
    async (ctx, document) => {
      const pages = await ctx.step('extract', () => {
        console.log('  extracting the pages of', document);
        return ['one', 'two', 'three', 'four'];
      });
      const words = await ctx.map(
        'pages',
        pages,
        (page) => {
          console.log('  analysing page', page);
          if (dies && page === 'three') process.kill(process.pid, 'SIGKILL');
          return page.length;
        },
        { key: (page) => page },
      );
      return words.reduce((sum, count) => sum + count, 0);
    },
    { name: 'analyse', taskId: (document) => document },
  );
  await recovery.runStartupRecovery();
  console.log('  result:', await analyse('Walden'));
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
  const folder = mkdtempSync(join(tmpdir(), 'rekindle-steps-'));
  try {
    console.log('First run');
    await start(join(folder, 'recovery.db'), true);
    console.log('Second run');
    await start(join(folder, 'recovery.db'), false);
  } finally {
    rmSync(folder, { recursive: true });
  }
}
