#!/usr/bin/env node
/** The program `rekindle`. */
import { Console } from 'node:console';
import { readFileSync } from 'node:fs';
import process from 'node:process';
import { isObject } from '../domain/check-options.js';
import type { Io } from './io.js';
import { run } from './run.js';

function version(): string {
  const manifest: unknown = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'));
  return isObject(manifest) ? String(manifest['version']) : 'unknown';
}

/** ioredis logs what it sends, the password too, when it is asked to. */
function debug(verbose: boolean): void {
  const names = [...(verbose ? ['rekindle:*'] : []), process.env['DEBUG'] ?? ''].filter(
    (name) => name !== '',
  );
  if (names.length > 0) process.env['DEBUG'] = [...names, '-ioredis:*'].join(',');
}

const onInterrupt: Io['onInterrupt'] = (listener) => {
  const signals = ['SIGINT', 'SIGTERM'] as const;
  const hear = (signal: NodeJS.Signals): void => {
    off();
    listener(signal === 'SIGTERM' ? 'SIGTERM' : 'SIGINT');
  };
  // A second one finds no listener, and ends the process as it always did.
  const off = (): void => {
    for (const signal of signals) process.off(signal, hear);
  };
  for (const signal of signals) process.on(signal, hear);
  return off;
};

// The library's timers keep no process alive, and with SQLite nothing else does.
setInterval(() => {}, 0x7fff_ffff);
const { stdout, stderr, env } = process;
// What an imported module logs must not get between the lines of an answer.
globalThis.console = new Console(stderr, stderr);
const io: Io = { stdout, stderr, env, cwd: process.cwd(), version: version(), debug, onInterrupt };
const code = await run(process.argv.slice(2), io);
// An imported module may hold connections open; what was printed has to be out first.
await new Promise<void>((resolve) => void stderr.write('', () => resolve()));
process.exit(code);
