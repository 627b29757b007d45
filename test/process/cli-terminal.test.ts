/** The command line on a terminal (a pseudo-terminal of `script`), in a pipe that closes early, and as it is packaged. */
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeAll, expect, test } from 'vitest';
import { prepare, tempFolder, withRecovery } from '../cli/cli.js';
import { CLI, CommandProcess, endCommands, rekindle } from './support/cli-process.js';
import type { Ended } from './support/cli-process.js';

const MODULE = fileURLToPath(new URL('../fixtures/cli-tasks.mjs', import.meta.url));
const ESCAPE = String.fromCodePoint(27);

let file = '';
beforeAll(async () => {
  file = join(tempFolder(), 'tasks.db');
  await withRecovery(file, prepare, { partitions: 3 });
});
afterEach(endCommands);

/** One line of a shell, on a terminal: both streams are one. */
function onTerminal(line: string, env: Record<string, string> = {}): Promise<Ended> {
  return new CommandProcess('script', ['-qec', line, '/dev/null'], { TERM: 'xterm', ...env }).ended;
}

const command = (...args: string[]): string => [process.execPath, CLI, ...args].join(' ');

test('a terminal gets a table in colours, unless it wants none', async () => {
  const line = command('tasks', '--sqlite', file);
  const [coloured, plain, dumb] = await Promise.all([
    onTerminal(line),
    onTerminal(line, { NO_COLOR: '1' }),
    onTerminal(line, { TERM: 'dumb' }),
  ]);
  expect(coloured.code).toBe(0);
  expect(coloured.stdout).toContain(`${ESCAPE}[31mfailed${ESCAPE}[39m`);
  expect(coloured.stdout).toMatch(/held-1 {2,}job {2,}/);
  for (const { stdout } of [plain, dumb]) {
    expect(stdout).toMatch(/held-1 {2,}job {2,}orphaned {2,}1 /);
    expect(stdout).not.toContain(ESCAPE);
  }
});

test('a pipe gets plain lines, whatever the terminal is', async () => {
  const { stdout } = await rekindle(['tasks', '--sqlite', file], { TERM: 'xterm', FORCE_COLOR: '1' });
  expect(stdout).not.toContain(ESCAPE);
  expect(stdout).toMatch(/\nheld-1\tjob\torphaned\t1\t/);
});

test('recover shows a bar on a terminal, and ends with the answer', async () => {
  const own = join(tempFolder(), 'own.db');
  await withRecovery(own, prepare, { partitions: 3 });
  const env = { CLI_SQLITE: own, CLI_MENDED: '1' };
  const { code, stdout } = await onTerminal(command('recover', '--import', MODULE), env);
  expect(code).toBe(0);
  expect(stdout).toMatch(/tasks \[=+\] 2\/2/);
  expect(stdout).toMatch(/2 orphans found, 2 started, 0 failed/);
});

test('a reader that has enough ends it quietly', async () => {
  const follow = command('events', '--follow', '--json', '--sqlite', file);
  // head leaves after a line; the next event finds nobody.
  const line = `${follow} | head -n 1; echo "\${PIPESTATUS[0]}"`;
  const reading = new CommandProcess('bash', ['-c', line]);
  await reading.said('task_started');
  await withRecovery(file, async (recovery) => recovery.tasks.requeue('bad-1'), { partitions: 3 });
  const { stdout, stderr } = await reading.ended;
  expect(stderr).toBe('');
  expect(stdout.trimEnd().split('\n')).toEqual([expect.stringContaining('task_started'), '0']);
});

test('it is a program: with its interpreter, its rights, its version and the licenses of what is inside', async () => {
  expect(readFileSync(CLI, 'utf8').startsWith('#!/usr/bin/env node\n')).toBe(true);
  expect(statSync(CLI).mode & 0o111).toBe(0o111);
  const manifest: { bin: unknown; version: string } = JSON.parse(readFileSync('package.json', 'utf8'));
  expect(manifest.bin).toEqual({ rekindle: './dist/cli.js' });
  expect((await rekindle(['--version'])).stdout).toBe(`${manifest.version}\n`);
  const licenses = readFileSync('dist/cli.licenses.txt', 'utf8');
  for (const name of ['commander', 'cli-table3', 'cli-progress', 'string-width'])
    expect(licenses).toMatch(new RegExp(`^${name} \\d+\\.\\d+\\.\\d+ \\(MIT\\)\\n\\n(.+\\n)*.*MIT`, 'm'));
  const imported = [...readFileSync(CLI, 'utf8').matchAll(/^import .* from "([^"]+)"/gm)].map(
    ([, name]) => name,
  );
  // The library is there once, and what is bundled is not asked for again.
  expect(imported).toEqual(expect.arrayContaining(['./index.js', './redis.js', './sqlite.js']));
  for (const name of ['commander', 'cli-table3', 'cli-progress']) expect(imported).not.toContain(name);
});
