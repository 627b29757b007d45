/** Document recovery as a program of its own: one run, for a cron job or an operator's shell. */
import { RecoveryError } from './errors.js';
import { checkOptions, isFunction, isObject, isText, number } from './domain/check-options.js';
import type { PayloadCodec } from './domain/codec.js';
import type { DocumentFilter, DocumentRecoveryConfig } from './domain/document-recovery.js';
import type { StoredError } from './domain/task.js';
import { createRecovery } from './runtime/create-recovery.js';
import type { DocumentProcessor, DocumentRecoveryReport } from './runtime/document-manager.js';
import type { Storage } from './storage/storage.js';

/** Options of `runDocumentRecovery`. One of `storage` and `redisUrl` is needed. */
export interface DocumentRecoveryRunOptions {
  /** Yours to close. */
  readonly storage?: Storage | undefined;
  /** A Redis to connect to with ioredis, for this run. Never printed. */
  readonly redisUrl?: string | undefined;
  /** Default `rekindle`. */
  readonly namespace?: string | undefined;
  readonly config?: DocumentRecoveryConfig | undefined;
  /** Tries only what it names, due or not, as `documents.recover` does. */
  readonly filter?: Omit<DocumentFilter, 'afterVersion'> | undefined;
  /**
   * Does again what failed, for all documents whatever their task. Without it nothing is retried: what is older than
   * the retention is removed, that is all.
   */
  readonly process?: DocumentProcessor | undefined;
  /** As in `RecoveryOptions`: the same codec as the workers'. */
  readonly codec?: PayloadCodec | undefined;
  /** As in `RecoveryOptions`. */
  readonly redact?: ((error: StoredError) => StoredError) | undefined;
  /** As in `RecoveryOptions`. Default 15,000. */
  readonly leaseMs?: number | undefined;
}

const CHECKS = {
  storage: (value: unknown) => (isObject(value) ? null : 'must be a storage'),
  redisUrl: isText,
  namespace: isText,
  config: (value: unknown) => (isObject(value) ? null : 'must be an object'),
  filter: (value: unknown) => (isObject(value) ? null : 'must be an object'),
  process: isFunction,
  codec: (value: unknown) => (isObject(value) ? null : 'must be a codec'),
  redact: isFunction,
  leaseMs: number(100, Number.MAX_SAFE_INTEGER),
};

/**
 * One run of document recovery, without a worker: removes what is too old, and gives what is due to `process`. What an
 * earlier run died with is left to recovery by a worker that has a function of its name.
 *
 * @throws `INVALID_OPTION`, `DRIVER_MISSING` when ioredis is not installed, `LAYOUT_MISMATCH`, `STORAGE_UNAVAILABLE`
 * @example
 * const { succeeded, failed } = await runDocumentRecovery({
 *   redisUrl: process.env.REDIS_URL,
 *   process: async ({ documentPath }) => convert(documentPath),
 * });
 */
export async function runDocumentRecovery(
  options: DocumentRecoveryRunOptions,
): Promise<DocumentRecoveryReport> {
  checkOptions('runDocumentRecovery', options, CHECKS, []);
  const { config, filter, process, redisUrl, storage: given, ...rest } = options;
  if ((given === undefined) === (redisUrl === undefined)) {
    throw new RecoveryError('INVALID_OPTION', 'runDocumentRecovery: give one of "storage" and "redisUrl".');
  }
  if (filter !== undefined && Reflect.get(filter, 'afterVersion') !== undefined) {
    throw new RecoveryError(
      'INVALID_OPTION',
      'runDocumentRecovery: "afterVersion" is for tasks; "process" has no version.',
    );
  }
  const { storage, close } = given === undefined ? await connect(redisUrl ?? '') : borrowed(given);
  try {
    const recovery = createRecovery({ ...rest, storage, documents: config ?? {} });
    try {
      if (process !== undefined) recovery.documents.processWith(process);
      return await recovery.documents.recover(filter);
    } finally {
      await recovery.shutdown();
    }
  } finally {
    await close();
  }
}

interface Opened {
  readonly storage: Storage;
  readonly close: () => Promise<void>;
}

/** A storage that is somebody else's to close. */
function borrowed(storage: Storage): Opened {
  const { name, partitions, blocking } = storage;
  const inspect = storage.inspect?.bind(storage);
  const lent: Storage = {
    name,
    partitions,
    ...(blocking === undefined ? {} : { blocking }),
    ...(inspect === undefined ? {} : { inspect }),
    read: (...args) => storage.read(...args),
    commit: (...args) => storage.commit(...args),
    range: (...args) => storage.range(...args),
    count: (...args) => storage.count(...args),
    events: (...args) => storage.events(...args),
    close: () => Promise.resolve(),
  };
  return { storage: lent, close: () => Promise.resolve() };
}

async function connect(redisUrl: string): Promise<Opened> {
  if (!/^rediss?:\/\//.test(redisUrl) || !URL.canParse(redisUrl)) {
    throw new RecoveryError(
      'INVALID_OPTION',
      'runDocumentRecovery: "redisUrl" must be a redis:// or rediss:// URL.',
    );
  }
  const { Redis } = await import('ioredis').catch((cause: unknown) => {
    throw new RecoveryError('DRIVER_MISSING', 'A redisUrl needs ioredis: npm install ioredis.', { cause });
  });
  const { redisStorage } = await import('./storage/redis.js');
  const client = new Redis(redisUrl);
  // Each call that fails says so itself.
  client.on('error', () => {});
  return {
    storage: redisStorage(client),
    close: async () => {
      client.disconnect();
      await Promise.resolve();
    },
  };
}
