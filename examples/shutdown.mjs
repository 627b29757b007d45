/**
 * A deploy: SIGTERM, and the next process goes on. `handleSignals` lets each task come to its next call on the context
 * (the item in hand is kept), gives it back uncharged and then lets the signal end the process.
 */
import assert from 'node:assert/strict';
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { createRecovery } from 'rekindle';
import { sqliteStorage } from 'rekindle/sqlite';

const PAGES = Array.from({ length: 20 }, (_, index) => `page-${index + 1}`);

async function worker(file) {
  const recovery = createRecovery({ storage: sqliteStorage(file) });
  recovery.handleSignals({ timeoutMs: 5_000 });
  const scan = recovery.withRecovery(
    async (ctx, book) => {
      console.log('  attempt', ctx.attempt, 'of', book);
      const analyse = async (page) => {
        await delay(50);
        process.send?.(page);
        return page.length;
      };
      return (await ctx.map('pages', PAGES, analyse, { key: (page) => page })).length;
    },
    { name: 'scan', taskId: (book) => book },
  );
  await recovery.runStartupRecovery();
  console.log('  pages:', await scan('Walden'));
  const { crashes } = await recovery.tasks.get('Walden');
  assert.equal(crashes.length, 0);
  await recovery.shutdown();
  process.disconnect?.();
}

/** Runs a worker, sends it SIGTERM after some pages, and returns the pages that it has analysed. */
async function start(file, pagesBefore) {
  const child = fork(fileURLToPath(import.meta.url), [file]);
  const pages = [];
  child.on('message', (page) => {
    pages.push(page);
    if (pages.length === pagesBefore) child.kill('SIGTERM');
  });
  const [code, signal] = await once(child, 'exit');
  console.log(`  the process ended: ${signal ?? `code ${code}`}, after ${pages.length} pages`);
  return { pages, end: signal ?? code };
}

const [file] = process.argv.slice(2);
if (file !== undefined) {
  // The call is rejected with SHUT_DOWN when the signal comes; the signal ends the process all the same.
  await worker(file).catch((error) => console.log(`  ${error.code}`));
} else {
  const folder = mkdtempSync(join(tmpdir(), 'rekindle-shutdown-'));
  try {
    console.log('First run');
    const first = await start(join(folder, 'recovery.db'), 5);
    console.log('Second run');
    const second = await start(join(folder, 'recovery.db'), Infinity);
    assert.equal(first.end, 'SIGTERM');
    assert.equal(second.end, 0);
    assert.deepEqual([...first.pages, ...second.pages], PAGES); // none left out, none twice
  } finally {
    rmSync(folder, { recursive: true });
  }
}
