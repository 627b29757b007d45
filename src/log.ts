/**
 * Debug output under `rekindle:*` (set `DEBUG=rekindle:*`). Ids and sizes only: never payloads, URLs or secrets.
 *
 * The package `debug` takes longer to load than all of this one, so it is loaded with the first line that somebody may
 * want to see: when `DEBUG` is set, or when the application uses it itself and may have enabled it in code.
 */
import { createRequire } from 'node:module';
import type { Debugger } from 'debug';

type Log = (format: string, ...values: unknown[]) => void;

const require = createRequire(import.meta.url);
let path: string | null = null;

function isWanted(): boolean {
  if (process.env['DEBUG'] !== undefined) return true;
  try {
    path ??= require.resolve('debug');
  } catch {
    // A bundle without its dependencies: nobody else can have it either.
    path = '';
  }
  return path in require.cache;
}

function load(namespace: string): Log {
  try {
    const debug: (namespace: string) => Debugger = require('debug');
    return debug(namespace);
  } catch {
    return () => {};
  }
}

function logger(namespace: string): Log {
  let write: Log | null = null;
  return (format, ...values) => {
    if (write === null && isWanted()) write = load(namespace);
    write?.(format, ...values);
  };
}

export const log: Readonly<Record<'queue' | 'task' | 'recovery' | 'storage' | 'http', Log>> = {
  queue: logger('rekindle:queue'),
  task: logger('rekindle:task'),
  recovery: logger('rekindle:recovery'),
  storage: logger('rekindle:storage'),
  http: logger('rekindle:http'),
};
