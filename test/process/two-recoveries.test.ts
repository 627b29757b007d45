/** Two Recoveries in one process: a signal goes through when the last one of them has shut down. */
import { fork } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createRecovery } from '../../src/runtime/create-recovery.js';
import { sqliteStorage } from '../../src/storage/sqlite.js';

const PROGRAM = fileURLToPath(new URL('../fixtures/two-recoveries.mjs', import.meta.url));

let folder: string;
let child: ChildProcess | null = null;
beforeEach(() => void (folder = mkdtempSync(join(tmpdir(), 'rekindle-two-'))));
afterEach(() => {
  child?.kill('SIGKILL');
  child = null;
  rmSync(folder, { recursive: true, force: true });
});

test.each(['SIGTERM', 'SIGINT'] as const)('%s: the task of the second one is given back', async (signal) => {
  const file = join(folder, 'tasks.db');
  const started = fork(PROGRAM, [file], { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
  child = started;
  const heard: unknown[] = [];
  started.on('message', (message) => heard.push(message));
  await expect.poll(() => heard, { timeout: 10_000 }).toEqual(['running']);
  const exited = once(started, 'exit');
  started.kill(signal);
  expect(await exited).toEqual([null, signal]);
  expect(heard).toEqual(['running', { code: 'SHUT_DOWN' }]);
  const observer = createRecovery({ storage: sqliteStorage(file) });
  await expect(observer.tasks.get('t')).resolves.toMatchObject({
    status: 'orphaned',
    orphanCause: 'released',
    crashes: [],
  });
  await observer.shutdown();
});
