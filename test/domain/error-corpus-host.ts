/** Errors of files, modules, processes and memory. */
import { execFile, spawn, spawnSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import * as fs from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { runInThisContext } from 'node:vm';
import { Worker } from 'node:worker_threads';
import { entry, errorLike } from './error-corpus-entry.js';
import type { CorpusEntry } from './error-corpus-entry.js';

const NOBODY = 65_534;
/** Made when the corpus is opened. */
let folder = '';
const require = createRequire(import.meta.url);

/** A place where nothing is yet. */
const place = (suffix = ''): string => join(fs.mkdtempSync(join(folder, 'in ')), `${randomUUID()}${suffix}`);

function file(text: string, suffix = '', mode = 0o644): string {
  const path = place(suffix);
  fs.writeFileSync(path, text, { mode });
  return path;
}

function directory(): string {
  const path = place();
  fs.mkdirSync(path);
  return path;
}

/** Root may do anything, so it is somebody else for a moment. */
function asNobody(run: () => unknown): unknown {
  const isRoot = process.geteuid?.() === 0;
  if (isRoot) process.seteuid?.(NOBODY);
  try {
    return run();
  } finally {
    if (isRoot) process.seteuid?.(0);
  }
}

/** What code in a process of its own fails with: Node's own loader, not the test runner's. */
async function inNode(code: string, ...wrapper: string[]): Promise<Error> {
  const report = (error: string): string =>
    `const { name, message, code } = ${error}; process.stdout.write(JSON.stringify({ name, message, code }))`;
  const script = file(`try { ${code} } catch (error) { ${report('error')} }`, '.mjs');
  const [command, ...args] = [...wrapper, process.execPath, script];
  const { stdout } = await promisify(execFile)(command, args);
  const { name, message, code: kept }: Record<string, string | undefined> = JSON.parse(stdout);
  return errorLike(name ?? '', message ?? '', kept);
}

const importing = (specifier: () => string) => (): Promise<Error> =>
  inNode(`await import(${JSON.stringify(specifier())})`);

const errorOf = (emitter: NodeJS.EventEmitter): Promise<unknown> =>
  new Promise((resolve) => emitter.once('error', resolve));

const files = [
  entry('open: nothing there', 'file_not_found', () => fs.readFileSync(place('.csv'))),
  entry('stat: nothing there', 'file_not_found', () => fs.statSync(place())),
  entry('rename: nothing there', 'file_not_found', () => fs.renameSync(place(), place())),
  entry('open: in a file', 'file_not_found', () => fs.readFileSync(join(file(''), 'x'))),
  entry('read: a folder', 'other', () => fs.readFileSync(directory())),
  entry('mkdir: there already', 'other', () => fs.mkdirSync(directory())),
  entry('rmdir: not empty', 'other', () => fs.rmdirSync(dirname(file('')))),
  entry('readlink: no link', 'other', () => fs.readlinkSync(file(''))),
  entry('close: no descriptor', 'other', (round) => fs.closeSync(900_000 + round)),
  entry('write: disk full', 'other', () => fs.writeFileSync('/dev/full', 'x')),
  entry('open: name too long', 'other', (round) => fs.readFileSync(join(folder, 'n'.repeat(300 + round)))),
  entry('open: links in a circle', 'other', () => {
    const link = place();
    fs.symlinkSync(link, link);
    return fs.readFileSync(link);
  }),
  entry('read: too large a file', 'memory', (round) => {
    const path = file('');
    fs.truncateSync(path, 2 ** 31 + 2 ** round);
    return fs.readFileSync(path);
  }),
  entry('open: no right', 'permission', () => {
    const path = file('', '', 0o000);
    // Temporary folders are their owner's alone.
    for (const parent of [folder, dirname(path)]) fs.chmodSync(parent, 0o755);
    return asNobody(() => fs.readFileSync(path));
  }),
  entry('chown: not the owner', 'permission', () => {
    const path = file('');
    for (const parent of [folder, dirname(path)]) fs.chmodSync(parent, 0o755);
    return asNobody(() => fs.chownSync(path, 0, 0));
  }),
  entry('kill: no such process', 'other', (round) => process.kill(2 ** 30 + round, 0)),
  // No file system here is read-only: made of libuv's own words.
  entry(
    'open: read-only',
    'permission',
    () => errorLike('Error', `EROFS: read-only file system, open '${place()}'`, 'EROFS'),
    'constructed',
  ),
  entry('open: too many', 'other', () => {
    const code = `const fs = await import('node:fs'); for (;;) fs.openSync(${JSON.stringify(file(''))});`;
    return inNode(code, 'sh', '-c', 'ulimit -n 64; exec "$0" "$@"');
  }),
  entry('read: cancelled', 'other', () => fs.promises.readFile(file(''), { signal: AbortSignal.abort() })),
];

const modules = [
  entry(
    'import: no file',
    'import',
    importing(() => pathToFileURL(place('.mjs')).href),
  ),
  entry(
    'import: no package',
    'import',
    importing(() => 'no-such-package'),
  ),
  entry(
    'import: another package',
    'import',
    importing(() => 'left-out-package'),
  ),
  entry(
    'import: a folder',
    'import',
    importing(() => pathToFileURL(directory()).href),
  ),
  entry(
    'import: extension',
    'import',
    importing(() => pathToFileURL(file('', '.xyz')).href),
  ),
  entry(
    'import: scheme',
    'import',
    importing(() => 'ftp://example.com/a.mjs'),
  ),
  entry('import: no export', 'import', () => {
    const other = file('export const a = 1', '.mjs');
    const module = `../${basename(dirname(other))}/${basename(other)}`;
    return importing(() => pathToFileURL(file(`import { b } from ${JSON.stringify(module)}`, '.mjs')).href)();
  }),
  entry('require: no file', 'import', () => require(place())),
  entry('require: no package', 'import', () => {
    const path = file('', '.cjs');
    return createRequire(path)('no-such-package');
  }),
  entry('require: not exported', 'import', () => require('zod/no/such/thing.js')),
  entry('require: an import statement', 'import', () => {
    const path = JSON.stringify(file('import "node:fs"', '.cjs'));
    return inNode(`(await import('node:module')).createRequire(import.meta.url)(${path})`);
  }),
  entry('require: no addon', 'import', () => require(file('', '.node'))),
];

const processes = [
  entry('spawn: no command', 'file_not_found', () => errorOf(spawn(place()))),
  entry('spawn: not executable', 'permission', () => errorOf(spawn(file('x', '.sh')))),
  entry('spawnSync: time', 'timeout', (round) => spawnSync('sleep', ['5'], { timeout: 10 * round }).error),
  entry('execFile: exit code', 'other', () => promisify(execFile)('sh', [file('exit 3')])),
  entry('execFile: output', 'memory', (round) =>
    promisify(execFile)('sh', ['-c', 'echo 1234567890'], { maxBuffer: round }),
  ),
  entry('vm: time', 'timeout', (round) => runInThisContext('for (;;);', { timeout: 5 * round })),
  entry('worker: heap', 'memory', (round) =>
    errorOf(
      new Worker('const kept = []; for (;;) kept.push(new Array(1000).fill({}));', {
        eval: true,
        resourceLimits: { maxOldGenerationSizeMb: 4 + 4 * round, maxYoungGenerationSizeMb: 1 },
      }),
    ),
  ),
];

export async function hostErrors(): Promise<{ entries: CorpusEntry[]; close: () => Promise<void> }> {
  folder = fs.mkdtempSync(join(tmpdir(), 'rekindle corpus '));
  return Promise.resolve({
    entries: [...files, ...modules, ...processes],
    close: () => fs.promises.rm(folder, { recursive: true, force: true }),
  });
}
