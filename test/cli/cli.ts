/** The command line in the test's own process, and namespaces for it to look at. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { Writable } from 'node:stream';
import { afterAll, expect, vi } from 'vitest';
import type { Io } from '../../src/cli/io.js';
import { run } from '../../src/cli/run.js';
import type { Recovery, RecoveryOptions, Storage, WrappedTask } from '../../src/index.js';
import { createRecovery } from '../../src/runtime/create-recovery.js';
import { sqliteStorage } from '../../src/storage/sqlite.js';

/** What came of a command. */
export interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
  /** stdout as JSON. */
  readonly json: unknown;
}

/** A command line's surroundings that differ from a pipe without an environment. */
interface Surroundings {
  readonly env?: Record<string, string>;
  readonly terminal?: boolean;
  readonly cwd?: string;
  /** Gets the way to interrupt it. */
  readonly interrupt?: (send: (signal: 'SIGINT' | 'SIGTERM') => void) => void;
  /** Hears what is printed on stdout, as it comes. */
  readonly heard?: (text: string) => void;
}

const LEASE_MS = 300;

class Heard extends Writable {
  text = '';
  readonly isTTY: boolean;
  readonly columns = 200;
  readonly #heard: (text: string) => void;

  constructor(isTTY: boolean, heard: (text: string) => void = () => {}) {
    super();
    this.isTTY = isTTY;
    this.#heard = heard;
  }

  override _write(chunk: Buffer, _: string, done: () => void): void {
    this.text += chunk.toString();
    this.#heard(chunk.toString());
    done();
  }
}

export async function cli(args: readonly string[], given: Surroundings = {}): Promise<Ran> {
  const { env = {}, terminal = false, cwd = process.cwd(), interrupt, heard } = given;
  const stdout = new Heard(terminal, heard);
  const stderr = new Heard(terminal);
  const io: Io = {
    stdout,
    stderr,
    env,
    cwd,
    version: '9.9.9',
    debug: () => {},
    onInterrupt: (listener) => {
      interrupt?.(listener);
      return () => {};
    },
  };
  const code = await run(args, io);
  const ran = { code, stdout: stdout.text, stderr: stderr.text };
  return {
    ...ran,
    get json(): unknown {
      return JSON.parse(stdout.text);
    },
  };
}

const folders: string[] = [];
afterAll(() => {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});

export function tempFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'rekindle-cli-'));
  folders.push(folder);
  return folder;
}

/** Runs `work` on a Recovery over a file; what it leaves behind is durable. */
export async function withRecovery(
  file: string,
  work: (recovery: Recovery) => Promise<unknown>,
  options: Partial<RecoveryOptions> & { partitions?: number } = {},
): Promise<void> {
  const { partitions = 1, ...rest } = options;
  const storage = sqliteStorage(file, { synchronous: 'OFF', partitions });
  const recovery = createRecovery({ storage, ...rest });
  try {
    await work(recovery);
  } finally {
    // What is held is told to stop, and given back.
    await recovery.shutdown({ timeoutMs: 200 });
  }
}

/** Runs `work` while a worker is alive there, that has none of the functions of the others. */
export async function withWorker<T>(file: string, work: () => Promise<T>, partitions = 1): Promise<T> {
  const results: T[] = [];
  const worker = async (recovery: Recovery): Promise<void> => {
    recovery.withRecovery(() => null, { name: 'another' });
    await recovery.runStartupRecovery();
    results.push(await work());
  };
  await withRecovery(file, worker, { partitions });
  const [result] = results;
  if (result === undefined) throw new Error('There was no work.');
  return result;
}

/** Leaves `held-1` behind with a lease that is over: its process died, so to say. */
export async function crash(file: string): Promise<void> {
  const sqlite = sqliteStorage(file, { synchronous: 'OFF' });
  let dead = false;
  const alive = <T>(call: () => Promise<T>): Promise<T> => (dead ? new Promise<T>(() => {}) : call());
  const storage: Storage = {
    ...sqlite,
    read: (...args) => alive(() => sqlite.read(...args)),
    commit: (...args) => alive(() => sqlite.commit(...args)),
  };
  const recovery = createRecovery({ storage, leaseMs: LEASE_MS });
  const { result } = await jobOf(recovery).start('held-1');
  result.catch(() => {});
  dead = true;
  await recovery.shutdown({ timeoutMs: 50 });
  await withRecovery(file, async ({ tasks }) => {
    const { leaseUntilMs } = (await tasks.get('held-1')) ?? {};
    const isOver = (): void => expect(Date.now()).toBeGreaterThan(leaseUntilMs ?? Infinity);
    await vi.waitFor(isOver, { timeout: 10_000, interval: 25 });
  });
}

/** A promise that ends with the attempt, by its signal. */
export function untilAborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason));
  });
}

/** `job`: `bad…` fails, `held…` runs until it is interrupted, all else completes. */
export function jobOf(recovery: Recovery): WrappedTask<[what: string], string> {
  return recovery.withRecovery(
    async (ctx, what: string) => {
      await ctx.createCheckpoint({ name: 'half', progressPercent: 50, recoverableData: { for: what } });
      if (what.startsWith('bad')) throw Object.assign(new Error(`no rate for ${what}`), { code: 'E_RATE' });
      if (what.startsWith('held')) await untilAborted(ctx.signal);
      return what;
    },
    { name: 'job', taskId: (what) => what, document: (what) => `/in/${what}.pdf` },
  );
}

/**
 * `done` completed, `bad-1` and `bad-2` failed documents of one reason, `held-0` cancelled; and `held-1` and `held-2`, which
 * the shutdown behind it puts into the recovery queue.
 */
export async function prepare(recovery: Recovery): Promise<void> {
  const job = jobOf(recovery);
  await job('done');
  await Promise.allSettled(['bad-1', 'bad-2'].map((what) => job(what)));
  const started = ['held-0', 'held-1', 'held-2'].map((what) => job.start(what));
  for (const { result } of await Promise.all(started)) result.catch(() => {});
  await recovery.tasks.cancel('held-0', { reason: 'not wanted' });
}

/** A module for `--import` that exports a Recovery of this process, and functions of it. */
export function moduleOf(recovery: Recovery, functions: Readonly<Record<string, unknown>> = {}): string {
  const file = join(tempFolder(), 'tasks.mjs');
  const name = `rekindle.test.${basename(dirname(file))}`;
  Reflect.set(globalThis, Symbol.for(name), { ...functions, recovery });
  const exported = ['recovery', ...Object.keys(functions)].join(', ');
  writeFileSync(file, `export const { ${exported} } = globalThis[Symbol.for(${JSON.stringify(name)})];\n`);
  return file;
}
