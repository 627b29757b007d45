/** Worker processes (test/fixtures/recovery-worker.mjs), driven and heard over IPC. */
import { fork } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { isDeepStrictEqual } from 'node:util';
import type { RecoveryOptions, SignalOptions } from '../../../src/index.js';

const PROGRAM = fileURLToPath(new URL('../../fixtures/recovery-worker.mjs', import.meta.url));
const PATIENCE_MS = 30_000;

/** What a worker says: `type`, and more. */
export type Report = Readonly<Record<string, unknown>>;

/** How a process ended. */
export interface Exit {
  readonly code: number | null;
  readonly signal: string | null;
}

/** What makes a worker special. */
export interface WorkerTraits {
  /** Its `job`s never end, and its `together`s don't begin. */
  readonly hold?: boolean | undefined;
  /** It kills itself with the acknowledgement of this many checkpoints of `steps`. */
  readonly dieAfter?: number | undefined;
  /** It kills itself when this many items of `map` have begun. */
  readonly dieAtItem?: number | undefined;
  /** It calls `handleSignals`. */
  readonly handleSignals?: SignalOptions | undefined;
  /** It listens for SIGTERM itself, too, and only tells of it. */
  readonly listens?: boolean | undefined;
  /** In front of `node`: a program that runs it, with its arguments. */
  readonly under?: readonly string[] | undefined;
  /** Arguments of `node`. */
  readonly nodeArgs?: readonly string[] | undefined;
}

/** What a worker is told at start. */
interface WorkerConfig extends WorkerTraits {
  readonly storage: Readonly<Record<string, unknown>>;
  readonly recovery: Readonly<Partial<Omit<RecoveryOptions, 'storage'>>>;
  /** A file that gets every report, also those that a kill keeps from being heard. */
  readonly journal: string;
}

interface Waiter {
  readonly match: Report;
  readonly resolve: (report: Report) => void;
}

const started = new Set<WorkerProcess>();

/** One process. Whatever it said can still be waited for later. */
export class WorkerProcess {
  readonly exited: Promise<Exit>;
  readonly reports: Report[] = [];
  readonly #child: ChildProcess;
  readonly #waiters = new Set<Waiter>();
  #calls = 0;
  #stderr = '';

  constructor({ under = [], nodeArgs = [], ...config }: WorkerConfig) {
    const [execPath = process.execPath, ...before] = under;
    this.#child = fork(PROGRAM, [JSON.stringify(config)], {
      execPath,
      execArgv: [...before, ...(under.length === 0 ? [] : [process.execPath]), ...nodeArgs],
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    });
    this.#child.stderr?.on('data', (bytes: Buffer) => (this.#stderr += bytes.toString()));
    this.#child.on('message', (message: Report) => this.#hear(message));
    // `close` comes once stderr is closed by all who have it, also by a process below `under`.
    this.exited = new Promise((resolve) => {
      this.#child.once('close', (code, signal) => resolve({ code, signal }));
    });
    started.add(this);
  }

  get pid(): number {
    return this.#child.pid ?? -1;
  }

  /** Reports of things that a worker must never see. */
  get problems(): readonly Report[] {
    return this.all({ type: 'unhandled' });
  }

  /** All reports so far with these fields. */
  all(match: Report): Report[] {
    return this.reports.filter((report) => matches(report, match));
  }

  /** The first report with these fields, said already or to come. */
  async heard(match: Report): Promise<Report> {
    const said = this.reports.find((report) => matches(report, match));
    if (said !== undefined) return said;
    return this.#orGone(JSON.stringify(match), (resolve) => {
      const waiter = { match, resolve };
      this.#waiters.add(waiter);
      return () => this.#waiters.delete(waiter);
    });
  }

  /** Calls one of the worker's functions. Rejects with an error whose message starts with the code. */
  async call(name: string, ...args: readonly unknown[]): Promise<unknown> {
    this.#calls += 1;
    const n = this.#calls;
    // One that has ended is told of below.
    this.#child.send({ call: name, n, args }, () => {});
    const { code, message, value } = await this.heard({ type: 'reply', n });
    if (typeof code === 'string')
      throw new WorkerCallError(typeof message === 'string' ? `${code}: ${message}` : code);
    return value;
  }

  /** Tells a running `gate`; resolves with what it answers. */
  order(id: string, what: Report): Promise<unknown> {
    return this.call('order', id, what);
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** SIGKILL, and until it is gone. */
  async kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.exited;
  }

  #hear(message: Report): void {
    this.reports.push(message);
    for (const waiter of this.#waiters) {
      if (!matches(message, waiter.match)) continue;
      this.#waiters.delete(waiter);
      waiter.resolve(message);
    }
  }

  #orGone(what: string, wait: (resolve: (report: Report) => void) => () => void): Promise<Report> {
    return new Promise((resolve, reject) => {
      const fail = (why: string): void => {
        stop();
        const last = this.reports.slice(-8).map((report) => JSON.stringify(report));
        reject(new WorkerCallError(`${why} while waiting for ${what}\n${last.join('\n')}\n${this.#stderr}`));
      };
      const timer = setTimeout(() => fail('Nothing came'), PATIENCE_MS);
      const stop = wait((report) => {
        clearTimeout(timer);
        resolve(report);
      });
      void this.exited.then(({ code, signal }) => {
        clearTimeout(timer);
        fail(`The worker ended (${code ?? signal})`);
      });
    });
  }
}

/** A call of a worker's function that was rejected; the message starts with the error's code. */
class WorkerCallError extends Error {}

function matches(report: Report, match: Report): boolean {
  return Object.entries(match).every(([field, value]) => isDeepStrictEqual(report[field], value));
}

/** Ends what a test left running. Returns what no worker must ever see. */
export async function endWorkers(): Promise<Report[]> {
  const workers = [...started];
  started.clear();
  await Promise.all(workers.map((worker) => worker.kill()));
  return workers.flatMap((worker) => worker.problems);
}
