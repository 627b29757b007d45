/** From what the command line says to a Recovery: the user's own, or one on a storage that is named. */
import { resolve } from 'node:path';
import { isRecoveryError, RecoveryError } from '../errors.js';
import { checkId } from '../domain/ids.js';
import { createRecovery } from '../index.js';
import type { Retention } from '../domain/operations.js';
import type { Recovery, Storage } from '../index.js';
import { keys } from '../state/keys.js';
import { inTime } from './in-time.js';
import type { Io } from './io.js';
import { loadModule } from './load-module.js';
import { openRedis } from './redis.js';
import type { Opened } from './redis.js';
import type { Secrets } from './secrets.js';
import { openSqlite } from './sqlite.js';

/** Options of all commands. */
export interface GlobalOptions {
  readonly redisUrl?: string;
  readonly sqlite?: string;
  readonly namespace?: string;
  readonly json?: boolean;
  readonly verbose?: boolean;
  /** ms for a connection. */
  readonly timeout: number;
  readonly import?: string;
}

export interface Session {
  readonly recovery: Recovery;
  /** Where the records are; null when a module made the Recovery and only that knows. */
  readonly direct: { readonly storage: Storage; readonly namespace: string } | null;
  /** What is looked at, for people. */
  readonly place: string;
  /** Whether anything was ever written there; null when only a module knows. */
  readonly written: boolean | null;
  /** Names of the wrapped functions that the module exports; it may have others. */
  readonly functions: readonly string[];
  /** Rejects when it takes too long. */
  readonly close: () => Promise<void>;
}

const CLOSE_MS = 2_000;
/** A module's `shutdown` may be another one, that never ends. */
const LONGEST_CLOSE_MS = 4_000;
/** More than anybody spreads a namespace over: all of them are asked at once. */
const MOST_PARTITIONS = 4_096;
const METHODS = ['recover', 'planRecovery', 'health', 'metrics', 'cleanup', 'events', 'shutdown'] as const;

/** @throws `INVALID_OPTION` unless there is exactly one place to look at, and the codes of its opening */
export async function openSession(
  options: GlobalOptions,
  io: Io,
  secrets: Secrets,
  retention?: Retention,
): Promise<Session> {
  if (options.import !== undefined) return importSession(options.import, options, io);
  const namespace = checkId('The namespace', options.namespace ?? 'rekindle');
  const opened = await openStorage(options, io, secrets);
  try {
    return await directSession(opened, namespace, options.timeout, retention);
  } catch (error) {
    opened.close();
    throw error;
  }
}

async function directSession(
  { storage: found, place, close }: Opened,
  namespace: string,
  timeoutMs: number,
  retention: Retention | undefined,
): Promise<Session> {
  const { records } = await found.read(`${namespace}:0`, [keys.meta], ['partitions'], {
    deadlineMs: timeoutMs,
  });
  const partitions = partitionsOf(
    records[0]?.get('partitions') ?? String(found.partitions),
    place,
    namespace,
  );
  // Adapters take the partitions' names as they come; the number is for those who make the names.
  const storage: Storage = { ...found, partitions };
  const recovery = createRecovery({ storage, namespace, ...(retention === undefined ? {} : { retention }) });
  return {
    recovery,
    direct: { storage, namespace },
    place: `${place}, namespace ${namespace}`,
    written: records[0] !== null && records[0] !== undefined,
    functions: [],
    close: async () => {
      await shutDown(recovery);
      close();
    },
  };
}

/** @throws `LAYOUT_MISMATCH` */
function partitionsOf(text: string, place: string, namespace: string): number {
  const partitions = Number(text);
  if (/^\d+$/.test(text) && partitions >= 1 && partitions <= MOST_PARTITIONS) return partitions;
  throw new RecoveryError(
    'LAYOUT_MISMATCH',
    `${place}: the meta record of the namespace ${namespace} says that it has ${text.slice(0, 40)} partitions, and the command line ` +
      `takes 1 to ${MOST_PARTITIONS}. Something else may have written over it: restore it from a backup.`,
    { details: { field: 'partitions', most: MOST_PARTITIONS } },
  );
}

function shutDown(recovery: Recovery): Promise<void> {
  return inTime(
    recovery.shutdown({ timeoutMs: CLOSE_MS }),
    LONGEST_CLOSE_MS,
    (timeoutMs) => new Error(`shutdown did not end within ${timeoutMs} ms; the process ends without it.`),
  );
}

function openStorage(
  { redisUrl, sqlite, timeout }: GlobalOptions,
  io: Io,
  secrets: Secrets,
): Promise<Opened> {
  const named = redisUrl !== undefined || sqlite !== undefined;
  // What is named on the command line goes before the environment.
  const url = named ? redisUrl : filled(io.env['REKINDLE_REDIS_URL']);
  const path = named ? sqlite : filled(io.env['REKINDLE_SQLITE']);
  if (url !== undefined && path === undefined) return openRedis(url, secrets, timeout);
  if (path !== undefined && url === undefined) return openSqlite(path, io.cwd);
  const problem = url === undefined ? 'No storage is named' : 'Two storages are named';
  throw new RecoveryError(
    'INVALID_OPTION',
    `${problem}. Give one of --redis-url, --sqlite and --import, or set REKINDLE_REDIS_URL or REKINDLE_SQLITE.`,
  );
}

function filled(text: string | undefined): string | undefined {
  return text === '' ? undefined : text;
}

async function importSession(
  path: string,
  { redisUrl, sqlite, namespace, timeout }: GlobalOptions,
  io: Io,
): Promise<Session> {
  if (redisUrl !== undefined || sqlite !== undefined || namespace !== undefined) {
    throw new RecoveryError(
      'INVALID_OPTION',
      'The module of --import has a storage and a namespace of its own: leave out --redis-url, --sqlite and --namespace.',
    );
  }
  const file = resolve(io.cwd, path);
  const loaded = await loadModule(file, timeout);
  const recovery = recoveryIn(loaded);
  if (recovery === null) {
    throw new RecoveryError(
      'INVALID_OPTION',
      `${file} exports no Recovery: it needs \`export const recovery = createRecovery(…)\`, or one as its default.`,
    );
  }
  const close = (): Promise<void> => shutDown(recovery);
  try {
    // A first look, so that a storage that is away is known as soon as with the others.
    await inTime(recovery.tasks.names(), timeout);
  } catch (error) {
    await close().catch(() => {});
    if (!isRecoveryError(error, 'STORAGE_UNAVAILABLE')) throw error;
    throw new RecoveryError('STORAGE_UNAVAILABLE', `The storage of ${file}: ${error.message}`, {
      cause: error,
      retryable: error.retryable,
    });
  }
  return { recovery, direct: null, place: file, written: null, functions: functionsIn(loaded), close };
}

function functionsIn(loaded: unknown): string[] {
  return Object.values(Object(loaded)).flatMap((value) => {
    const name: unknown = typeof value === 'function' ? Reflect.get(value, 'taskName') : null;
    return typeof name === 'string' ? [name] : [];
  });
}

function recoveryIn(loaded: unknown): Recovery | null {
  const { recovery, default: otherwise }: Record<string, unknown> = Object(loaded);
  return [recovery, otherwise].find(isRecovery) ?? null;
}

/** By its shape: the module may have loaded another copy of the library. */
function isRecovery(value: unknown): value is Recovery {
  if (typeof value !== 'object' || value === null) return false;
  return METHODS.every((name) => typeof Reflect.get(value, name) === 'function');
}
