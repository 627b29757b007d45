/**
 * Tasks that go on for too long. `maxDurationMs` bounds all attempts together, `maxSilenceMs` the time without
 * progress, step or item. The signal aborts first; a function that is deaf to it is fenced off.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { createRecovery } from 'rekindle';
import { sqliteStorage } from 'rekindle/sqlite';

const folder = mkdtempSync(join(tmpdir(), 'rekindle-limits-'));
const storage = sqliteStorage(join(folder, 'recovery.db'));
const recovery = createRecovery({ storage, leaseMs: 1_500 });
recovery.on('alert', ({ details }) => console.log('alert:', details.kind, details.task_id));

const download = recovery.withRecovery(
  (ctx) => delay(60_000, null, { signal: ctx.signal }), // ends as soon as it is told to
  { name: 'download', taskId: () => 'download-1', maxDurationMs: 200 },
);

let ranOn;
const deafRanOn = new Promise((resolve) => (ranOn = resolve));
const deaf = recovery.withRecovery(
  async (ctx) => {
    await delay(1_200); // never looks at ctx.signal
    await ctx.createCheckpoint({ name: 'late', progressPercent: 90 }).catch(ranOn); // it has been fenced off
  },
  { name: 'deaf', taskId: () => 'deaf-1', maxDurationMs: 200 },
);

const hangsOnce = recovery.withRecovery(
  async (ctx) => {
    if (ctx.attempt === 1) await delay(60_000, null, { signal: ctx.signal }); // a connection that went dead
    return `done in attempt ${ctx.attempt}`;
  },
  { name: 'hangs-once', taskId: () => 'hangs-1', maxSilenceMs: 200, maxAttempts: 2 },
);

try {
  const [long, ignored, silent] = await Promise.allSettled([download(), deaf(), hangsOnce()]);
  console.log('download:', long.reason.code, '-', long.reason.message);
  console.log('deaf:', ignored.reason.code);
  console.log('hangs once:', silent.value);
  assert.equal(long.reason.code, 'TASK_TIMED_OUT');
  assert.equal(ignored.reason.code, 'TASK_TIMED_OUT');
  assert.equal(silent.value, 'done in attempt 2');

  console.log('deaf, a second later:', (await deafRanOn).code);
  assert.equal((await recovery.tasks.get('deaf-1')).status, 'failed');
  assert.equal(await recovery.checkpoints.latest('deaf-1'), null);
  await recovery.shutdown();
} finally {
  rmSync(folder, { recursive: true });
}
