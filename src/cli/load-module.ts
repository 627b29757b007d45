/** The module of `--import`: loaded in time, or a word on why not that helps. */
import { execFile } from 'node:child_process';
import process from 'node:process';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { messageOf, RecoveryError } from '../errors.js';
import { inTime } from './in-time.js';

/** A module may connect to something as it is loaded: so many times the time of one connection, and this at least. */
const TIMES = 10;
const LEAST_MS = 1_000;
const CHECK_MS = 5_000;

/** @throws `INVALID_OPTION` */
export async function loadModule(file: string, timeoutMs: number): Promise<unknown> {
  const longestMs = Math.max(LEAST_MS, TIMES * timeoutMs);
  let why: string | null = null;
  try {
    return await inTime(import(pathToFileURL(file).href), longestMs, () => {
      why = `it is not loaded after ${longestMs} ms: an await at its top level may never end. It gets ${TIMES} times --timeout.`;
      return new Error(why);
    });
  } catch (cause) {
    const message = why ?? `${messageOf(cause)}${await hintOf(file, cause)}`;
    throw new RecoveryError('INVALID_OPTION', `${file} could not be imported: ${message}`, { cause });
  }
}

async function hintOf(file: string, cause: unknown): Promise<string> {
  if (cause instanceof SyntaxError) return whereText(lineOf(cause.stack ?? '') ?? (await checked(file)));
  if (/unknown file extension "\.[cm]?tsx?"/i.test(messageOf(cause)))
    return '. Node loads no TypeScript here: build it and import the JavaScript, or bring a loader, such as NODE_OPTIONS="--import tsx".';
  return '';
}

function whereText(where: string | null): string {
  return where === null ? ', in a module that it imports: look for it with node --check' : ` (${where})`;
}

/** Where Node tells of a place at all, it stands before the rest: a path or a file URL, and the line. */
function lineOf(text: string): string | null {
  const [, path, line] = /^(.+):(\d+)\r?\n/.exec(text) ?? [];
  if (path === undefined || line === undefined) return null;
  return `${path.startsWith('file:') ? fileURLToPath(path) : path}:${line}`;
}

/** The error of a syntax that is no module's says no place to who imports it. Nothing of the file is run. */
function checked(file: string): Promise<string | null> {
  return new Promise((resolve) => {
    execFile(process.execPath, ['--check', file], { timeout: CHECK_MS }, (_, __, stderr) =>
      resolve(lineOf(stderr)),
    );
  });
}
