/** Real Redis servers for tests: free loopback ports, data in temp folders, each stopped by its own pid. */
import { spawn, spawnSync } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Redis } from 'ioredis';

export const HOST = '127.0.0.1';
const START_DEADLINE_MS = 15_000;

/** Options of {@link startRedis}. */
export interface RedisServerOptions {
  /** How acknowledged writes are kept; default `no`: no append-only file at all, and no snapshots. */
  readonly appendonly?: 'always' | 'everysec' | 'no';
  /** Default: a free one. */
  readonly port?: number;
  /** Default: a new temp folder, removed by `stop()`. */
  readonly dir?: string;
  /** More arguments for the server. */
  readonly extra?: readonly string[];
}

/** A running server; `pid` changes with `restart()`. */
export interface RedisServer {
  readonly host: string;
  readonly port: number;
  readonly dir: string;
  readonly url: string;
  readonly pid: number;
  /** SIGKILL; resolves once the process is gone. The folder stays. */
  kill9(): Promise<void>;
  /** Kills it and removes the temp folder. Harmless when it is already gone. */
  stop(): Promise<void>;
  /** Starts again on the same port and folder; kills the old process first when it still runs. */
  restart(): Promise<void>;
  /** SIGSTOP: sockets stay open, nothing answers. */
  pause(): void;
  /** SIGCONT. */
  resume(): void;
}

function installed(): boolean {
  return spawnSync('redis-server', ['--version'], { stdio: 'ignore' }).status === 0;
}

/**
 * Makes sure that `redis-server` is on the PATH: installs it where that is possible, else throws with the
 * command to run. Tests on a real server are never skipped silently.
 */
export function ensureRedisServer(): void {
  if (installed()) return;
  const apt = spawnSync('apt-get', ['--version'], { stdio: 'ignore' }).status === 0;
  if (apt && process.getuid?.() === 0) {
    const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
    spawnSync('apt-get', ['update'], { stdio: 'inherit', env });
    spawnSync('apt-get', ['install', '-y', '--no-install-recommends', 'redis-server'], {
      stdio: 'inherit',
      env,
    });
    if (installed()) return;
  }
  throw new Error(
    'The tests need a redis-server (7.0 or later) on the PATH. Install it with\n' +
      '  Debian/Ubuntu: sudo apt-get update && sudo apt-get install -y --no-install-recommends redis-server\n' +
      '  Fedora, Alpine: sudo dnf install -y redis, or sudo apk add redis\n' +
      '  macOS:         brew install redis',
  );
}

/** A free loopback port below the range of outgoing connections, also 10,000 above, for a cluster's bus. */
export async function freePort(): Promise<number> {
  for (;;) {
    const candidate = 10_000 + Math.floor(Math.random() * 12_000);
    if ((await bindable(candidate)) && (await bindable(candidate + 10_000))) return candidate;
  }
}

function bindable(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createServer();
    probe.once('error', () => resolve(false));
    probe.listen(port, HOST, () => probe.close(() => resolve(true)));
  });
}

/** Children that still run; killed when the test process ends, however it ends. */
const running = new Set<ChildProcess>();
process.once('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

function launch(args: readonly string[]): ChildProcess {
  const child = spawn('redis-server', args, { stdio: ['ignore', 'pipe', 'pipe'] });
  running.add(child);
  child.once('exit', () => running.delete(child));
  return child;
}

async function waitUntilUp(child: ChildProcess, port: number): Promise<void> {
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream?.on('data', (chunk: Buffer) => (output = (output + chunk.toString()).slice(-4000)));
  }
  const until = Date.now() + START_DEADLINE_MS;
  while (Date.now() < until) {
    if (child.exitCode !== null) break;
    if (await answers(port, child.pid)) return;
    await delay(5);
  }
  child.kill('SIGKILL');
  throw new Error(`redis-server on port ${port} did not come up:\n${output}`);
}

/** Whether this very process answers: another test may have taken the port meanwhile. */
async function answers(port: number, pid: number | undefined): Promise<boolean> {
  const client = controlClient(port);
  try {
    await client.connect();
    // A server that still loads its data answers INFO, too, but not PING.
    const [info] = await Promise.all([client.info('server'), client.ping()]);
    return info.includes(`process_id:${pid}\r`);
  } catch {
    return false;
  } finally {
    client.disconnect();
  }
}

function controlClient(port: number): Redis {
  const client = new Redis({
    host: HOST,
    port,
    lazyConnect: true,
    enableReadyCheck: false,
    retryStrategy: () => null,
    connectTimeout: 1_000,
    commandTimeout: 2_000,
    maxRetriesPerRequest: 0,
  });
  client.on('error', () => {});
  return client;
}

/** Runs commands on a server over a connection of their own. */
export async function redisCommand(port: number, ...commands: readonly string[][]): Promise<unknown[]> {
  const client = controlClient(port);
  try {
    await client.connect();
    const replies: unknown[] = [];
    for (const [name = '', ...args] of commands) replies.push(await client.call(name, ...args));
    return replies;
  } finally {
    client.disconnect();
  }
}

/** Starts a server with just these arguments. */
export async function startServer(
  port: number,
  dir: string,
  ownDir: boolean,
  args: readonly string[],
): Promise<RedisServer> {
  let child = launch(args);
  const kill9 = async (): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()));
    child.kill('SIGKILL');
    await gone;
  };
  await waitUntilUp(child, port);
  return {
    host: HOST,
    port,
    dir,
    url: `redis://${HOST}:${port}`,
    get pid() {
      return child.pid ?? -1;
    },
    kill9,
    async stop() {
      await kill9();
      if (ownDir) rmSync(dir, { recursive: true, force: true });
    },
    async restart() {
      await kill9();
      child = launch(args);
      await waitUntilUp(child, port);
    },
    pause: () => void child.kill('SIGSTOP'),
    resume: () => void child.kill('SIGCONT'),
  };
}

export const tempFolder = (): string => mkdtempSync(join(tmpdir(), 'rekindle-redis-'));

/** Starts one server and resolves once it answers. */
export async function startRedis(options: RedisServerOptions = {}): Promise<RedisServer> {
  const port = options.port ?? (await freePort());
  const dir = options.dir ?? tempFolder();
  const mode = options.appendonly ?? 'no';
  const persistence = mode === 'no' ? ['--appendonly', 'no'] : ['--appendonly', 'yes', '--appendfsync', mode];
  const place = ['--port', String(port), '--bind', HOST, '--dir', dir, '--save', ''];
  const args = [...place, ...persistence, ...(options.extra ?? [])];
  return startServer(port, dir, options.dir === undefined, args);
}

/** Polls until `done` says so; throws after 15 s. */
export async function waitFor(what: string, done: () => Promise<boolean> | boolean): Promise<void> {
  const until = Date.now() + START_DEADLINE_MS;
  while (!(await done())) {
    if (Date.now() > until) throw new Error(`Waited too long for ${what}.`);
    await delay(25);
  }
}
