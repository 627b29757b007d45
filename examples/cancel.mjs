/**
 * Cancelling a task from another process. Its owner hears of it with the next heartbeat, a third of the lease later at
 * most: the signal aborts, the task ends as cancelled, and `cleanup` removes what it has left.
 */
import assert from 'node:assert/strict';
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { createRecovery } from 'rekindle';
import { sqliteStorage } from 'rekindle/sqlite';

async function worker(folder) {
  const storage = sqliteStorage(join(folder, 'recovery.db'));
  const recovery = createRecovery({ storage, leaseMs: 1_500 });
  const encode = recovery.withRecovery(
    async (ctx, film) => {
      writeFileSync(join(folder, 'film.part'), 'half a film');
      process.send?.({ encoding: film });
      await delay(60_000, null, { signal: ctx.signal });
    },
    {
      name: 'encode',
      taskId: (film) => film,
      cleanup: (snapshot, reason, film) => {
        console.log('worker: cleaning up after', film, 'which was', reason);
        rmSync(join(folder, 'film.part'));
      },
    },
  );
  await encode('film-1').catch((error) => console.log(`worker: ${error.code}: ${error.message}`));
  await recovery.shutdown(); // waits for cleanup
  process.disconnect?.();
}

const [given] = process.argv.slice(2);
if (given !== undefined) {
  await worker(given);
} else {
  const folder = mkdtempSync(join(tmpdir(), 'rekindle-cancel-'));
  try {
    const child = fork(fileURLToPath(import.meta.url), [folder]);
    const ended = once(child, 'exit');
    await once(child, 'message');

    // No functions are needed to operate: a Recovery on the same storage is enough.
    const { tasks, shutdown } = createRecovery({ storage: sqliteStorage(join(folder, 'recovery.db')) });
    const answer = await tasks.cancel('film-1', { reason: 'the customer withdrew it' });
    console.log('cancel:', answer);
    assert.equal(answer, 'requested');
    await ended;
    const { status, error } = await tasks.get('film-1');
    console.log('afterwards:', status, '-', error.message);
    assert.equal(status, 'cancelled');
    assert.equal(await tasks.cancel('film-1'), 'ended');
    assert.ok(!existsSync(join(folder, 'film.part')));
    await shutdown();
  } finally {
    rmSync(folder, { recursive: true });
  }
}
