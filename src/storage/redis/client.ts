/** What the adapter needs of an ioredis client, and how it calls one: never without a deadline. */
import { systemClock } from '../../clock.js';
import { messageOf, RecoveryError } from '../../errors.js';
import { toStorageError } from './errors.js';
import type { Script } from './script.js';

/** What commands are given. */
export type RedisArgument = string | Buffer;

/** The part of a pipeline that the adapter uses. Arguments come as one array: they may be thousands. */
export interface RedisPipeline {
  evalsha(sha: string, keyCount: number, args: RedisArgument[]): unknown;
  eval(text: string, keyCount: number, args: RedisArgument[]): unknown;
  wait(replicas: number, timeoutMs: number): unknown;
  exec(): Promise<[error: Error | null, result: unknown][] | null>;
}

/** The commands that every client has; a node of a Cluster too. */
export interface RedisNode {
  info(section: string): Promise<string>;
  config(get: 'GET', name: string): Promise<unknown>;
}

/**
 * An ioredis client, 5 or 6, `Redis` or `Cluster`, also with Sentinels. Described by its shape, so that the
 * package never loads ioredis itself.
 */
export interface RedisClient {
  readonly isCluster?: boolean;
  evalsha(sha: string, keyCount: number, args: RedisArgument[]): Promise<unknown>;
  eval(text: string, keyCount: number, args: RedisArgument[]): Promise<unknown>;
  pipeline(): RedisPipeline;
  info(section: string): Promise<string>;
  config(get: 'GET', name: string): Promise<unknown>;
  /** The nodes of a Cluster. */
  nodes?(role: 'master'): RedisNode[];
  on(event: 'error', listener: (error: Error) => void): unknown;
  off(event: 'error', listener: (error: Error) => void): unknown;
}

function isNoScript(error: unknown): boolean {
  return error instanceof Error && error.message.startsWith('NOSCRIPT');
}

/**
 * Runs a script by its hash, or by its text when the server does not know it: after a restart, a failover or
 * SCRIPT FLUSH. `args` are the keys and the arguments.
 */
export function runScript(
  client: RedisClient,
  script: Script,
  keyCount: number,
  args: RedisArgument[],
): Promise<unknown> {
  return client.evalsha(script.sha, keyCount, args).catch((error: unknown) => {
    if (!isNoScript(error)) throw error;
    return client.eval(script.text, keyCount, args);
  });
}

/** Fewer replicas than asked for said in time that they have the write. */
function notReplicated(acks: unknown, replicas: number): RecoveryError {
  const message = `The commit reached ${String(acks)} replicas in time, not ${replicas}.`;
  return new RecoveryError('STORAGE_UNAVAILABLE', message, {
    retryable: true,
    details: { outcome: 'unknown', replicas, acks },
  });
}

/**
 * Runs a script and then WAIT in one pipeline: on the same connection, and ioredis gives up an incomplete
 * pipeline when that breaks. A WAIT of its own could ask a new master about another one's write.
 * `until` is when the call ends, by the monotonic clock. `wrote` tells from the script's reply whether there is something to wait for.
 */
export async function runScriptAndWait(
  client: RedisClient,
  script: Script,
  keyCount: number,
  args: RedisArgument[],
  wait: { readonly replicas: number; readonly until: number; wrote(reply: unknown): boolean },
): Promise<unknown> {
  const send = async (byText: boolean): Promise<unknown> => {
    const pipeline = client.pipeline();
    if (byText) pipeline.eval(script.text, keyCount, args);
    else pipeline.evalsha(script.sha, keyCount, args);
    // Before the call's own end, or nobody would learn how many replicas there were; WAIT may end 100 ms late.
    const leftMs = wait.until - systemClock.monotonicMs();
    const timeoutMs = Math.max(1, Math.floor(leftMs * 0.75 - 100));
    pipeline.wait(wait.replicas, timeoutMs);
    const [ran, waited] = (await pipeline.exec()) ?? [];
    if (ran?.[0] && !byText && isNoScript(ran[0])) return send(true);
    if (ran === undefined || ran[0])
      throw ran?.[0] ?? toStorageError('a commit', 'The pipeline had no reply.');
    if (!wait.wrote(ran[1])) return ran[1];
    if (waited?.[0]) throw waited[0];
    if (Number(waited?.[1] ?? 0) < wait.replicas) throw notReplicated(waited?.[1] ?? 0, wait.replicas);
    return ran[1];
  };
  return send(false);
}

/**
 * Ends a call by its deadline, whatever the client does with it: ioredis may keep a command for ever while it
 * reconnects, and may still send it after that. Errors come out as {@link RecoveryError}s.
 */
export function withDeadline<T>(
  what: string,
  deadlineMs: number,
  lastError: () => Error | null,
  call: () => Promise<T>,
): Promise<T> {
  return new Promise((resolve, reject) => {
    const cancel = systemClock.schedule(
      deadlineMs,
      () => {
        // Why, as far as the client knows: refused, a wrong password, an unknown host.
        const cause = lastError();
        const why = cause === null ? '' : ` The client's last error: ${messageOf(cause)}`;
        const message = `Redis did not answer ${what} within ${deadlineMs} ms; it may still run.${why}`;
        const details = { outcome: 'unknown', deadlineMs };
        reject(
          new RecoveryError('STORAGE_UNAVAILABLE', message, {
            retryable: true,
            details,
            cause: cause ?? undefined,
          }),
        );
      },
      true,
    );
    // Both ways are handled here, so a rejection after the deadline is nobody's unhandled one.
    call().then(
      (value) => {
        cancel();
        resolve(value);
      },
      (error: unknown) => {
        cancel();
        reject(toStorageError(what, error));
      },
    );
  });
}
