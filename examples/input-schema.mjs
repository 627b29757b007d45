/**
 * An input schema: checked when the task is called, before anything is stored, and again on recovery, since the code
 * may be newer than the record. Any Standard Schema will do; this one is zod's.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { createRecovery, isRecoveryError } from 'rekindle';
import { sqliteStorage } from 'rekindle/sqlite';
import { z } from 'zod';

const folder = mkdtempSync(join(tmpdir(), 'rekindle-input-schema-'));
const file = join(folder, 'recovery.db');

function worker(input, waitMs) {
  const recovery = createRecovery({ storage: sqliteStorage(file) });
  const resize = recovery.withRecovery(
    async (ctx, { image, width }) => {
      await delay(waitMs, null, { signal: ctx.signal });
      return `${image} at ${width} pixels`;
    },
    { name: 'resize', taskId: ({ image }) => image, input },
  );
  return { recovery, resize };
}

try {
  const input = z.object({ image: z.string(), width: z.coerce.number().int().min(1).default(800) });
  const first = worker(input, 0);
  // The function gets what the schema made of it; what is stored, and compared on a second call, is what came in.
  assert.equal(await first.resize({ image: 'a.png', width: '640' }), 'a.png at 640 pixels');
  assert.equal(await first.resize({ image: 'b.png' }), 'b.png at 800 pixels');
  await assert.rejects(first.resize({ image: 'c.png', width: 'wide' }), (error) => {
    assert.ok(isRecoveryError(error, 'INPUT_INVALID'));
    console.log('at the call:', error.message);
    return true;
  });
  assert.equal(await first.recovery.tasks.get('c.png'), null);
  await first.recovery.shutdown();

  const slow = worker(input, 60_000);
  await slow.resize.start({ image: 'd.png', width: 20_000 });
  await slow.recovery.shutdown({ timeoutMs: 200 });

  // The next version is stricter than what an interrupted task was called with. It fails, rather than run on it.
  const stricter = input.extend({ width: z.coerce.number().max(4_096) });
  const second = worker(stricter, 0);
  const { tasks } = await (await second.recovery.runStartupRecovery()).finished;
  console.log('on recovery:', tasks[0].outcome, tasks[0].error);
  assert.equal((await second.recovery.tasks.get('d.png')).error.code, 'INPUT_INVALID');
  await second.recovery.shutdown();
} finally {
  rmSync(folder, { recursive: true });
}
