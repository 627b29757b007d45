/**
 * A task that takes its process down each time. After two crashes the tasks that were there both times are suspects,
 * and run apart, half of them at a time; so the guilty one is found, the innocent ones complete, and it becomes a dead
 * letter. Once its cause is mended, it is put back.
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

const IMAGES = ['one.png', 'two.png', 'broken.png'];

async function worker(file, isMended) {
  const recovery = createRecovery({ storage: sqliteStorage(file) });
  const convert = recovery.withRecovery(
    async (ctx, image) => {
      console.log('  converting', image, 'in attempt', ctx.attempt);
      await ctx.updateProgress(10, 'decode');
      await ctx.step('read', () => image);
      await delay(100);
      if (image === 'broken.png' && !isMended) process.abort(); // a native decoder that crashes
      await delay(200);
    },
    { name: 'convert', taskId: (image) => image },
  );
  if (isMended) await recovery.tasks.requeue('broken.png');
  await recovery.runStartupRecovery();
  if ((await recovery.tasks.counts()).completed === 0) {
    for (const image of IMAGES) if (!(await recovery.tasks.get(image))) await convert.start(image);
  }
  for (let left = 1; left > 0;) {
    await delay(50);
    const { processing, orphaned } = await recovery.tasks.counts();
    left = processing + orphaned;
  }
  for (const { taskId, error, crashes } of (await recovery.tasks.deadLetters()).tasks) {
    console.log(`  dead letter: ${taskId}. ${error.message}`);
    for (const { cause, step, suspects } of crashes) {
      console.log(`    ${cause}, at step "${step}", suspects in its process: ${suspects ?? 'not on trial'}`);
    }
  }
  console.log('  counts:', JSON.stringify(await recovery.tasks.counts()));
  await recovery.shutdown();
}

/** Whether it came to its end. An abort prints a native stack trace, and may leave a core file where it was. */
async function start(file, isMended) {
  const options = { cwd: join(file, '..'), stdio: ['ignore', 'inherit', 'ignore', 'ipc'] };
  const child = fork(fileURLToPath(import.meta.url), [file, String(isMended)], options);
  const [code, signal] = await once(child, 'exit');
  console.log(`  the process ended: ${signal ?? `code ${code}`}`);
  return code === 0;
}

const [file, isMended] = process.argv.slice(2);
if (file !== undefined) {
  await worker(file, isMended === 'true');
} else {
  const folder = mkdtempSync(join(tmpdir(), 'rekindle-poison-'));
  try {
    let runs = 0;
    do console.log(`Run ${(runs += 1)}`);
    while (!(await start(join(folder, 'recovery.db'), false)) && runs < 10);
    assert.ok(runs < 10, 'It was never given up.');
    console.log('Mended, and put back');
    assert.ok(await start(join(folder, 'recovery.db'), true));
  } finally {
    rmSync(folder, { recursive: true });
  }
}
