/**
 * Who asked for it? `userContext` is captured when the task is called and is there again on recovery; `currentTask()`
 * finds the running task from anywhere, here from a logger that nobody hands anything to.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { createRecovery, currentTask } from 'rekindle';
import { sqliteStorage } from 'rekindle/sqlite';

const lines = [];
function log(text) {
  const task = currentTask();
  lines.push(task === null ? [text] : [task.taskId, 'for', task.userContext.tenant, text]);
  console.log(...lines.at(-1));
}

/** Stands for the request that is being served. Ids only: no token, no session, no whole user. */
let request = { tenant: 'acme', userId: 'u-17' };

function worker(file, isSlow) {
  const recovery = createRecovery({ storage: sqliteStorage(file) });
  const exportData = recovery.withRecovery(
    async (ctx, name) => {
      log('begins');
      await delay(isSlow ? 60_000 : 1, null, { signal: ctx.signal });
      log('written');
      return { name, userId: ctx.userContext.userId };
    },
    { name: 'export-data', taskId: (name) => name, userContext: () => request },
  );
  return { recovery, exportData };
}

const folder = mkdtempSync(join(tmpdir(), 'rekindle-user-context-'));
const file = join(folder, 'recovery.db');
try {
  const first = worker(file, true);
  await first.exportData.start('export-1');
  await first.recovery.shutdown({ timeoutMs: 200 });

  // A restart later: nobody is being served, and the context is there all the same.
  request = null;
  const second = worker(file, false);
  const { finished } = await second.recovery.runStartupRecovery();
  await finished;
  log('outside of a task there is none');
  await second.recovery.shutdown();
} finally {
  rmSync(folder, { recursive: true });
}
assert.deepEqual(lines, [
  ['export-1', 'for', 'acme', 'begins'],
  ['export-1', 'for', 'acme', 'begins'],
  ['export-1', 'for', 'acme', 'written'],
  ['outside of a task there is none'],
]);
