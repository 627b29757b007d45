/**
 * A deploy in the middle of a task. Version 1 kept its rows as a list; version 2 wants them by id, and says in
 * `migrate` how to get there. Without `migrate`, `onVersionMismatch` decides: restart, resume or quarantine.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { createRecovery } from 'rekindle';
import { sqliteStorage } from 'rekindle/sqlite';

const folder = mkdtempSync(join(tmpdir(), 'rekindle-versions-'));
const open = () => createRecovery({ storage: sqliteStorage(join(folder, 'recovery.db')) });

async function versionOne(ids) {
  const recovery = open();
  const load = recovery.withRecovery(
    async (ctx, id) => {
      const recoverableData = { rows: [{ id, total: 7 }] };
      await ctx.createCheckpoint({ name: 'read', progressPercent: 50, recoverableData });
      await delay(60_000, null, { signal: ctx.signal });
    },
    { name: 'load', taskId: (id) => id, version: '1' },
  );
  for (const id of ids) await load.start(id);
  while ((await Promise.all(ids.map(recovery.checkpoints.latest))).includes(null)) await delay(10);
  await recovery.shutdown({ timeoutMs: 200 });
}

async function versionTwo(options) {
  const recovery = open();
  const load = recovery.withRecovery(
    async (ctx, id) => {
      const byId = ctx.resumedFrom?.recoverableData.byId ?? { [id]: 0 };
      return [id, byId[id], ctx.resumedFrom === null ? 'from the beginning' : 'resumed'].join(', ');
    },
    { name: 'load', taskId: (id) => id, version: '2', ...options },
  );
  recovery.on('alert', ({ details }) => console.log('  alert:', JSON.stringify(details)));
  return { recovery, load };
}

try {
  await versionOne(['a', 'b']);
  console.log('version 2 without migrate');
  const { recovery: cautious } = await versionTwo({ onVersionMismatch: 'quarantine' });
  await (
    await cautious.recover({ taskIds: ['b'] })
  ).finished;
  const { tasks } = await cautious.tasks.deadLetters();
  console.log('  dead letter:', tasks[0].taskId, '-', tasks[0].error.message);
  await cautious.shutdown();

  console.log('version 2 with migrate');
  const migrate = ({ recoverableData: { rows } }, fromVersion) => {
    assert.equal(fromVersion, '1');
    return { recoverableData: { byId: Object.fromEntries(rows.map(({ id, total }) => [id, total])) } };
  };
  const { recovery, load } = await versionTwo({ migrate });
  await recovery.tasks.requeue('b');
  await (
    await recovery.runStartupRecovery()
  ).finished;
  const results = await Promise.all([load('a'), load('b')]);
  console.log(' ', results.join('; '));
  assert.deepEqual(results, ['a, 7, resumed', 'b, 7, resumed']);
  await recovery.shutdown();
} finally {
  rmSync(folder, { recursive: true });
}
