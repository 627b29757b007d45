/**
 * A queue of your own: here a list in memory, which loses its first job and delivers the second three times. The task is
 * durable before the queue hears of it, so that it is sent once more, and runs once.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createRecovery } from 'rekindle';
import { sqliteStorage } from 'rekindle/sqlite';

const folder = mkdtempSync(join(tmpdir(), 'rekindle-'));
const list = [];
let sent = 0;
const recovery = createRecovery({
  storage: sqliteStorage(join(folder, 'recovery.db')),
  dispatch: {
    dispatch(envelope) {
      sent += 1;
      console.log(`job ${sent}: ${envelope.taskId}, ${envelope.kind}`);
      if (sent > 1) list.push(envelope, envelope, envelope);
    },
    isActive: ({ taskId }) => (list.some((job) => job.taskId === taskId) ? 'waiting' : 'gone'),
    describe: () => ({ waiting: list.length, active: 0, failed: 0 }),
  },
  handOverMs: 500, // by default 5 min
  leaseMs: 1_000,
});
const convert = recovery.withRecovery(
  async (ctx, path) => {
    console.log('converting', path, 'as', ctx.taskId);
    return ctx.step('letters', () => path.length);
  },
  { name: 'convert', taskId: (path) => path, group: () => 'batch-7' },
);

await recovery.runStartupRecovery(); // from now on what is lost is looked for
await convert.submit('in/7.txt');
while (list.length === 0) await new Promise((resolve) => setTimeout(resolve, 50));
console.log('queue', (await recovery.health()).checks.queue);
// What a worker does, here or in another process: three deliveries, one run, three times its result.
console.log(await Promise.all(list.splice(0).map((job) => recovery.runTask(job))));
const { tasks } = await recovery.tasks.list({ group: 'batch-7' });
console.log(tasks.map(({ taskId, status }) => `${taskId} ${status}`));
await recovery.shutdown();
rmSync(folder, { recursive: true, force: true });
